"""Wall pictures show what they should."""

from __future__ import annotations

import numpy as np
import pytest

from jepawm_envs.resize import resize_weights
from jepawm_envs.wall.drawing import draw, wall_mask
from jepawm_envs.wall.physics import ROOM
from jepawm_envs.wall.walks import random_start

SIZE = ROOM.size


def floor_positions(count: int = 200) -> np.ndarray:
    random = np.random.default_rng(0)
    starts = np.stack([random_start(random) for _ in range(4 * count)])
    clear = (np.abs(starts[:, 0] - ROOM.wall_x) > 4) & (starts > 6).all(axis=1) & (starts < 58).all(axis=1)
    return starts[clear][:count]


def test_the_reddest_pixel_is_the_position():
    positions = floor_positions()
    green = draw(positions, SIZE)[..., 1].astype(int)
    green[:, wall_mask()] = 255
    row, column = np.unravel_index(green.reshape(len(positions), -1).argmin(axis=1), (SIZE, SIZE))
    np.testing.assert_array_equal(np.stack([column, row], axis=1), np.round(positions))
    assert green.min() == 0


@pytest.mark.parametrize("size", [64, 224])
def test_the_position_can_be_read_back_from_a_resized_picture(size):
    positions = floor_positions(50)
    weight = 255.0 - draw(positions, size)[..., 1].astype(float)
    background = 255.0 - draw(np.array([[32.0, -50.0]]), size)[..., 1]  # no dot in sight
    weight = np.clip(weight - background, 0, None)
    centres = (np.arange(size) + 0.5) * SIZE / size - 0.5
    total = weight.sum(axis=(1, 2))
    x = (weight.sum(axis=1) * centres).sum(axis=1) / total
    y = (weight.sum(axis=2) * centres).sum(axis=1) / total
    inner = (np.abs(positions[:, 0] - ROOM.wall_x) > 10) & (positions > 12).all(axis=1) & (positions < 52).all(axis=1)
    assert inner.sum() > 10
    np.testing.assert_allclose(np.stack([x, y], axis=1)[inner], positions[inner], atol=0.1)


def test_walls_are_black_and_the_door_and_floor_are_white():
    image = draw(np.array([10.0, 10.0]), SIZE)
    for row, column in ((4, 30), (60, 30), (30, 4), (30, 60), (10, 29), (10, 35), (25, 32), (35, 32)):
        assert image[row, column].tolist() == [0, 0, 0]
    for row, column in ((26, 32), (34, 32), (30, 29), (50, 50), (0, 0)):
        assert image[row, column].tolist() == [255, 255, 255]


def test_the_dot_is_drawn_under_the_walls_and_never_dims_red():
    image = draw(np.array([28.0, 15.0]), SIZE)
    assert (image[wall_mask()] == 0).all()
    assert (image[~wall_mask()][:, 0] == 255).all()


@pytest.mark.parametrize("size", [8, 64, 65, 224])
def test_a_batch_is_drawn_like_single_pictures(size):
    positions = floor_positions(6).reshape(2, 3, 2)
    together = draw(positions, size)
    assert together.shape == (2, 3, size, size, 3) and together.dtype == np.uint8
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(together[index], draw(positions[index], size))


@pytest.mark.parametrize(("source", "target"), [(65, 224), (65, 64), (65, 65), (65, 8)])
def test_resizing_keeps_a_constant_and_is_symmetric(source, target):
    weights = resize_weights(source, target)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-6)
    if source == target:
        np.testing.assert_array_equal(weights, np.eye(source))


def test_resizing_equals_pillow():
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    row = np.random.default_rng(0).uniform(0, 1, (1, 65)).astype(np.float32)
    for target in (224, 32):
        expected = np.asarray(image.fromarray(row).resize((target, 1), image.Resampling.BILINEAR))
        np.testing.assert_allclose(row @ resize_weights(65, target).T, expected, atol=1e-5)

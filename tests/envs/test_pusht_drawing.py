"""What Push-T looks like."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pymunk")

import pymunk

from jepawm_envs.pusht import drawing, physics, raster
from jepawm_envs.pusht.drawing_fast import draw_fast
from jepawm_envs.pusht.shapes import SHAPES

STATE = np.array([200.0, 150.0, 300.0, 260.0, 0.7, 0.0, 0.0])


def test_frames_equal_the_record(golden):
    record = golden("pusht")
    images = drawing.draw(record["states"][:, [0, 15, 30]])
    difference = np.abs(images.astype(int) - record["frames_0_15_30"])
    close = (difference <= 2).mean(axis=(2, 3, 4))
    assert close.mean() > 0.9999 and close.min() > 0.9995
    without_contacts = record["n_contacts"][:, [14, 29]] == 0  # contact marks are not drawn
    assert (difference[:, 1:][without_contacts] <= 2).all()


def test_a_batch_is_its_single_pictures():
    states = STATE + np.arange(6).reshape(2, 3, 1) * 3
    images = drawing.draw(states, 64)
    assert images.shape == (2, 3, 64, 64, 3)
    np.testing.assert_array_equal(images[1, 2], drawing.draw(states[1, 2], 64))


def test_at_512_pixels_the_canvas_is_shown_and_colours_are_pure():
    image = drawing.draw(STATE, 512)
    assert {tuple(color) for color in image.reshape(-1, 3)} == {
        (255, 255, 255),
        (144, 238, 144),
        (119, 136, 153),
        (143, 163, 184),
        (65, 105, 225),
        (78, 126, 255),
        (211, 211, 211),
    }
    assert tuple(image[150, 200]) == (78, 126, 255) and tuple(image[5, 300]) == (211, 211, 211)


def test_angles_a_full_turn_apart_look_alike():
    turned = STATE + np.array([0, 0, 0, 0, 2 * np.pi, 0, 0])
    np.testing.assert_array_equal(drawing.draw(turned), drawing.draw(STATE))


def test_what_lies_outside_the_canvas_is_cut_off():
    outside = np.array([-300.0, 900.0, -400.0, 700.0, 0.1, 0.0, 0.0])
    np.testing.assert_array_equal(drawing.draw(outside), drawing._empty_image(224, drawing.LOOK))
    drawing.draw(np.array([-5.0, 517.0, 2.0, 510.0, 4.0, 0.0, 0.0]))


@pytest.mark.parametrize("shape", SHAPES)
def test_corners_come_in_the_order_of_the_physics_engine(shape):
    world = physics.World(shape)
    body = pymunk.Body(1, 1)
    expected = [[tuple(corner) for corner in pymunk.Poly(body, part).get_vertices()] for part in world.block.parts]
    assert [list(corners) for corners in drawing._corners(world)] == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_the_picture_of_a_block_has_its_area(shape):
    look = drawing.Look(world=physics.World(shape), goal_shown=False)
    image = drawing.draw(np.array([-200.0, 0.0, 256.0, 256.0, 0.3, 0.0, 0.0]), 512, look)
    fill = (image == (143, 163, 184)).all(axis=-1).sum()
    block = fill + (image == (119, 136, 153)).all(axis=-1).sum()
    area = sum(abs(pymunk.area_for_poly(part)) for part in look.world.block.parts)
    assert fill < area < block


def test_polygons_are_filled_between_their_edges():
    triangle = np.array([[[2, 1], [8, 1], [2, 7]]])
    mask = raster.cover([raster.polygon_spans(triangle, 10)], [], (10, 10))
    assert mask.sum(axis=1).tolist() == [0, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_discs_have_an_even_diameter():
    assert raster.disc(2).tolist() == [
        [False, True, True, False],
        [True, True, True, True],
        [True, True, True, True],
        [False, True, True, False],
    ]
    assert raster.disc(15).sum() == pytest.approx(np.pi * 15**2, rel=0.03)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size", "mean"), [(224, 0.3), (64, 1.0)])
def test_the_fast_picture_is_close_to_the_published_one(shape, size, mean):
    look = drawing.Look(world=physics.World(shape))
    random = np.random.default_rng(1)
    states = random.uniform([-5, -5, 60, 60, 0, 0, 0], [517, 517, 450, 450, 6, 1, 1], size=(10, 7))
    difference = np.abs(draw_fast(states, size, look).astype(int) - drawing.draw(states, size, look))
    assert difference.mean() < mean
    gone = np.array([-300.0, 900.0, -400.0, 700.0, 0.1, 0.0, 0.0])
    np.testing.assert_array_equal(draw_fast(gone, size, look), drawing.draw(gone, size, look))

"""What a dot in the Wall world can and cannot do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from jepawm_envs.wall import physics
from jepawm_envs.wall.physics import PIXELS_PER_ACTION, ROOM, move, simulate
from jepawm_envs.wall.walks import random_start, random_walk

LEFT, RIGHT = ROOM.wall_faces
UPPER, LOWER = ROOM.door
STEPS, DOTS = 100, 1000


@pytest.fixture(scope="module", params=[1.0, 3.0], ids=["steps of the data", "three times too long"])
def wandering(request):
    """Where 1000 dots were before and after each of 100 random steps: 10^5 steps."""
    random = np.random.default_rng(0)
    start = np.stack([random_start(random) for _ in range(DOTS)])
    path = simulate(start, request.param * np.stack([random_walk(random, STEPS) for _ in range(DOTS)]))
    return np.concatenate([start[:, None], path[:, :-1]], axis=1), path


def test_random_steps_stay_finite_and_between_the_borders(wandering):
    _, after = wandering
    assert np.isfinite(after).all()
    assert after.min() > ROOM.border[0] and after.max() < ROOM.border[1]


def test_no_dot_is_ever_inside_the_wall(wandering):
    _, after = wandering
    assert not _in_wall(after).any()


def test_many_dots_change_rooms(wandering):
    _, after = wandering
    room = np.where(_side(after) == 0, np.nan, _side(after))
    assert (np.nanmin(room, axis=1) < np.nanmax(room, axis=1)).mean() > 0.05


@pytest.mark.parametrize("wandering", [1.0], indirect=True, ids=["steps of the data"])
@pytest.mark.parametrize("face", [LEFT, RIGHT])
def test_a_step_passes_a_face_of_the_wall_only_in_the_rows_of_the_door(wandering, face):
    before, after = wandering
    row = _row_of_crossing(before, after, face)
    assert len(row) > 100
    assert row.min() >= UPPER - 1e-9 and row.max() <= LOWER + 1e-9


def test_a_step_from_room_to_room_passes_both_faces_in_the_rows_of_the_door(wandering):
    before, after = wandering
    leaps = _side(before) * _side(after) == -1
    for face in (LEFT, RIGHT):
        row = _row_of_crossing(before[leaps], after[leaps], face)
        assert len(row) == leaps.sum()
        assert ((row >= UPPER - 1e-9) & (row <= LOWER + 1e-9)).all()


def _row_of_crossing(before, after, face):
    crosses = (before[..., 0] - face) * (after[..., 0] - face) < 0
    start, end = before[crosses], after[crosses]
    return start[:, 1] + (face - start[:, 0]) / (end[:, 0] - start[:, 0]) * (end[:, 1] - start[:, 1])


def _side(position):
    return np.sign((position[..., 0] > RIGHT) * 1.0 - (position[..., 0] < LEFT) * 1.0)


def test_one_dot_and_many_dots_move_alike(wandering):
    before, _ = wandering
    starts, actions = before[:50, 0], np.random.default_rng(1).normal(size=(50, 10, 2))
    together = simulate(starts, actions)
    alone = np.stack([simulate(start, action) for start, action in zip(starts, actions, strict=True)])
    np.testing.assert_array_equal(together, alone)


def test_a_free_step_is_two_pixels_a_unit():
    assert PIXELS_PER_ACTION == 2
    assert_allclose(move(np.array([10.0, 20.0]), np.array([0.5, -1.0])), [11.0, 18.0])


@pytest.mark.parametrize(
    ("start", "action", "end"),
    [
        ((10, 58), (0, 1.5), (10.5, 59.5)),  # the reference answers (NaN, 59.5)
        ((30, 30), (0, 3), (30.5, 33.5)),  # the reference walks into the wall
        ((30, 30), (0, -3), (30.5, 26.5)),
        ((10, 20), (0, 1), (10, 22)),
        ((29, 20), (0, 1), (28.7, 20.5)),  # standing on a face of the wall: a contact at once
        ((35, 20), (0, -1), (np.float32(35.3), 20.5)),
        ((29, 20), (0, 0), (28.7, 20.5)),
    ],
)
def test_exactly_vertical_steps_have_the_limit_of_slanted_ones(start, action, end):
    nearly_vertical = (1e-9 if start[0] < 32 else -1e-9, action[1])
    after = move(np.array(start, float), np.array(action, float))
    slanted = move(np.array(start, float), np.array(nearly_vertical))
    assert_allclose(after, end)
    assert_allclose(after, slanted, atol=1e-6)


@pytest.mark.parametrize("direction", [(0, 1), (0, -1), (1, 0), (-1, 0), (0, 0)])
def test_axis_parallel_steps_from_everywhere_are_finite_and_legal(direction):
    grid = np.stack(np.meshgrid(np.arange(4, 61), np.arange(4, 61)), axis=-1).reshape(-1, 2).astype(float)
    start = grid[~_in_wall(grid)]
    after = move(start, np.broadcast_to(3.0 * np.array(direction), start.shape))
    assert np.isfinite(after).all()
    assert after.min() >= ROOM.border[0] and after.max() <= ROOM.border[1]
    assert not _in_wall(after).any()


def _in_wall(position):
    x, y = position[..., 0], position[..., 1]
    return (x > LEFT) & (x < RIGHT) & ((y < UPPER) | (y > LOWER))


@pytest.mark.parametrize(
    ("start", "action", "end"),
    [
        ((27, 20), (2, 0), (28.5, 20.5)),  # left face of the wall: back by half a pixel, down by half a pixel
        ((37, 20), (-2, 0), (35.5, 20.5)),
        ((6, 20), (-2, 0), (4.5, 20.5)),
        ((20, 6), (0.5, -2), (21.0, 4.5)),  # upper border: the crossing lies half a unit to the right
        ((27, 30), (2, 0), (31, 30)),  # through the door
        ((20, 30), (10, 0.1), (40, 30.2)),  # one long step crosses the whole doorway, as in the reference
    ],
)
def test_contacts_have_the_positions_of_the_facts_sheet(start, action, end):
    assert_allclose(move(np.array(start, float), np.array(action, float)), end)


def test_the_layout_is_the_published_one():
    assert (ROOM.size, ROOM.border, ROOM.wall_faces, ROOM.door) == (65, (4, 60), (29, 35), (26, 34))
    assert physics.KICK == 0.5

"""What a dot in Two Rooms can and cannot do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from jepawm_envs.tworooms import sampler
from jepawm_envs.tworooms.physics import DOOR_Y, WALL_X, move, room_of, simulate
from jepawm_envs.tworooms.walks import guided_walk, random_episode
from jepawm_envs.wall.walks import random_walk

DOTS, STEPS = 1000, 100


def starts(random: np.random.Generator) -> np.ndarray:
    return np.stack([sampler.sample_task(random)[0] for _ in range(DOTS)])


@pytest.fixture(scope="module", params=["bounce", "stop", "jitter", "long"])
def wandering(request):
    """States before and after each of 100 random steps of 1000 dots, every one in a layout of its own."""
    random = np.random.default_rng(0)
    start = starts(random)
    actions = np.stack([random_walk(random, STEPS) for _ in range(DOTS)])
    if request.param == "long":
        actions *= 3
    kicks = random.normal(0, 0.5, actions.shape) if request.param == "jitter" else None
    path = simulate(start, actions, "stop" if request.param == "stop" else "bounce", kicks)
    return np.concatenate([start[:, None], path[:, :-1]], axis=1), path, request.param


def in_wall(states):
    room = room_of(states)
    x, y = states[..., 0], states[..., 1]
    (left, right), (upper, lower) = room.wall_faces, room.door
    return (x > left) & (x < right) & ((y < upper) | (y > lower))


def test_random_steps_stay_finite_free_and_in_their_layout(wandering):
    before, after, _ = wandering
    assert np.isfinite(after).all()
    assert after[..., :2].min() >= 4 and after[..., :2].max() <= 60
    assert not in_wall(after).any()
    np.testing.assert_array_equal(after[..., 2:], before[..., 2:])


def test_nobody_enters_or_passes_the_wall_but_in_the_rows_of_the_door(wandering):
    before, after, _ = wandering
    side_before, side_after = _side(before), _side(after)
    entering = (side_before != 0) & (side_before != side_after)
    assert entering.sum() > 100
    (x1, y1, wall_x, door_y), (x2, y2) = before[entering].T, after[entering, :2].T
    face = wall_x + side_before[entering]
    row = y1 + (y2 - y1) * (face - x1) / (x2 - x1)
    assert np.abs(row - door_y).max() <= 4 + 1e-9


def _side(states):
    """-1 and 1 for the two rooms, 0 within the wall's thickness."""
    away = states[..., 0] - states[..., 2]
    return np.where(np.abs(away) < 1, 0, np.sign(away))


def test_many_dots_use_the_door(wandering):
    _, after, kind = wandering
    left = after[..., 0] < after[..., 2] - 1
    right = after[..., 0] > after[..., 2] + 1
    assert (left.any(axis=1) & right.any(axis=1)).mean() > 0.05, kind


@pytest.mark.parametrize(
    ("start", "action", "bounced"),
    [
        ((30, 20), (3, 1), (30.7, 20 + 1 / 3)),  # left face at 31: back by 0.3, what was gone along it is kept
        ((34, 20), (-3, 1), (33.3, 20 + 1 / 3)),
        ((6, 20), (-3, 0), (4.3, 20)),
        ((20, 6), (1, -4), (20.5, 4.3)),
        ((20, 58), (1, 4), (20.5, 59.7)),
        ((32, 33), (0.5, 2), (32.25, 34)),  # lower edge of the door
        ((32, 27), (0, -2), (32, 26)),
        ((30, 31), (4, 1), (34, 32)),  # through the door, of any row in it
        ((30, 26), (4, 0), (34, 26)),
        ((30, 30), (40, 0), (59.7, 30)),  # the far border through the door
        ((10, 10), (0, 0), (10, 10)),
    ],
)
def test_contacts_have_the_positions_computed_by_hand(start, action, bounced):
    state = np.array([*start, 32, 30], float)
    assert_allclose(move(state, np.array(action, float))[:2], bounced, atol=1e-6)
    met = not np.allclose(np.add(start, action), bounced)
    assert_allclose(move(state, np.array(action, float), "stop")[:2], start if met else bounced)


@pytest.mark.parametrize("direction", [(0, 1), (0, -1), (1, 0), (-1, 0), (0, 0)])
@pytest.mark.parametrize("collisions", ["bounce", "stop"])
@pytest.mark.parametrize("layout", [(20, 10), (44, 54), (32, 30)])
def test_axis_parallel_steps_from_everywhere_are_finite_and_legal(direction, collisions, layout):
    grid = np.stack(np.meshgrid(np.arange(4, 61), np.arange(4, 61)), axis=-1).reshape(-1, 2).astype(float)
    states = np.concatenate([grid, np.broadcast_to(np.array(layout, float), grid.shape)], axis=1)
    states = states[~in_wall(states)]
    after = move(states, np.broadcast_to(3.0 * np.array(direction), (len(states), 2)), collisions)
    assert np.isfinite(after).all() and not in_wall(after).any()
    assert after[:, :2].min() >= 4 and after[:, :2].max() <= 60


def test_a_batch_of_layouts_moves_like_its_members():
    random = np.random.default_rng(1)
    start = starts(random)[:12].reshape(3, 4, 4)
    actions = random.normal(0, 2, (3, 4, 30, 2))
    together = simulate(start, actions)
    for index in np.ndindex(3, 4):
        np.testing.assert_array_equal(together[index], simulate(start[index], actions[index]))


def test_a_kick_throws_back_across_a_line_and_as_signed_along_it():
    state = np.array([30.0, 20.0, 32, 30])
    for kick in ((0.7, -0.4), (-0.7, -0.4)):
        assert_allclose(move(state, np.array([3.0, 0.0]), kick=np.array(kick))[:2], (30.3, 19.6))


def test_walks_start_legally_and_guided_ones_head_for_the_door():
    random = np.random.default_rng(2)
    passes = 0
    for _ in range(300):
        wall_x, door_y = sampler.sample_layout(random)
        assert WALL_X[0] <= wall_x <= WALL_X[1] and DOOR_Y[0] <= door_y <= DOOR_Y[1]
        layout = np.array([wall_x, door_y], float)
        room = room_of(np.array([0, 0, *layout]))
        free, _ = random_episode(random, 20, room)
        start, actions = guided_walk(random, 20, room)
        for position in (free, start):
            assert not in_wall(np.array([*position, *layout])) and position.min() >= 4 and position.max() <= 60
        lengths = np.hypot(*actions.T)
        assert actions.shape == (20, 2) and lengths.min() >= 0.2 - 1e-12 and lengths.max() <= 1.8 + 1e-12
        x = simulate(np.array([*start, *layout]), actions)[:, 0]
        passes += min(x.min(), start[0]) < wall_x - 1 and max(x.max(), start[0]) > wall_x + 1
    assert passes > 100

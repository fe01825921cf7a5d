"""Many walks at once are the walks that the environment plays one by one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from jepawm_envs.tworooms.drawing import draw_two_channels
from jepawm_envs.tworooms.env import TwoRoomsEnv
from jepawm_envs.tworooms.physics import room_of
from jepawm_envs.tworooms.trajectories import generate

LAWS = [{}, {"jitter": 0.5}, {"collisions": "stop"}]


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_a_walk_is_what_the_environment_plays_for_its_number(law):
    env = TwoRoomsEnv(**law)
    found = generate(3, [5, 0, 17], steps=90, **law)
    for row, number in enumerate([5, 0, 17]):
        random = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(number,)))
        states, actions = env.random_episode(random, 90)
        assert_array_equal(found.states[row], states.astype(np.float32))
        assert_array_equal(found.actions[row], actions.astype(np.float32))


def test_a_walk_does_not_depend_on_the_others():
    together = generate(0, range(40), steps=20)
    for number in (0, 13, 39):
        alone = generate(0, [number], steps=20)
        assert_array_equal(alone.states[0], together.states[number])
        assert_array_equal(alone.actions[0], together.actions[number])


def test_seeds_numbers_and_laws_make_other_walks():
    walks = [generate(0, [0]), generate(1, [0]), generate(0, [1])]
    assert len({walk.actions.tobytes() for walk in walks}) == 3
    bounce, stop = generate(0, range(50)), generate(0, range(50), collisions="stop")
    assert_array_equal(bounce.actions, stop.actions)
    stuck = [(np.abs(np.diff(walks.states, axis=1)).sum(axis=-1) == 0).mean() for walks in (bounce, stop)]
    assert stuck[0] < 0.05 < 0.2 < stuck[1]  # the published generator leaves 28 % of the steps stuck


def test_a_layout_can_be_the_same_for_all():
    walks = generate(0, range(20), layout=(32, 10))
    assert_array_equal(walks.states[..., 2:], np.broadcast_to([32, 10], (20, 91, 2)))
    assert len(np.unique(generate(0, range(20)).states[:, 0, 2:], axis=0)) > 15


def test_wandering_walks_take_the_place_of_a_share_and_leave_the_others_alone():
    published, mixed, all_wander = (generate(0, range(200), steps=30, wander=share) for share in (0.0, 0.5, 1.0))
    assert_array_equal(published.actions, generate(0, range(200), steps=30).actions)
    assert np.abs(published.actions).max() > 1.7 >= np.abs(all_wander.actions).max() > 1.69
    lengths = np.hypot(*np.moveaxis(mixed.actions, -1, 0))
    odd = ((lengths < 0.2 - 1e-6) | (lengths > 1.8 + 1e-6)).any(axis=1)  # steps that no published walk has
    assert 0.3 < odd.mean() < 0.5
    assert_array_equal(mixed.states[3], generate(0, [3], steps=30, wander=0.5).states[0])


def test_wandering_walks_begin_legally_and_many_touch_the_wall():
    walks = generate(1, range(400), steps=30, wander=1.0)
    x, y, wall, door = np.moveaxis(walks.states[:, 0], -1, 0)
    assert x.min() >= 4 and x.max() <= 60 and y.min() >= 4 and y.max() <= 60
    in_wall = (np.abs(x - wall) < 1) & (np.abs(y - door) > room_of(walks.states[0, 0]).door_half_height)
    assert not in_wall.any()
    published = generate(1, range(400), steps=30)
    touching = [
        (np.abs(np.abs(walk.states[..., 0] - walk.states[..., 2]) - 1) < 0.5).mean() for walk in (walks, published)
    ]
    assert touching[0] > 1.4 * touching[1]


@pytest.mark.parametrize("size", [65, 33])
def test_pictures_of_many_layouts_are_those_drawn_alone(size):
    states = generate(0, range(6), steps=3).states
    together = draw_two_channels(states, size)
    assert together.shape == (6, 4, size, size, 2) and together.dtype == np.uint8
    for walk in range(6):
        for time in range(4):
            assert_array_equal(together[walk, time], draw_two_channels(states[walk, time], size))
    assert len({frame.tobytes() for frame in together[:, 0, ..., 1]}) == 6

"""The oracle solves Wall; walking straight at the goal does not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from jepawm_envs.wall import controllers
from jepawm_envs.wall.env import PUBLISHED, STRICT

BUDGET = 60
SEEDS = range(200, 260)


def walk(env, controller, init, goal, steps: int = BUDGET) -> np.ndarray:
    path = [init]
    for _ in range(steps):
        path.append(env.simulate(path[-1], controller(path[-1], goal)[None])[0])
    return np.stack(path)


def ends(env, controller, predicate) -> list[bool]:
    tasks = [env.sample_states(seed) for seed in SEEDS]
    return [bool(predicate.met(env.distances(walk(env, controller, *task)[-1], task[1]))) for task in tasks]


def test_the_oracle_reaches_every_goal_even_by_the_strict_rule(make_env):
    env = make_env()
    assert all(ends(env, env.expert_action, STRICT))


def test_walking_straight_is_blocked_by_the_wall_in_most_tasks(make_env):
    env = make_env()
    assert np.mean(ends(env, env.straight_line_action, PUBLISHED)) < 0.5


def test_the_straight_walker_ends_at_the_wall_where_the_oracle_passes(make_env):
    env, init, goal = make_env(), np.array([15.0, 45.0]), np.array([50.0, 45.0])
    assert walk(env, env.straight_line_action, init, goal)[-1, 0] < 29
    assert_allclose(walk(env, env.expert_action, init, goal)[-1], goal, atol=1e-6)


def test_no_action_is_longer_than_the_longest_of_the_data(make_env):
    env = make_env()
    for seed in SEEDS:
        init, goal = env.sample_states(seed)
        for controller in (env.expert_action, env.straight_line_action):
            assert np.hypot(*controller(init, goal)) <= controllers.MAX_STEP + 1e-12


def test_a_near_goal_is_reached_in_one_exact_step(make_env):
    env, init = make_env(), np.array([15.0, 12.0])
    assert_allclose(walk(env, env.straight_line_action, init, init + 1.0, steps=1)[-1], init + 1.0)


@pytest.mark.parametrize(
    ("init", "goal", "euclidean", "geodesic"),
    [
        ((10, 10), (13, 14), 5.0, 5.0),  # one room
        ((25, 30), (39, 30), 14.0, 14.0),  # straight through the door
        ((25, 29), (39, 23), np.hypot(14, 6), np.hypot(10, 3) + 5),  # bent at the door's upper right edge (35, 26)
        ((26, 38), (38, 38), 12.0, 5 + 6 + 5),  # around both lower edges of the door
    ],
)
def test_difficulty_is_the_hand_computed_length_of_both_ways(make_env, init, goal, euclidean, geodesic):
    found = make_env().difficulty(np.array(init, float), np.array(goal, float))
    assert found.keys() == {"euclidean", "geodesic"}
    assert_allclose(found["euclidean"], euclidean)
    assert_allclose(found["geodesic"], geodesic, rtol=2e-3)


def test_the_way_back_is_as_long(make_env):
    env = make_env()
    for seed in SEEDS:
        init, goal = env.sample_states(seed)
        there, back = env.difficulty(init, goal), env.difficulty(goal, init)
        assert_allclose(there["geodesic"], back["geodesic"])
        assert there["geodesic"] >= there["euclidean"] - 1e-9

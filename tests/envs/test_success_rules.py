"""Predicates, distances and success."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from jepawm_envs.predicates import Predicate
from jepawm_envs.wall.env import PUBLISHED, STRICT

TWO_LIMITS = Predicate("toy/rule", 3, {"position": 2.0, "angle": 0.5})


def test_every_limit_must_be_kept_and_strictly():
    position, angle = np.array([1.0, 1.0, 2.0, 3.0]), np.array([0.1, 0.5, 0.1, 0.9])
    met = TWO_LIMITS.met({"position": position, "angle": angle, "unused": np.zeros(4)})
    assert met.tolist() == [True, False, False, False]


def test_a_distance_that_is_not_a_number_is_no_success():
    assert not PUBLISHED.met({"position": np.array(np.nan)})


def test_the_label_carries_name_and_version():
    assert (TWO_LIMITS.id, PUBLISHED.id, STRICT.id) == ("toy/rule@3", "wall/published@1", "wall/strict@1")


def test_the_limits_of_wall_are_the_published_ones():
    assert (dict(PUBLISHED.limits), dict(STRICT.limits)) == ({"position": 4.5}, {"position": 1.41})


def test_a_predicate_cannot_be_changed_and_survives_pickling():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TWO_LIMITS.version = 4  # type: ignore[misc]
    with pytest.raises(TypeError):
        TWO_LIMITS.limits["position"] = 9.0  # type: ignore[index]
    assert pickle.loads(pickle.dumps(TWO_LIMITS)) == TWO_LIMITS


def test_a_missing_quantity_is_an_error_and_not_a_success():
    with pytest.raises(KeyError, match="angle"):
        TWO_LIMITS.met({"position": np.zeros(1)})


@pytest.mark.parametrize(("offset", "success"), [((4.49, 0), True), ((0, 4.5), False), ((2.7, 3.6), False)])
def test_wall_succeeds_strictly_inside_four_and_a_half_pixels(make_env, offset, success):
    env, goal = make_env(), np.array([16.0, 16.0])  # sums of 16 and these offsets are exact enough to be told apart
    assert env.is_success(goal + offset, goal) is success


def test_the_first_predicate_is_the_published_one_and_ids_are_unique(make_env, env_id):
    predicates = make_env(env_id).predicates
    assert predicates[0].name.endswith("/published")
    assert len({predicate.id for predicate in predicates}) == len(predicates)


def test_every_rule_holds_at_the_goal_and_every_limited_quantity_is_measured(make_env, solved_task, env_id):
    env = make_env(env_id, obs_type="state")
    options = solved_task(env_id)
    distances = env.distances(np.stack([options["init_state"]] * 2), options["goal_state"])
    for predicate in env.predicates:
        assert predicate.limits.keys() <= distances.keys()
        assert predicate.met(distances).all()
    assert all(values.shape == (2,) and (values >= 0).all() for values in distances.values())


def test_info_reports_the_distance_that_stands_for_all(make_env, env_id):
    env = make_env(env_id, obs_type="state")
    _, info = env.reset(seed=0)
    assert info["distance"] == env.distances(info["state"], info["goal_state"])[env.main_distance]

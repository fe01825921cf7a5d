"""The ids that the other sweeps only sample, the 42 slow ones and variants of a class: made, checked, repeated."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env

from jepawm_envs.goal_env import GoalEnv
from jepawm_envs.registration import ENVIRONMENTS

SLOW_IDS = [record.id for record in ENVIRONMENTS.values() if record.slow or record.settings]
every_slow_id = pytest.mark.parametrize(
    "slow_id", SLOW_IDS, ids=[env_id.removeprefix("JepaWM/") for env_id in SLOW_IDS]
)


@every_slow_id
def test_both_checkers_find_nothing_to_complain_about(make_env, slow_id):
    stable_baselines3 = pytest.importorskip("stable_baselines3.common.env_checker")
    gymnasium_check_env(make_env(slow_id, obs_type="pixels"), skip_render_check=True)
    stable_baselines3.check_env(make_env(slow_id, obs_type="state"), skip_render_check=True)


@every_slow_id
def test_a_seed_fixes_the_episode_and_another_changes_it(make_env, slow_id):
    def play(seed: int) -> list[np.ndarray]:
        env = make_env(slow_id, obs_type="state")
        states = [env.reset(seed=seed)[1]["state"], env.goal_state]
        actions = np.random.default_rng(seed).uniform(-1, 1, (5, env.action_dim))
        return [*states, *(env.step(action)[4]["state"] for action in actions)]

    np.testing.assert_array_equal(play(3), play(3))
    assert not np.array_equal(play(3)[0], play(4)[0])


@pytest.mark.parametrize("env_id_of_all", list(ENVIRONMENTS))
def test_the_registration_says_what_the_class_needs(env_id_of_all):
    record = ENVIRONMENTS[env_id_of_all]
    spec = gymnasium.spec(env_id_of_all)
    assert spec.max_episode_steps == record.max_episode_steps > 0
    assert record.summary.endswith(".")
    assert issubclass(type(gymnasium.make(env_id_of_all, obs_type="state").unwrapped), GoalEnv)

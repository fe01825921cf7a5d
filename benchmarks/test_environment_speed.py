"""Steps and pictures of every environment."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from jepawm_envs.goal_env import GoalEnv
from jepawm_envs.registration import ENVIRONMENTS

every_env = pytest.mark.parametrize("env_id", list(ENVIRONMENTS))
BATCH = 256


def bare(env_id: str, **settings) -> GoalEnv:
    env = gymnasium.make(env_id, **settings).unwrapped
    assert isinstance(env, GoalEnv)
    env.reset(seed=0)
    return env


@every_env
def test_step_with_state(benchmark, env_id):
    env = bare(env_id, obs_type="state")
    benchmark(env.step, np.full(env.action_dim, 0.1))


@every_env
@pytest.mark.parametrize("size", [64, 224])
def test_step_with_pixels_read_each_step(benchmark, env_id, size):
    env = bare(env_id, obs_type="pixels", image_size=size)
    action = np.full(env.action_dim, 0.1)
    benchmark(lambda: env.step(action)[0]["pixels"])


@every_env
@pytest.mark.parametrize("size", [64, 224])
def test_draw_256_pictures_at_once(benchmark, env_id, size):
    env = bare(env_id)
    states = np.stack([env.sample_states(seed)[0] for seed in range(BATCH)])
    benchmark(env.draw, states, size)


@every_env
def test_simulate_300_sequences_of_30_steps(benchmark, env_id):
    env = bare(env_id)
    states = np.stack([env.state] * 300)
    actions = np.random.default_rng(0).normal(0, 0.75, (300, 30, env.action_dim))
    benchmark(env.simulate, states, actions)

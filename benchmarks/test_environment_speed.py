"""Steps, resets, pictures, vector environments and simulated sequences of the environments."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from jepawm_envs.goal_env import GoalEnv
from jepawm_envs.registration import ENVIRONMENTS

OF_THE_SLOW = ("JepaWM/MetaworldReach-v0", "JepaWM/MetaworldDrawerClose-v0")
"""Stand for their 40 siblings, which share simulator, robot and camera."""
QUICK = [record.id for record in ENVIRONMENTS.values() if not record.slow]
DRAWN_BY_MUJOCO = ("PointMaze", "Metaworld")
BATCH = 256
EPISODE = 30

every_env = pytest.mark.parametrize("env_id", [*QUICK, *OF_THE_SLOW])
every_quick_env = pytest.mark.parametrize("env_id", QUICK)
every_painter_of_batches = pytest.mark.parametrize(
    "env_id", [name for name in QUICK if not any(word in name for word in DRAWN_BY_MUJOCO)]
)


def bare(env_id: str, **settings) -> GoalEnv:
    env = gymnasium.make(env_id, **settings).unwrapped
    assert isinstance(env, GoalEnv)
    env.reset(seed=0)
    return env


def random_actions(low, high, shape: tuple[int, ...], count: int = 1000) -> Iterator[NDArray[np.float32]]:
    """Uniform ones without end: an action that is always the same ends at a wall."""
    return cycle(np.random.default_rng(0).uniform(low, high, (count, *shape)).astype(np.float32))


def actions_of(env: GoalEnv) -> Iterator[NDArray[np.float32]]:
    return random_actions(*env.action_bounds, (env.action_dim,))


@every_env
def test_step_with_state(benchmark, env_id):
    env = bare(env_id, obs_type="state", render_mode=None)
    actions = actions_of(env)
    # A round is the mean of an episode's steps: with and without contact they take differently long.
    benchmark.pedantic(lambda: env.step(next(actions)), rounds=50, iterations=EPISODE, warmup_rounds=2)
    env.close()


@every_env
@pytest.mark.parametrize("size", [64, 224])
def test_step_with_pixels_read_each_step(benchmark, env_id, size):
    env = bare(env_id, obs_type="pixels", image_size=size)
    actions = actions_of(env)
    env.step(next(actions))[0]["pixels"]  # the first picture opens an OpenGL context
    benchmark(lambda: env.step(next(actions))[0]["pixels"])
    env.close()


@every_env
def test_reset_with_state(benchmark, env_id):
    env = bare(env_id, obs_type="state", render_mode=None)
    seeds = cycle(range(1000))
    benchmark(lambda: env.reset(seed=next(seeds)))
    env.close()


@pytest.mark.parametrize("number", [1, 2, 8])
@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        pytest.param("JepaWM/Wall-v0", {"obs_type": "state"}, id="Wall-state"),
        pytest.param("JepaWM/PointMaze-v0", {"obs_type": "state"}, id="PointMaze-state"),
        pytest.param("JepaWM/PushT-v0", {"obs_type": "pixels", "image_size": 64}, id="PushT-pixels64"),
    ],
)
def test_vector_step(benchmark, env_id, settings, mode, number):
    """One step of ``number`` environments, with the resets at the ends of episodes; pixels are read."""
    envs = gymnasium.make_vec(env_id, num_envs=number, vectorization_mode=mode, render_mode=None, **settings)
    try:
        space = envs.action_space
        assert isinstance(space, gymnasium.spaces.Box)
        actions = random_actions(space.low, space.high, space.shape)
        envs.reset(seed=0)
        rounds = 5 if "image_size" in settings else 20
        # After the step that ends an episode there is one that resets.
        benchmark.pedantic(lambda: envs.step(next(actions)), rounds=rounds, iterations=EPISODE + 1, warmup_rounds=1)
    finally:
        envs.close()


@every_painter_of_batches
@pytest.mark.parametrize("size", [64, 224])
def test_draw_256_pictures_at_once(benchmark, env_id, size):
    env = bare(env_id)
    states = np.stack([env.sample_states(seed)[0] for seed in range(BATCH)])
    benchmark.pedantic(env.draw, (states, size), rounds=5, warmup_rounds=1)


@every_quick_env
def test_simulate_300_sequences_of_30_steps(benchmark, env_id):
    env = bare(env_id)
    states = np.stack([env.state] * 300)
    actions = np.random.default_rng(0).normal(0, env.behaviour_std, (300, 30, env.action_dim))
    benchmark.pedantic(env.simulate, (states, actions), rounds=5, warmup_rounds=1)

"""The same seed gives the same bytes, whatever happened before or beside it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from jepawm_envs.goal_env import OBS_TYPES, GoalEnv

every_mode = pytest.mark.parametrize("obs_type", OBS_TYPES)


def actions_for(env: GoalEnv, count: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-1, 1, (count, env.action_dim))


def as_bytes(observation, info) -> bytes:
    arrays = [observation[key] for key in sorted(observation)] + [info["state"], info["goal_state"]]
    return b"".join(array.tobytes() for array in arrays)


def walk(env: GoalEnv, actions: Iterable[NDArray[np.float64]]) -> list[bytes]:
    taken = []
    for action in actions:
        observation, *_, info = env.step(action)
        taken.append(as_bytes(observation, info))
    return taken


def play(env: GoalEnv, seed: int, count: int = 12) -> list[bytes]:
    return [as_bytes(*env.reset(seed=seed)), *walk(env, actions_for(env, count, seed))]


@every_mode
def test_the_same_seed_gives_the_same_bytes(make_env, env_id, obs_type):
    env = make_env(env_id, obs_type=obs_type)
    first = play(env, 5)
    play(env, 6)
    assert play(env, 5) == first == play(make_env(env_id, obs_type=obs_type), 5)
    assert play(env, 6) != first


def test_unseeded_resets_follow_from_the_last_seed(make_env, env_id):
    def tasks(env: GoalEnv) -> list[list[float]]:
        env.reset(seed=9)
        return [[*env.reset()[1]["state"], *env.goal_state] for _ in range(3)]

    first = tasks(make_env(env_id))
    assert first == tasks(make_env(env_id))
    assert first[0] != first[1]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_copy_made_in_the_middle_continues_like_the_original(make_env, env_id, clone):
    env = make_env(env_id)
    play(env, 2)
    other = clone(env)
    actions = actions_for(env, 8, seed=1)
    assert walk(other, actions) == walk(env, actions)
    assert as_bytes(*other.reset()) == as_bytes(*env.reset())


def test_two_environments_in_one_process_do_not_interfere(make_env, env_id):
    alone = [play(make_env(env_id), seed) for seed in (1, 2)]
    one, two = make_env(env_id), make_env(env_id)
    together = [[as_bytes(*one.reset(seed=1))], [as_bytes(*two.reset(seed=2))]]
    for first, second in zip(actions_for(one, 12, 1), actions_for(two, 12, 2), strict=True):
        together[0] += walk(one, [first])
        together[1] += walk(two, [second])
    assert together == alone


def test_nobody_touches_the_global_generators(make_env, env_id):
    np.random.seed(0)
    before = np.random.get_state()[1].tobytes()  # type: ignore[index,union-attr]
    play(make_env(env_id), 3)
    assert np.random.get_state()[1].tobytes() == before  # type: ignore[index,union-attr]


@every_mode
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vectorised_environments_equal_single_ones(make_env, env_id, obs_type, mode):
    seeds, settings = [3, 4], {"obs_type": obs_type, "image_size": 32, "render_quality": "fast"}
    single = [make_env(env_id, **settings) for _ in seeds]
    actions = actions_for(single[0], 4).astype(np.float32)
    expected = [env.reset(seed=seed)[0] for env, seed in zip(single, seeds, strict=True)]
    vector = gymnasium.make_vec(env_id, num_envs=2, vectorization_mode=mode, **settings)
    try:
        observation, _ = vector.reset(seed=seeds)  # type: ignore[arg-type]
        for action in [None, *actions]:
            if action is not None:
                observation, *_ = vector.step(np.stack([action, -action]))
                expected = [env.step(a)[0] for env, a in zip(single, (action, -action), strict=True)]
            for key in expected[0]:
                np.testing.assert_array_equal(observation[key], np.stack([one[key] for one in expected]))
    finally:
        vector.close()

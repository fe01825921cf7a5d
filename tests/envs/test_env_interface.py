"""Every registered environment keeps the contract."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env

from jepawm_envs.goal_env import OBS_TYPES
from jepawm_envs.registration import ENVIRONMENTS, register_all

every_mode = pytest.mark.parametrize("obs_type", OBS_TYPES)
INFO_KEYS = {"success", "is_success", "distance", "state", "goal_state"}


@every_mode
def test_gymnasium_finds_nothing_to_complain_about(make_env, env_id, obs_type):
    gymnasium_check_env(make_env(env_id, obs_type=obs_type))  # its warnings are errors here


@every_mode
def test_stable_baselines3_finds_nothing_to_complain_about(make_env, env_id, obs_type):
    checker = pytest.importorskip("stable_baselines3.common.env_checker", reason="stable-baselines3 is not installed")
    checker.check_env(make_env(env_id, obs_type=obs_type, image_size=64))


def test_ids_are_registered_by_the_import_and_registering_again_changes_nothing(env_id):
    spec = gymnasium.spec(env_id)
    register_all()
    assert gymnasium.spec(env_id) is spec


def test_gymnasium_imports_the_package_by_itself_when_the_id_names_it(env_id):
    with gymnasium.make(f"jepawm_envs:{env_id}") as env:
        assert env.spec is not None and env.spec.id == env_id


def test_pixels_mode_shows_images_and_proprioception_and_no_state(make_env, env_id):
    env = make_env(env_id, obs_type="pixels", image_size=48)
    observation, _ = env.reset(seed=0)
    assert set(observation) == {"pixels", "goal_pixels", "proprio", "goal_proprio"}
    for key in ("pixels", "goal_pixels"):
        assert observation[key].shape == (48, 48, 3) and observation[key].dtype == np.uint8
    assert observation["proprio"].dtype == observation["goal_proprio"].dtype == np.float32
    assert not hasattr(env, "compute_reward")


def test_state_mode_shows_the_three_keys_of_a_goal_environment(make_env, env_id):
    observation, _ = make_env(env_id, obs_type="state").reset(seed=0)
    assert set(observation) == {"observation", "achieved_goal", "desired_goal"}
    assert all(value.dtype == np.float32 for value in observation.values())


@every_mode
def test_info_says_the_same_at_reset_and_at_every_step(make_env, env_id, obs_type):
    env = make_env(env_id, obs_type=obs_type)
    _, first = env.reset(seed=0)
    *_, later = env.step(env.action_space.sample())
    for info in (first, later):
        assert set(info) == INFO_KEYS
        assert type(info["success"]) is bool and info["is_success"] is info["success"]
        assert type(info["distance"]) is float
        assert info["success"] == env.is_success(info["state"], info["goal_state"])
    np.testing.assert_array_equal(later["state"], env.state)
    np.testing.assert_array_equal(later["goal_state"], env.goal_state)


@every_mode
def test_observations_and_infos_share_no_memory(make_env, env_id, obs_type):
    env = make_env(env_id, obs_type=obs_type)
    first, info = env.reset(seed=0)
    second, *_, later = env.step(env.action_space.sample())
    arrays = [*first.values(), *second.values(), info["state"], info["goal_state"], later["state"], later["goal_state"]]
    for i, one in enumerate(arrays):
        for other in arrays[i + 1 :]:
            assert not np.shares_memory(one, other)
    state = env.state
    for array in arrays:
        array[...] = 0
    np.testing.assert_array_equal(env.state, state)
    again, *_ = env.reset(seed=0)
    fresh, *_ = make_env(env_id, obs_type=obs_type).reset(seed=0)
    for key in again:
        np.testing.assert_array_equal(again[key], fresh[key])


def test_given_states_are_taken_and_missing_ones_are_completed_from_the_seed(make_env, env_id):
    env = make_env(env_id)
    other_init, other_goal = env.sample_states(8)
    for options in ({"init_state": other_init}, {"goal_state": other_goal}):
        env.reset(seed=7, options=options)
        init, goal = env.complete(options.get("init_state"), options.get("goal_state"), 7)
        np.testing.assert_array_equal(env.state, env.start(init))
        np.testing.assert_array_equal(env.goal_state, goal)
        for name, state in (("init_state", init), ("goal_state", goal)):
            np.testing.assert_array_equal(options.get(name, state), state)
    env.reset(seed=7)
    init, goal = env.sample_states(7)
    np.testing.assert_array_equal([env.state, env.goal_state], [env.start(init), goal])


def test_reward_of_a_step_equals_compute_reward_alone_and_in_a_batch(make_env, solved_task, env_id):
    env = make_env(env_id, obs_type="state")
    init, goal = env.sample_states(3)
    achieved, desired, rewards = [], [], []
    for options in ({"init_state": init, "goal_state": goal}, solved_task(env_id)):
        env.reset(seed=0, options=options)
        for _ in range(5):
            observation, reward, *_ = env.step(np.zeros(env.action_dim))
            achieved.append(observation["achieved_goal"])
            desired.append(observation["desired_goal"])
            rewards.append(reward)
            assert env.compute_reward(achieved[-1], desired[-1], {}) == reward
    np.testing.assert_array_equal(env.compute_reward(np.stack(achieved), np.stack(desired), [{}] * 10), rewards)
    assert rewards == [-1.0] * 5 + [0.0] * 5


def test_success_ends_an_episode_only_when_asked_for(make_env, solved_task, env_id):
    for asked in (False, True):
        env = make_env(env_id, terminate_on_success=asked)
        env.reset(seed=0, options=solved_task(env_id))
        _, reward, terminated, truncated, info = env.step(np.zeros(env.action_dim))
        assert (reward, terminated, truncated, info["success"]) == (0.0, asked, False, True)


def test_the_step_limit_truncates_and_does_not_terminate(env_id):
    env, limit = gymnasium.make(env_id, obs_type="state"), ENVIRONMENTS[env_id].max_episode_steps
    env.reset(seed=0)
    ends = [env.step(np.zeros(env.action_space.shape or ()))[2:4] for _ in range(limit)]
    env.close()
    assert ends == [(False, False)] * (limit - 1) + [(False, True)]


def test_simulate_agrees_with_stepping_and_leaves_the_environment_alone(make_env, env_id):
    env = make_env(env_id, obs_type="state")
    env.reset(seed=4)
    init = env.state
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 20, env.action_dim))
    imagined = env.simulate(np.stack([init] * 3), actions)
    np.testing.assert_array_equal(env.state, init)
    path = [env.step(action)[4]["state"] for action in actions[1]]
    np.testing.assert_allclose(path, imagined[1], rtol=0, atol=1e-12)


def test_rendering_is_off_when_made_without_a_render_mode(make_env, env_id):
    env = make_env(env_id, render_mode=None)
    observation, _ = env.reset(seed=0)
    assert env.render() is None
    assert observation["pixels"].any()


def test_the_class_docstring_has_the_sections_of_a_specification_sheet(make_env, env_id):
    sheet = type(make_env(env_id)).__doc__ or ""
    headings = ("Description", "Action space", "Observation space", "Goal and success", "Rewards", "Starting state")
    for heading in (*headings, "Episode end", "Source", "Version history"):
        assert f"## {heading}" in sheet

"""The Metaworld environments as Gymnasium environments."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from jepawm_envs.errors import InvalidOption, InvalidState

pytest.importorskip("metaworld", reason="metaworld is not installed")

from jepawm_envs.metaworld_tasks import behaviour
from jepawm_envs.metaworld_tasks.env import MetaworldEnv
from jepawm_envs.metaworld_tasks.simulator import OBSERVATION

REACH_SEED_1 = [0.06554052, 0.64091991, 0.02, -0.09448818, 0.87535131, 0.18453583]

Make = Callable[..., MetaworldEnv]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[MetaworldEnv] = []

    def build(task: str = "reach", **settings: Any) -> MetaworldEnv:
        made.append(MetaworldEnv(task, **{"image_size": 32, "render_quality": "fast", **settings}))
        return made[-1]

    yield build
    for env in made:
        env.close()


@pytest.mark.parametrize(("task", "obs_type"), [("reach", "pixels"), ("button-press-topdown", "state")])
@pytest.mark.filterwarnings("ignore:.*Not able to test alternative render modes")  # not made by gymnasium.make
def test_gymnasium_finds_nothing_to_complain_about(make, task, obs_type):
    check_env(make(task, obs_type=obs_type))


def test_the_seed_alone_decides_start_and_goal(make):
    one, other = make(), make()
    other.reset(seed=9)
    other.step(np.ones(4))
    for seed in (1, 2):
        _, info = one.reset(seed=seed)
        _, again = other.reset(seed=seed)
        np.testing.assert_array_equal(info["state"], again["state"])
        np.testing.assert_array_equal(info["goal_state"], again["goal_state"])
        np.testing.assert_array_equal(np.stack(one.sample_states(seed)), np.stack([info["state"], info["goal_state"]]))


def test_task_vectors_are_the_random_vectors_and_mean_the_sampled_states(make):
    env = make()
    init, goal = env.task_states(1)
    np.testing.assert_allclose(init[6:], REACH_SEED_1, rtol=0, atol=5e-9)
    np.testing.assert_allclose(goal, 2 * REACH_SEED_1, rtol=0, atol=5e-9)
    _, sampled = env.reset(seed=1)
    _, info = env.reset(seed=7, options={"init_state": init, "goal_state": goal})
    np.testing.assert_array_equal(info["state"], sampled["state"])
    np.testing.assert_array_equal(info["goal_state"], sampled["goal_state"])
    _, info = env.reset(seed=7, options={"goal_state": goal[:6]})  # the last vector alone counts for both
    np.testing.assert_array_equal(info["goal_state"], sampled["goal_state"])


def test_the_goal_is_where_the_policy_ends_after_100_steps_without_the_warm_up(make):
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
    from metaworld.policies import ENV_POLICY_MAP

    env = make("faucet-open")
    init, goal = env.sample_states(2)
    build: Any = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE["faucet-open-v3-goal-observable"]
    reference = build(seed=1)
    reference._freeze_rand_vec, reference._last_rand_vec = True, env.simulator.layout(init)[1].copy()
    observation, _ = reference.reset()
    with pytest.warns(UserWarning, match="Constant"):
        for _ in range(100):
            action = ENV_POLICY_MAP["faucet-open-v3"]().get_action(observation)
            observation, *_ = reference.step(np.clip(action, -1, 1))
    np.testing.assert_array_equal(goal[OBSERVATION], observation)


def test_a_lone_start_or_goal_brings_the_other_of_its_layout(make):
    env = make()
    init, goal = env.sample_states(1)
    _, info = env.reset(seed=5, options={"init_state": init})
    np.testing.assert_array_equal(info["state"], init)
    np.testing.assert_array_equal(info["goal_state"], goal)
    _, info = env.reset(seed=5, options={"goal_state": goal})
    np.testing.assert_array_equal(info["goal_state"], goal)
    np.testing.assert_allclose(info["state"][2:5], init[2:5], rtol=0, atol=1e-3)


def test_start_and_goal_of_different_layouts_are_refused(make):
    env = make()
    with pytest.raises(InvalidState, match="different layouts"):
        env.reset(options={"init_state": env.sample_states(1)[0], "goal_state": env.sample_states(2)[1]})


@pytest.mark.parametrize("bad", [np.zeros(5), np.full(6, np.nan), np.full(6, 9.0)])
def test_bad_states_are_refused_in_a_sentence(make, bad):
    with pytest.raises(InvalidState, match=r"init_state"):
        make().reset(options={"init_state": bad})


def test_a_state_in_the_middle_of_an_episode_is_a_start_that_continues_exactly(make):
    env, other = make(), make()
    env.reset(seed=3)
    actions = np.random.default_rng(1).uniform(-1, 1, (12, 4))
    path = [env.step(action)[4]["state"] for action in actions]
    _, info = other.reset(seed=0, options={"init_state": path[5]})
    np.testing.assert_array_equal(info["state"], path[5])
    np.testing.assert_array_equal([other.step(action)[4]["state"] for action in actions[6:]], path[6:])


def test_simulate_is_batched_agrees_with_stepping_and_leaves_the_episode_alone(make):
    env = make("push")
    _, info = env.reset(seed=4)
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 6, 4))
    imagined = env.simulate(np.stack([info["state"]] * 3), actions)
    assert imagined.shape == (3, 6, env.state_dim)
    np.testing.assert_array_equal(env.simulate(info["state"], actions), imagined)
    path = [env.step(action)[4]["state"] for action in actions[1]]
    np.testing.assert_array_equal(path, imagined[1])


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_made_in_the_middle_of_an_episode_goes_on_alike(make, clone):
    env = make("button-press")
    env.reset(seed=2)
    for _ in range(4):
        env.step(np.array([0.3, 1.0, -0.2, 0.5]))
    env.render()
    twin = clone(env)
    for _ in range(4):
        action = np.array([-0.2, 0.8, 0.1, -1.0])
        np.testing.assert_array_equal(twin.step(action)[4]["state"], env.step(action)[4]["state"])
    np.testing.assert_array_equal(twin.render(), env.render())
    twin.close()


def test_views_of_the_state_are_those_of_metaworlds_observation(make):
    env = make(obs_type="state")
    observation, info = env.reset(seed=1)
    state = info["state"]
    np.testing.assert_array_equal(observation["observation"], state[OBSERVATION].astype(np.float32))
    np.testing.assert_array_equal(env.proprio(state), state[OBSERVATION][:4].astype(np.float32))
    np.testing.assert_array_equal(observation["achieved_goal"], state[:9].astype(np.float32))
    np.testing.assert_array_equal(env.trace(state), state[:5].astype(np.float32))
    np.testing.assert_allclose(state[OBSERVATION][-3:], REACH_SEED_1[3:], rtol=0, atol=5e-9)


def test_success_is_the_simulators_flag_and_distance_its_measure(make):
    env = make(obs_type="state")
    _, info = env.reset(seed=1)
    rewards, flags = [], []
    for _ in range(99):
        observation, reward, terminated, _, info = env.step(env.expert_action(info["state"], info["goal_state"]))
        assert not terminated
        rewards.append(reward)
        flags.append(info["success"])
        assert info["success"] == bool(info["state"][0]) == bool(info["distance"] <= 0.05)  # reach: within 5 cm
        assert env.compute_reward(observation["achieved_goal"], observation["desired_goal"], {}) == reward
    assert flags[-1] and not flags[0]
    np.testing.assert_array_equal(rewards, np.array(flags) - 1.0)


def test_success_ends_an_episode_only_when_asked_for(make):
    env = make(terminate_on_success=True)
    _, info = env.reset(seed=1)
    for _ in range(99):
        _, reward, terminated, _, info = env.step(env.expert_action(info["state"], info["goal_state"]))
        assert terminated == info["success"] == (reward == 0.0)
        if terminated:
            return
    pytest.fail("the oracle never succeeded")


def test_actions_beyond_the_box_count_as_its_edge(make):
    env = make()
    _, info = env.reset(seed=1)
    ends = [env.simulate(info["state"], np.full((3, 4), size)) for size in (1.0, 7.0)]
    np.testing.assert_array_equal(*ends)


def test_pictures_have_the_size_asked_for_and_fast_ones_lack_shadows(make):
    paper, fast = (make(image_size=64, render_quality=quality) for quality in ("paper", "fast"))
    one, other = (env.reset(seed=1)[0]["pixels"] for env in (paper, fast))
    assert one.shape == other.shape == (64, 64, 3)
    assert 0 < np.abs(one.astype(int) - other.astype(int)).mean() < 30


def test_the_goal_picture_shows_the_goal_and_drawing_does_not_disturb_the_episode(make):
    looking, blind = make(), make()
    looking.reset(seed=1)
    blind.reset(seed=1)
    pictures = np.empty(0)
    for _ in range(3):
        observation, *_, info = looking.step(np.array([0.5, 0.5, 0.5, 0.0]))
        pictures = np.stack([observation["pixels"], observation["goal_pixels"]])
        *_, unseen = blind.step(np.array([0.5, 0.5, 0.5, 0.0]))
        np.testing.assert_array_equal(info["state"], unseen["state"])
    np.testing.assert_array_equal(pictures, looking.draw(np.stack([looking.state, looking.goal_state]), 32))
    assert (pictures[0] != pictures[1]).any()
    with pytest.raises(InvalidOption, match="whole states"):
        looking.draw(looking.trace(looking.state), 32)


def test_behaviour_data_replay_exactly_and_depend_on_the_generator_alone(make):
    env = make()
    states, actions = env.random_episode(np.random.default_rng(5), 12)
    assert states.shape == (13, env.state_dim) and actions.shape == (12, 4) and np.abs(actions).max() <= 1
    np.testing.assert_array_equal(env.simulate(states[0], actions), states[1:])
    again, _ = make().random_episode(np.random.default_rng(5), 12)
    np.testing.assert_array_equal(again, states)
    other, _ = env.random_episode(np.random.default_rng(6), 12)
    assert not np.array_equal(env.simulator.layout(other[0]), env.simulator.layout(states[0]))


def test_wandering_hands_keep_an_intention_for_a_while_and_leave_some_steps_to_the_expert():
    drift, by_expert = behaviour._intentions(np.random.default_rng(0), 20_000)
    assert 0.2 < by_expert.mean() < 0.3 and not drift[by_expert].any()
    moving = drift.any(axis=1)
    assert 0.55 < moving.mean() < 0.65 and np.abs(drift).max() <= 1 and abs(drift[moving].mean()) < 0.05
    changes = np.flatnonzero((np.diff(drift, axis=0) != 0).any(axis=1) | np.diff(by_expert))
    assert np.diff(changes).min() >= behaviour.SEGMENT[0]


def test_difficulty_is_the_same_for_task_vectors_and_for_the_states_they_mean(make):
    env = make("push")
    of_vectors = env.difficulty(*env.task_states(3))
    assert of_vectors == env.difficulty(*env.sample_states(3))
    assert of_vectors["euclidean"] > 0.05 and of_vectors["object"] > 0.05  # the puck is pushed at least 15 cm


def test_planning_cost_falls_on_the_way_and_drops_with_success(make):
    env = make("button-press")
    init, goal = env.sample_states(1)
    path = [init]
    while not path[-1][0]:
        path.append(env.simulate(path[-1], env.expert_action(path[-1], goal)[None])[0])
    costs = env.planning_cost(np.stack(path), goal)
    assert costs.shape == (len(path),)
    assert costs[0] > costs[len(path) // 2] > costs[-2] > costs[-1] + 0.09


def test_straight_line_moves_at_full_speed_towards_the_goal_of_the_hand(make):
    env = make()
    init, goal = env.sample_states(1)
    action = env.straight_line_action(init, goal)
    way = goal[2:5] - init[2:5]
    np.testing.assert_allclose(action[:3], way / np.abs(way).max(), rtol=0, atol=1e-12)

"""Two Rooms as an environment: tasks and their layouts, options, pictures, scripted walkers."""

from __future__ import annotations

import copy
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from numpy.testing import assert_allclose, assert_array_equal

from jepawm_envs.errors import InvalidOption, InvalidState
from jepawm_envs.tworooms import sampler
from jepawm_envs.tworooms.env import STRICT, TwoRoomsEnv

TOWARDS_WALL = np.array([2.0, 0.3])


def walk(env: TwoRoomsEnv, controller, init, goal, steps: int) -> np.ndarray:
    path = [init]
    for _ in range(steps):
        path.append(env.simulate(path[-1], controller(path[-1], goal)[None])[0])
    return np.stack(path)


@pytest.mark.filterwarnings("ignore:.*symmetric and normalized space")  # actions are in pixels, as published
@pytest.mark.parametrize("settings", [{"obs_type": "state"}, {"image_size": 32}, {"channels": "two"}, {"jitter": 0.5}])
def test_gymnasium_finds_nothing_to_complain_about(settings):
    spec = EnvSpec("JepaWM/TwoRooms-v0", entry_point="jepawm_envs.tworooms.env:TwoRoomsEnv", max_episode_steps=200)
    check_env(gymnasium.make(spec, **settings).unwrapped)


def test_both_ends_of_a_task_share_a_layout_and_lie_in_opposite_rooms():
    env = TwoRoomsEnv()
    for seed in range(200):
        init, goal = env.sample_states(seed)
        env.check_state(init)
        env.check_state(goal)
        env.check_task(init, goal)
        assert (init[0] - init[2]) * (goal[0] - goal[2]) < 0
    assert_array_equal(env.sample_states(0), env.sample_sequence(0, 1)[0])
    layouts = {tuple(init[2:]) for init, _ in env.sample_sequence(1, 20000)}
    assert len(layouts) == 1125  # the chance to miss any is 2e-5


def test_a_missing_end_lies_in_the_other_room_of_the_same_layout():
    env = TwoRoomsEnv(obs_type="state")
    for seed in range(50):
        init, goal = env.sample_states(seed)
        assert_array_equal(env.complete(init, None, seed), (init, goal))
        assert_array_equal(env.complete(None, goal, seed), (init, goal))
        other_init, _ = env.sample_states(seed + 1000)
        env.reset(seed=seed, options={"init_state": other_init})
        assert_array_equal(env.state, other_init)
        env.check_state(env.goal_state)
        assert_array_equal(env.goal_state[2:], other_init[2:])
        assert (env.state[0] - env.state[2]) * (env.goal_state[0] - env.state[2]) < 0


def test_positions_get_the_layout_of_the_other_end_or_of_the_seed():
    env = TwoRoomsEnv(obs_type="state")
    layout = env.sample_states(3)[0][2:]
    _, info = env.reset(seed=3, options={"init_state": (10, 10), "goal_state": (50, 50)})
    assert_array_equal(info["state"], (10, 10, *layout))
    assert_array_equal(info["goal_state"], (50, 50, *layout))
    _, info = env.reset(seed=3, options={"init_state": (10, 10), "goal_state": (50, 50, 30, 20)})
    assert_array_equal(info["state"], (10, 10, 30, 20))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"init_state": (10, 10, 19, 30)}, "wall_x must be a whole number from 20 to 44"),
        ({"init_state": (10, 10, 30, 55)}, "door_y must be a whole number from 10 to 54"),
        ({"init_state": (10, 10, 30.5, 30)}, "wall_x must be a whole number"),
        ({"init_state": (30, 10, 30, 30)}, "lies in the wall"),
        ({"init_state": (29, 10, 30, 30)}, "lies in the wall"),
        ({"goal_state": (3, 10, 30, 30)}, "between 4 and 60"),
        ({"goal_state": (10, 60.5, 30, 30)}, "goal_state"),
        ({"goal_state": (1, 2, 3)}, "shape"),
        ({"init_state": (10, float("nan"))}, "finite"),
        ({"init_state": (30, 50), "goal_state": (10, 10, 30, 30)}, "init_state .* lies in the wall"),
        ({"init_state": (10, 10, 30, 30), "goal_state": (50, 10, 31, 30)}, "different layouts"),
    ],
)
def test_states_that_cannot_be_are_refused(options, said):
    with pytest.raises(InvalidState, match=said):
        TwoRoomsEnv(obs_type="state").reset(seed=0, options=options)


@pytest.mark.parametrize(
    "settings",
    [{"channels": "three"}, {"collisions": "slide"}, {"jitter": -1}, {"jitter": float("nan")},
     {"jitter": 0.5, "collisions": "stop"}, {"image_size": 4}],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(settings):
    with pytest.raises(InvalidOption):
        TwoRoomsEnv(**settings)


def test_actions_are_bounded_only_when_asked_for():
    for clip, x in ((False, 15.0), (True, 12.45)):
        env = TwoRoomsEnv(obs_type="state", clip_actions=clip)
        env.reset(seed=0, options={"init_state": (10, 10, 40, 30)})
        assert_allclose(env.simulate(env.state, [[5.0, 0.0]])[0, 0], x)
        assert_allclose(env.step([5.0, 0.0])[4]["state"][0], x)


def test_the_position_can_be_read_from_the_dot_channel_and_the_walls_from_the_other():
    env = TwoRoomsEnv(channels="two")
    observation, _ = env.reset(seed=5)
    pixels = observation["pixels"].astype(float)
    assert pixels.shape == (65, 65, 2) and observation["pixels"].dtype == np.uint8
    grid, total = np.arange(65), pixels[..., 0].sum()
    x, y, wall_x, door_y = env.state
    centre = (pixels[..., 0].sum(axis=0) @ grid / total, pixels[..., 0].sum(axis=1) @ grid / total)
    assert_allclose(centre, (x, y), atol=0.05)
    assert set(np.unique(pixels[..., 1])) == {0, 255}
    open_rows = np.flatnonzero(pixels[4:61, int(wall_x), 1] == 0) + 4
    assert_array_equal(open_rows, np.arange(door_y - 4, door_y + 5))
    assert TwoRoomsEnv(channels="two", image_size=32).reset(seed=5)[0]["pixels"].shape == (32, 32, 2)


def test_a_larger_dot_is_larger_in_the_dot_channel_and_leaves_the_walls_alone():
    options = {"init_state": (10, 30, 32, 30)}
    plain, large = (
        TwoRoomsEnv(channels="two", factors={"dot.std": std}).reset(seed=0, options=options)[0]["pixels"].astype(float)
        for std in (1.3, 2.6)
    )
    assert_allclose(large[..., 0].sum() / plain[..., 0].sum(), 4, rtol=0.05)  # a Gaussian's mass is 2 pi std^2
    assert_array_equal(large[..., 1], plain[..., 1])


def test_the_picture_in_colour_shows_a_red_dot_black_walls_and_the_task_s_own_layout():
    env = TwoRoomsEnv(image_size=65)
    env.reset(seed=0, options={"init_state": (10, 20, 25, 40)})
    picture = env.render()
    assert picture is not None
    assert picture[20, 10].tolist() == [255, 0, 0] and picture[50, 50].tolist() == [255, 255, 255]
    assert picture[30, 25].tolist() == [0, 0, 0] and picture[40, 25].tolist() == [255, 255, 255]
    states = np.stack([env.sample_states(seed)[0] for seed in range(6)]).reshape(2, 3, 4)
    batch = env.draw(states, 48)
    for index in np.ndindex(2, 3):
        assert_array_equal(batch[index], env.draw(states[index], 48))


def test_the_oracle_reaches_every_goal_and_walking_straight_does_not():
    env, tasks = TwoRoomsEnv(), sampler.sample_sequence(9, 40)
    solved = {
        name: np.mean([STRICT.met(env.distances(walk(env, controller, *task, 60)[-1], task[1])) for task in tasks])
        for name, controller in (("oracle", env.expert_action), ("straight", env.straight_line_action))
    }
    assert solved["oracle"] == 1.0 and solved["straight"] < 0.6


@pytest.mark.parametrize("goal", [(50.0, 50.0), (32.0, 33.9), (31.2, 26.1), (33.0, 30.0), (28.0, 58.0), (35.0, 5.0)])
@pytest.mark.parametrize("init", [(10.0, 55.0), (30.8, 10.0), (33.2, 50.0), (32.0, 30.0)])
def test_the_oracle_gets_everywhere_from_everywhere(init, goal):
    env, layout = TwoRoomsEnv(), (32.0, 30.0)
    goal_state = np.array([*goal, *layout])
    path = walk(env, env.expert_action, np.array([*init, *layout]), goal_state, 70)
    assert_allclose(path[-1, :2], goal, atol=1e-6)
    assert np.hypot(*env.expert_action(path[0], goal_state)) <= 1.8 + 1e-12


def test_difficulty_is_the_hand_computed_length_of_both_ways():
    env = TwoRoomsEnv()
    found = env.difficulty(np.array([26.0, 38, 32, 30]), np.array([38.0, 38, 32, 30]))
    assert_allclose(found["euclidean"], 12.0)
    assert_allclose(found["geodesic"], 2 * np.hypot(5, 4) + 2, rtol=1e-9)  # around both lower edges, (31 and 33, 34)


def contacts(env: TwoRoomsEnv, seed: int | None, steps: int = 40) -> np.ndarray:
    env.reset(seed=seed, options={"init_state": (25, 20, 32, 45), "goal_state": (50, 50)})
    return np.stack([env.step(TOWARDS_WALL)[4]["state"] for _ in range(steps)])


def test_jitter_depends_on_the_seed_alone():
    env, other = TwoRoomsEnv(obs_type="state", jitter=0.5), TwoRoomsEnv(obs_type="state", jitter=0.5)
    path = contacts(env, 1)
    contacts(other, 2)
    np.random.seed(0)  # the global generator must not matter
    assert_array_equal(contacts(other, 1), path)
    assert_array_equal(contacts(env, 1), path)
    assert not np.array_equal(contacts(env, 2), path)
    assert not np.array_equal(contacts(env, None), contacts(env, None))
    calm = contacts(TwoRoomsEnv(obs_type="state"), 1)
    assert_array_equal(path[:2], calm[:2])  # no contact yet
    assert 0.1 < np.abs(path - calm)[3:, 0].mean() < 1.0


def test_a_copy_of_a_jittered_episode_goes_on_alike():
    env = TwoRoomsEnv(obs_type="state", jitter=0.5)
    contacts(env, 1, steps=10)
    copies = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    path = [env.step(TOWARDS_WALL)[4]["state"] for _ in range(10)]
    for twin in copies:
        assert_array_equal([twin.step(TOWARDS_WALL)[4]["state"] for _ in range(10)], path)


def test_an_episode_of_the_data_follows_the_physics_of_the_environment():
    for env in (TwoRoomsEnv(), TwoRoomsEnv(collisions="stop"), TwoRoomsEnv(clip_actions=True)):
        random = np.random.default_rng(4)
        for _ in range(20):
            states, actions = env.random_episode(random, 30)
            env.check_state(states[0])
            assert states.shape == (31, 4) and actions.shape == (30, 2)
            assert_array_equal(states[1:], env.simulate(states[0], actions))

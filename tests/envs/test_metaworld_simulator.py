"""The 42 Metaworld tasks against Metaworld itself, and states that continue as if never left."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

from jepawm_envs.errors import EnvError, InvalidOption, InvalidState
from jepawm_envs.metaworld_tasks import experts
from jepawm_envs.metaworld_tasks.simulator import (
    OBJECT_TO_TARGET,
    OBSERVATION,
    SUCCESS,
    MissingLibrary,
    Simulator,
)
from jepawm_envs.metaworld_tasks.tasks import PUBLISHED_EVALUATIONS, TASKS, check_task_name, env_id, library_name

env_dict = pytest.importorskip("metaworld.env_dict", reason="metaworld is not installed")

REACH_SEED_1 = [0.06554052, 0.64091991, 0.02, -0.09448818, 0.87535131, 0.18453583]
"""The last random vector of reach after ``seed(1)`` and one reset, from the facts about the reference."""
STILL = np.zeros(4)

every_task = pytest.mark.parametrize("task", TASKS)


def published(task: str, seed: int):
    """Metaworld as the reference uses it: seeded, reset, one action of zeros; its last step."""
    env = env_dict.ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{task}-v3-goal-observable"](seed=1)
    env.model.cam_pos[2] = (0.75, 0.075, 0.7)
    env._freeze_rand_vec, env.seeded_rand_vec = False, True
    env.seed(seed)
    env.reset()
    return env, env.step(STILL.astype(np.float32))


def begin(simulator: Simulator, seed: int) -> np.ndarray:
    simulator.place(simulator.sample_layout(seed))
    return simulator.step(STILL)


def test_there_are_42_tasks_with_42_ids_and_metaworld_knows_them_all():
    assert len(TASKS) == len(set(TASKS)) == len({env_id(task) for task in TASKS}) == 42
    assert {library_name(task) for task in TASKS} <= set(env_dict.ALL_V3_ENVIRONMENTS)
    assert set(PUBLISHED_EVALUATIONS) <= set(TASKS)
    for absent in ("basketball", "coffee-pull", "coffee-push", "dial-turn", "door-unlock", "hand-insert", "sweep"):
        assert absent not in TASKS


def test_ids_are_made_of_the_words_of_the_task():
    assert env_id("reach") == "JepaWM/MetaworldReach-v0"
    assert env_id("reach-wall") == "JepaWM/MetaworldReachWall-v0"
    assert env_id("button-press-topdown") == "JepaWM/MetaworldButtonPressTopdown-v0"


def test_an_unknown_task_is_refused_with_the_nearest_names():
    with pytest.raises(InvalidOption, match="reach-wall"):
        check_task_name("reach_wall")


@every_task
def test_a_seed_gives_the_published_episode_and_any_state_of_it_continues_exactly(task):
    reference, (observation, _, _, _, info) = published(task, seed=4)
    one = Simulator(task)
    state = begin(one, seed=4)
    np.testing.assert_array_equal(state[OBSERVATION], observation)
    actions = np.random.default_rng(0).uniform(-1, 1, (16, 4))
    path = [state]
    for action in actions:
        path.append(one.step(action))
        observation, *_, info = reference.step(action.astype(np.float32))
        np.testing.assert_array_equal(path[-1][OBSERVATION], observation)
        assert (path[-1][SUCCESS], path[-1][OBJECT_TO_TARGET]) == (info["success"], info["obj_to_target"])

    begin(one, seed=5)  # another layout, and steps in it, must leave no trace
    one.roll(one.step(STILL), actions[:3])
    np.testing.assert_array_equal(one.roll(path[6], actions[6:]), path[7:])
    one.check(path[6])
    np.testing.assert_array_equal(one.roll(path[2], actions[2:8]), path[3:9])


def test_the_last_random_vector_of_reach_is_that_of_the_reference():
    first, last = Simulator("reach").sample_layout(1)
    np.testing.assert_allclose(last, REACH_SEED_1, rtol=0, atol=5e-9)
    assert not np.array_equal(first, last)


def test_the_random_vector_that_a_reset_throws_away_moves_the_start_of_disassemble():
    simulator = Simulator("disassemble")
    layout = simulator.sample_layout(1)
    state = begin(simulator, 1)
    simulator.place(np.stack([layout[1], layout[1]]))
    assert np.abs(simulator.step(STILL)[OBSERVATION] - state[OBSERVATION]).max() > 0.01


def test_layouts_that_the_task_does_not_allow_are_refused_instead_of_drawn_for_ever():
    simulator = Simulator("reach")
    low, _ = simulator.vector_bounds
    with pytest.raises(InvalidState, match="between"):
        simulator.place(np.stack([low - 1.0, low - 1.0]))
    near = np.array([0.1, 0.7, 0.02, 0.1, 0.8, 0.1])  # 0.1 m apart on the table; reach wants 0.15
    with pytest.raises(InvalidState, match="nearer"):
        simulator.place(np.stack([near, near]))
    begin(simulator, 1)  # and the simulator is still usable


def test_a_state_whose_parts_disagree_is_refused():
    simulator = Simulator("reach")
    state = begin(simulator, 1)
    simulator.check(state)
    target = OBSERVATION.start + 36
    for index, value, words in (
        (2, state[2] + 0.01, "not where"),
        (target, state[target] + 0.01, "shows the target at"),
        (SUCCESS, 1.0, "success=1"),
        (SUCCESS, 0.5, "success=0.5"),
        (OBJECT_TO_TARGET, 1e-5, "object_to_target=1e-05"),
    ):
        lying = state.copy()
        lying[index] = value
        with pytest.raises(InvalidState, match=words):
            simulator.check(lying)
        simulator.check(state)


@every_task
def test_states_in_the_middle_of_an_episode_pass_the_check(task):
    simulator = Simulator(task)
    state = begin(simulator, 5)
    random = np.random.default_rng(0)
    reached = [state]
    for _ in range(60):
        noise = random.uniform(-0.5, 0.5, 4)
        reached.append(simulator.step(experts.oracle_action(task, reached[-1]) + noise))
    simulator.place(simulator.sample_layout(6))
    for state in reached[::6]:
        simulator.check(state)


def test_no_more_than_four_cameras_stay_open():
    from jepawm_envs import rendering

    try:
        rendering.backend()
    except rendering.RenderingError as problem:
        pytest.skip(str(problem))
    before = len(rendering._open_parts)
    simulator = Simulator("reach")
    state = begin(simulator, 1)
    first = simulator.draw(state, 16, "fast")
    for size in (16, 24, 32, 40, 48, 56):
        assert simulator.draw(state, size, "fast").shape == (size, size, 3)
        assert len(rendering._open_parts) - before <= 4
    np.testing.assert_array_equal(simulator.draw(state, 16, "fast"), first)
    simulator.close()


def test_a_pickled_simulator_continues_like_the_first():
    simulator = Simulator("push")
    state = begin(simulator, 3)
    copy = pickle.loads(pickle.dumps(simulator))
    actions = np.full((5, 4), 0.5)
    np.testing.assert_array_equal(copy.roll(state, actions), simulator.roll(state, actions))


def test_the_camera_stands_where_the_reference_puts_it_which_is_corner4_of_this_metaworld():
    model = Simulator("reach")._env.model
    used, stock = model.camera("corner2"), model.camera("corner4")
    np.testing.assert_array_equal(used.pos, (0.75, 0.075, 0.7))
    for name in ("pos", "quat", "fovy"):
        np.testing.assert_array_equal(getattr(used, name), getattr(stock, name))
    assert model.camera(2).name == "corner2" and used.fovy.item() == 60


def test_pictures_are_those_that_metaworld_draws_of_the_published_episode():
    from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

    from jepawm_envs import rendering

    rendering.prepare()
    reference, _ = published("reach-wall", seed=1)
    renderer = MujocoRenderer(reference.model, reference.data, width=96, height=96, camera_name="corner2")
    expected = renderer.render("rgb_array")
    renderer.close()
    simulator = Simulator("reach-wall")
    drawn = simulator.draw(begin(simulator, 1), 96, "paper")
    simulator.close()
    assert expected is not None
    np.testing.assert_array_equal(drawn, np.asarray(expected)[::-1])


def test_the_policy_never_writes_to_the_observation_that_it_is_given():
    simulator = Simulator("door-open")  # its policy moves the handle in place
    observation = begin(simulator, 1)[OBSERVATION].copy()
    kept = observation.copy()
    experts.policy_action("door-open", observation)
    np.testing.assert_array_equal(observation, kept)


@pytest.mark.parametrize("task", ["reach", "reach-wall", "button-press", "drawer-close", "coffee-button"])
def test_the_oracle_solves_the_task_and_then_stays(task):
    simulator = Simulator(task)
    state = begin(simulator, 1)
    assert not state[SUCCESS]
    for _ in range(150):
        state = simulator.step(experts.oracle_action(task, state))
    assert state[SUCCESS]


def test_the_policy_undoes_what_the_oracle_keeps():
    ends = []
    for controller in (lambda state: experts.policy_action("coffee-button", state[OBSERVATION]), None):
        simulator = Simulator("coffee-button")
        state = begin(simulator, 1)
        for _ in range(99):
            state = simulator.step(controller(state) if controller else experts.oracle_action("coffee-button", state))
        ends.append(state[SUCCESS])
    assert ends == [0.0, 1.0]


def test_without_metaworld_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "metaworld.env_dict", None)
    with pytest.raises(MissingLibrary, match=r'pip install "jepawm-bench\[metaworld\]"') as caught:
        Simulator("reach")
    assert isinstance(caught.value, EnvError) and isinstance(caught.value, ImportError)

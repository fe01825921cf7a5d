"""The Push-T environment: sampler, rules, factors, copies, scripted pushers and behaviour data."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("pymunk")

from jepawm_envs.errors import InvalidOption, InvalidState
from jepawm_envs.pusht import oracle
from jepawm_envs.pusht.env import PushTEnv
from jepawm_envs.pusht.shapes import SHAPES

FREE = np.array([100.0, 120.0, 330.0, 340.0, 0.5, 20.0, -10.0])
PUSHING = np.array([330.0, 300.0, 330.0, 340.0, 0.0, 0.0, 0.0])
PUSH = np.array([0.02, 0.3])


@pytest.fixture
def env():
    environment = PushTEnv(obs_type="state", image_size=64)
    yield environment
    environment.close()


def begin(env, init=PUSHING, goal=FREE, **options):
    return env.reset(seed=0, options={"init_state": init, "goal_state": goal, **options})


def push(env, steps):
    return np.array([env.step(PUSH)[4]["state"] for _ in range(steps)])


def test_sampler_rows_equal_the_record(golden, env):
    record = golden("pusht")
    for seed, init, goal in zip(record["sampler_seed"], record["sampler_init"], record["sampler_goal"], strict=True):
        np.testing.assert_array_equal(env.sample_states(int(seed)), [init, goal])


def test_an_episode_repeats_the_record(golden, env):
    record = golden("pusht")
    states, actions = record["states"][3], record["actions"][3]
    start = states[0].copy()
    start[:2] = np.round(start[:2] - 0.01 * start[5:])
    _, info = begin(env, start, states[-1])
    np.testing.assert_allclose(info["state"], states[0], atol=1e-5)
    for action in actions:
        *_, info = env.step(action)
    np.testing.assert_allclose(info["state"], states[-1], atol=1e-3)
    assert info["success"]


def test_an_episode_begins_after_the_preparation(env):
    _, info = begin(env, FREE)
    np.testing.assert_allclose(info["state"][:2], FREE[:2] + 0.01 * FREE[5:])
    np.testing.assert_array_equal(info["state"], env.start(FREE))


def test_positions_count_together_and_angles_on_the_circle(env):
    state = FREE + np.array([3, 0, 0, 4, 0, 50, 50])
    distances = env.distances(state, FREE)
    assert distances["position"] == pytest.approx(5) and distances["block"] == pytest.approx(4)
    for turn, angle in ((0.1, 0.1), (-0.1, 0.1), (2 * np.pi + 0.1, 0.1), (-6 * np.pi - 0.2, 0.2), (9.0, 9 - 2 * np.pi)):
        assert env.distances(FREE + np.array([0, 0, 0, 0, turn, 0, 0]), FREE)["angle"] == pytest.approx(abs(angle))


def test_distances_of_achieved_goals_are_those_of_states(env):
    random = np.random.default_rng(0)
    states = random.uniform([0, 0, 0, 0, -15, -9, -9], [512, 512, 512, 512, 15, 9, 9], size=(50, 7))
    ours, theirs = env.distances(states, FREE), env.goal_distances(env.achieved(states), env.achieved(FREE))
    for key, values in ours.items():
        np.testing.assert_allclose(theirs[key], values, atol=1e-4)


@pytest.mark.parametrize(
    ("offset", "met"),
    [
        ([0] * 7, {"published", "block", "strict"}),
        ([9, 0, 0, 0, 0.1, 0, 0], {"published", "block", "strict"}),
        ([15, 0, 0, 0, 0, 0, 0], {"published", "block"}),
        ([100, 0, 0, 15, 0, 0, 0], {"block"}),
        ([15, 0, 15, 0, 0, 0, 0], {"block"}),
        ([0, 0, 0, 0, 0.36, 0, 0], set()),
        ([0, 0, 0, 0, -2 * np.pi + 0.3, 90, 0], {"published", "block"}),
    ],
)
def test_success_rules(env, offset, met):
    distances = env.distances(FREE + offset, FREE)
    assert {rule.name.removeprefix("pusht/") for rule in env.predicates if rule.met(distances)} == met


def test_planning_cost_is_zero_at_the_goal_and_two_at_both_limits(env):
    assert env.planning_cost(FREE, FREE) == 0
    assert env.planning_cost(FREE + np.array([12, 0, 16, 0, np.pi / 9, 0, 0]), FREE) == pytest.approx(2)


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        (0, -11_000.0, "pusher"),
        (1, 11_000.0, "pusher"),
        (2, -90.0, "block"),
        (3, 530.0, "block"),
        (5, 9e4, "faster than"),
        (6, -2100.0, "faster than"),
        (4, np.nan, "finite"),
    ],
)
def test_states_out_of_the_world_are_refused(env, index, value, message):
    state = FREE.copy()
    state[index] = value
    with pytest.raises(InvalidState, match=message):
        begin(env, state)


@pytest.mark.parametrize("factors", [None, {"block.scale": 1.3}, {"friction": 1.0, "agent.radius": 24.0}])
@pytest.mark.parametrize("episodes", [1, 170])
def test_every_state_that_random_actions_reach_is_a_start(factors, episodes):
    env = PushTEnv(obs_type="state", factors=factors)
    random = np.random.default_rng(0)
    farthest = 0.0
    for _ in range(episodes):
        env.reset(seed=int(random.integers(2**32 - 1)))
        for action in random.uniform(-1, 1, (5100 // episodes, 2)):
            state = env.step(action)[4]["state"]
            env.check_state(state)
            farthest = max(farthest, np.abs(state[:2] - 256).max())
    assert farthest > 450  # beyond the canvas


def test_targets_at_the_other_end_of_the_canvas_give_speeds_that_a_start_may_have(env):
    begin(env)
    speeds = []
    for action in [[5.12, -5.12], [5.12, -5.12], [-5.12, 5.12]]:
        state = env.step(action)[4]["state"]
        env.check_state(np.concatenate([state[:2], FREE[2:5], state[5:]]))
        speeds.append(np.abs(state[5:]).max())
    assert max(speeds) > 1800


def test_recorded_states_are_starts(golden, env):
    for state in golden("pusht")["states"].reshape(-1, 7):
        env.check_state(state)


def test_an_unknown_shape_is_refused():
    with pytest.raises(InvalidOption, match=r"shape='O' is not known; choose one of T, L, Z"):
        PushTEnv(shape="O")


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_makes_an_environment_of_its_own_look(shape):
    env = PushTEnv(shape=shape, image_size=64)
    observation, _ = begin(env)
    image = observation["pixels"]
    env.step(PUSH)
    others = [PushTEnv(shape=other, image_size=64) for other in SHAPES if other != shape]
    assert all((other.draw(PUSHING, 64) != image).any() for other in others)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_made_in_the_middle_of_a_push_go_on_alike(env, duplicate):
    begin(env)
    push(env, 6)
    twin = duplicate(env)
    np.testing.assert_array_equal(push(env, 8), push(twin, 8))


def test_planning_does_not_disturb_the_episode(env):
    begin(env)
    expected = push(env, 8)
    begin(env)
    half = push(env, 4)
    env.simulate(np.tile(FREE, (3, 1)), np.full((3, 5, 2), 0.2))
    env.expert_action(env.state, env.goal_state)
    env.random_episode(np.random.default_rng(0), 10)
    np.testing.assert_array_equal([*half, *push(env, 4)], expected)


def test_simulating_from_the_episode_state_stays_close_to_the_episode(env):
    """The simulator's hidden contact memory makes a difference, of one or two pixels in half a second."""
    begin(env)
    push(env, 5)
    predicted = env.simulate(env.state, np.tile(PUSH, (5, 1)))
    np.testing.assert_allclose(predicted[:, :4], push(env, 5)[:, :4], atol=3.0)


def test_factors_at_their_defaults_change_nothing():
    plain = PushTEnv(obs_type="state")
    defaults = PushTEnv(obs_type="state", factors={factor.name: factor.default for factor in PushTEnv.factors})
    for env in (plain, defaults):
        begin(env)
    np.testing.assert_array_equal(push(plain, 8), push(defaults, 8))
    np.testing.assert_array_equal(plain.render(), defaults.render())


COLORS = {
    "agent.color": (255, 0, 0),
    "block.color": (0, 0, 100),
    "background.color": (0, 0, 0),
    "goal.color": (9, 9, 9),
}


@pytest.mark.parametrize(("name", "value"), [*COLORS.items(), ("goal.shown", 0)])
def test_appearance_moves_pixels_and_no_states(env, name, value):
    begin(env)
    plain, image = push(env, 4), env.render()
    begin(env, factors={name: value})
    np.testing.assert_array_equal(push(env, 4), plain)
    changed = env.render()
    assert (changed != image).any()
    if name in COLORS:
        assert (changed == value).all(axis=-1).any()


@pytest.mark.parametrize(
    ("name", "value"), [("agent.radius", 20.0), ("block.mass", 3.0), ("block.scale", 1.2), ("friction", 0.8)]
)
def test_physics_factors_move_states(env, name, value):
    start = PUSHING + np.array([40, 0, 0, 0, 0, 0, 0])
    begin(env, start)
    plain = push(env, 8)
    begin(env, start, factors={name: value})
    changed = push(env, 8)
    assert np.abs(changed[:, 2:5] - plain[:, 2:5]).max() > 1e-2
    np.testing.assert_array_equal(changed[:, :2], plain[:, :2])  # nothing moves the pusher
    begin(env, start)
    np.testing.assert_array_equal(push(env, 8), plain)


def behaviour_task(env, seed):
    """Start and goal as published: a place in an episode of behaviour and where its next 30 actions lead."""
    random = np.random.default_rng(seed)
    states, actions = env.random_episode(random, 100)
    offset = int(random.integers(0, 71))
    begin(env, states[offset])
    for action in actions[offset : offset + 30]:
        env.step(action)
    return states[offset], env.state


def test_the_oracle_solves_tasks_and_holds_the_goal(env):
    solved = []
    for seed in range(5):
        init, goal = behaviour_task(env, seed)
        _, info = begin(env, init, goal)
        for _ in range(40):
            *_, info = env.step(env.expert_action(env.state, goal))
        solved.append(info["success"])
    assert sum(solved) >= 4, solved


def test_the_oracle_is_a_function_of_state_and_goal(env):
    first = env.expert_action(PUSHING, FREE)
    env.expert_action(FREE, PUSHING)
    np.testing.assert_array_equal(env.expert_action(PUSHING, FREE), first)


def test_the_straight_walker_reaches_its_own_place(env):
    goal = FREE + np.array([80, -40, 0, 0, 0, 0, 0])
    _, info = begin(env, FREE, goal)
    for _ in range(25):
        *_, info = env.step(env.straight_line_action(env.state, goal))
    assert info["success"]


def test_the_oracle_walks_around_a_block_that_is_right(env):
    """From above the bar to beside the stem: the straight way leads through the block."""
    init = np.array([256.0, 180.0, 256.0, 220.0, 0.0, 0.0, 0.0])
    goal = np.array([256.0, 370.0, 256.0, 220.0, 0.0, 0.0, 0.0])
    _, info = begin(env, init, goal)
    for _ in range(40):
        *_, info = env.step(oracle.expert_action(env.state, goal, env._simulator()))
    assert info["success"]
    np.testing.assert_allclose(info["state"][2:5], goal[2:5], atol=0.5)


def test_behaviour_spreads_like_the_published_data(env):
    states, actions = zip(*(env.random_episode(np.random.default_rng(seed), 100) for seed in range(24)), strict=True)
    states, actions = np.array(states), np.array(actions)
    assert states.shape == (24, 101, 7) and actions.shape == (24, 100, 2)
    assert np.abs(actions.mean(axis=(0, 1))).max() < 0.03
    assert (actions.std(axis=(0, 1)) > 0.17).all() and (actions.std(axis=(0, 1)) < 0.26).all()
    assert (states[..., 5:].std(axis=(0, 1)) > 65).all() and (states[..., 5:].std(axis=(0, 1)) < 95).all()
    assert np.abs(states[..., :4].mean(axis=(0, 1)) - [237, 265, 255, 266]).max() < 25
    assert (np.abs(states[..., :4].std(axis=(0, 1)) / [101, 87, 53, 57] - 1) < 0.3).all()
    moved = np.linalg.norm(states[:, -1, 2:4] - states[:, 0, 2:4], axis=-1)
    turned = env.distances(states[:, -1], states[:, 0])["angle"]
    assert (moved > 10).mean() > 0.8 and (turned > 0.1).mean() > 0.6


def test_behaviour_depends_on_its_generator_alone(env):
    first, again, other = (env.random_episode(np.random.default_rng(seed), 40) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[1] != other[1]).any()
    begin(env, first[0][0])
    assert env.difficulty(first[0][0], FREE)["geodesic"] > 0


def test_fast_quality_shows_nearly_the_same():
    quick, paper = (
        PushTEnv(render_quality=quality, factors={"block.color": (0, 0, 100)}).draw(PUSHING, 224).astype(int)
        for quality in ("fast", "paper")
    )
    assert 0 < np.abs(quick - paper).mean() < 0.3

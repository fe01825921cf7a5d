"""The planning agent in worlds where the right answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jepawm_agents.agent import JEPAWMAgent
from jepawm_agents.context import rollout_from_past
from jepawm_agents.control import Control
from jepawm_agents.errors import ConfigError
from jepawm_agents.objectives import make_objective
from jepawm_agents.planners import make_planner
from jepawm_agents.planners.registry import PLANNERS
from jepawm_agents.preprocessing import Preprocessing
from jepawm_agents.simulator_agent import TrueSimulatorAgent
from jepawm_agents.world_models.jepa import Imagination, Latent, Normaliser
from jepawm_agents.world_models.weights import PREDICTORS
from jepawm_bench.agent import EpisodeKey
from jepawm_envs.wall.env import WallEnv

FRAMESKIP = 2
SMALL = {"horizon": 3, "num_samples": 300, "iterations": 20, "num_elites": 30, "execution_horizon": 3}


class PointWorld(nn.Module):
    """Latent = position; every primitive action (x, y) adds ``gain`` times itself. Gain 0: nothing ever moves."""

    config: dict[str, Any] = {}  # noqa: RUF012
    window = 1

    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.gain = gain
        self.normaliser = Normaliser(2, 2)
        self.normaliser.action_mean.copy_(torch.tensor([0.25, 0.0]))
        self.normaliser.action_std.copy_(torch.tensor([0.5, 2.0]))

    def encode(self, pixels, proprio) -> Latent:
        return Latent(torch.from_numpy(np.asarray(proprio, np.float32))[:, None], None)

    def embed(self, latent: Latent) -> Latent:
        return latent

    def rollout(self, latent: Latent, actions: Tensor) -> Imagination:
        moves = self.normaliser.environment_actions(actions.unflatten(-1, (FRAMESKIP, 2))).sum(dim=3)
        path = latent.visual[:, None, None, 0] + self.gain * moves.cumsum(dim=2)
        start = latent.visual[:, None, None, 0].expand(-1, actions.shape[1], -1, -1)
        return Imagination(torch.cat([start, path], dim=2)[:, :, :, None], None)


def agent_in(
    world: Any,
    planner: str = "cem",
    *,
    image_size: int = 8,
    frameskip: int = FRAMESKIP,
    control: dict[str, Any] | None = None,
    **settings,
) -> JEPAWMAgent:
    made, rules = make_planner(planner, **{**SMALL, **settings}), Control(**(control or {}))
    return JEPAWMAgent(world, made, make_objective("L2"), Preprocessing(image_size, frameskip), control=rules)


def observe(starts, goals, image_size: int = 8) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    starts, goals = np.asarray(starts, np.float32), np.asarray(goals, np.float32)
    images = random.integers(0, 256, (2, 16, image_size, image_size, 3), dtype=np.uint8)
    return {
        "pixels": images[0, : len(starts)],
        "goal_pixels": images[1, : len(goals)],
        "proprio": starts,
        "goal_proprio": goals,
    }


def keys(*episodes: int, seed: int = 0) -> list[EpisodeKey]:
    return [EpisodeKey(seed, episode) for episode in episodes]


STARTS, GOALS = [[0.0, 0.0], [1.0, 2.0]], [[3.0, -4.0], [0.0, 8.0]]


def test_in_a_world_of_points_the_planned_actions_add_up_to_the_way_to_the_goal():
    agent, observation = agent_in(PointWorld()), observe(STARTS, GOALS)
    agent.reset(observation, keys(0, 1))
    chunk = agent.act(observation, steps_left=6)
    assert chunk.actions.shape == (2, 6, 2) and chunk.actions.dtype == np.float64
    np.testing.assert_allclose(np.add(STARTS, chunk.actions.sum(axis=1)), GOALS, atol=0.05)
    assert chunk.trace is not None and chunk.trace["best"][:, -1].max() < 1e-2


def test_one_step_is_planned_when_only_one_is_left():
    agent, observation = agent_in(PointWorld()), observe(STARTS, GOALS)
    agent.reset(observation, keys(0, 1))
    for left in (FRAMESKIP, 1):
        chunk = agent.act(observation, steps_left=left)
        assert chunk.actions.shape == (2, FRAMESKIP, 2)
        np.testing.assert_allclose(np.add(STARTS, chunk.actions.sum(axis=1)), GOALS, atol=0.05)


def test_only_the_execution_horizon_of_a_plan_is_handed_out():
    agent, observation = agent_in(PointWorld(), execution_horizon=2), observe(STARTS, GOALS)
    agent.reset(observation, keys(0, 1))
    assert agent.act(observation, steps_left=6).actions.shape == (2, 4, 2)


def test_where_nothing_ever_moves_the_cost_is_the_distance_that_there_was():
    agent, observation = agent_in(PointWorld(gain=0.0)), observe(STARTS, GOALS)
    agent.reset(observation, keys(0, 1))
    trace = agent.act(observation, steps_left=6).trace
    assert trace is not None
    np.testing.assert_allclose(trace["best"], np.array([[25 / 2], [37 / 2]]).repeat(20, axis=1), rtol=1e-6)
    np.testing.assert_allclose(trace["elite_std"], 0.0, atol=1e-5)


def test_the_goal_is_the_one_of_the_reset():
    agent = agent_in(PointWorld())
    agent.reset(observe(STARTS, GOALS), keys(0, 1))
    chunk = agent.act(observe(STARTS, [[99.0, 99.0]] * 2), steps_left=6)
    np.testing.assert_allclose(np.add(STARTS, chunk.actions.sum(axis=1)), GOALS, atol=0.05)


def test_replanning_starts_from_the_present_and_draws_new_noise():
    agent = agent_in(PointWorld(), iterations=2)
    agent.reset(observe(STARTS, GOALS), keys(0, 1))
    plans = [agent.act(observe(STARTS, GOALS), steps_left=6).actions for _ in range(2)]
    assert (plans[0] != plans[1]).any()
    agent.reset(observe(STARTS, GOALS), keys(0, 1))
    np.testing.assert_array_equal(agent.act(observe(STARTS, GOALS), steps_left=6).actions, plans[0])


def test_evaluations_are_counted_for_one_episode():
    agent, observation = agent_in(PointWorld()), observe(STARTS, GOALS)
    agent.reset(observation, keys(0, 1))
    assert agent.act(observation, steps_left=6).model_evaluations == 300 * 20


@pytest.mark.parametrize("family", list(PREDICTORS))
def test_an_episode_is_planned_alike_alone_and_in_a_batch_bit_for_bit(tiny_model, family):
    agent = agent_in(tiny_model(family), image_size=16, frameskip=5, num_samples=24, num_elites=4, iterations=3)
    whole = observe(np.eye(5, 2), -np.eye(5, 2), image_size=16)
    episodes = [7, 0, 3, 12, 5]
    agent.reset(whole, keys(*episodes))
    together = [agent.act(whole, steps_left=left) for left in (15, 10)]
    for row, episode in enumerate(episodes):
        one = {key: value[row : row + 1] for key, value in whole.items()}
        agent.reset(one, keys(episode))
        for left, chunk in zip((15, 10), together, strict=True):
            alone = agent.act(one, steps_left=left)
            np.testing.assert_array_equal(alone.actions[0], chunk.actions[row])
            assert alone.trace is not None and chunk.trace is not None
            np.testing.assert_array_equal(alone.trace["best"][0], chunk.trace["best"][row])


ONE_START = {"num_samples": 1, "num_elites": 1, "iterations": 300}
TO_THE_GOAL: dict[str, dict[str, Any]] = {
    "gd": {**ONE_START, "lr": 0.01},
    "adam": ONE_START,
    "nevergrad": {"num_samples": 60, "init_std": 2.0},
}


@pytest.mark.parametrize("planner", list(PLANNERS))
def test_every_planner_reaches_the_goal_in_a_world_of_points(planner):
    settings = TO_THE_GOAL.get(planner, {"init_std": 2.0})
    tolerance = {"random_shooting": 2.0, "nevergrad": 0.5}.get(planner, 0.2)
    agent, observation = agent_in(PointWorld(), planner, **settings), observe(STARTS, GOALS)
    agent.reset(observation, keys(0, 1))
    chunk = agent.act(observation, steps_left=6)
    np.testing.assert_allclose(np.add(STARTS, chunk.actions.sum(axis=1)), GOALS, atol=tolerance)


@pytest.mark.parametrize("family", ["adaln", "dino_wm"])
@pytest.mark.parametrize("planner", ["gd", "adam"])
def test_gradients_flow_through_world_models_whose_weights_are_frozen(tiny_model, family, planner):
    world = tiny_model(family).requires_grad_(True)
    settings = {"num_samples": 2, "num_elites": 1, "iterations": 30, "lr": 0.05, "action_noise": 0.0}
    agent = agent_in(world, planner, image_size=16, frameskip=5, **settings)
    observation = observe(STARTS, GOALS, image_size=16)
    agent.reset(observation, keys(0, 1))
    trace = agent.act(observation, steps_left=15).trace
    assert trace is not None and (trace["best"][:, -1] < trace["best"][:, 0]).all()
    assert not any(weight.requires_grad or weight.grad is not None for weight in world.parameters())


@pytest.mark.parametrize("planner", list(PLANNERS))
def test_replanning_from_the_last_plan_is_alike_alone_and_in_a_batch_bit_for_bit(tiny_model, planner):
    small = {"num_samples": 8, "num_elites": 2, "iterations": 3, "execution_horizon": 1, "warm_start": True}
    agent = agent_in(
        tiny_model(), planner, image_size=16, frameskip=5, control={"context": 2, "early_exit": 0.0}, **small
    )
    before, episodes = observe(np.eye(3, 2), -np.eye(3, 2), image_size=16), [7, 0, 3]
    after = {key: value.copy() for key, value in before.items()}
    for key in ("pixels", "proprio"):  # after the first plan the second episode is where it should be
        after[key][1] = after["goal_" + key][1]
    views = [(before, 15), (after, 10), (after, 5)]
    agent.reset(before, keys(*episodes))
    together = [agent.act(view, steps_left=left) for view, left in views]
    for row, episode in enumerate(episodes):
        agent.reset({key: value[row : row + 1] for key, value in before.items()}, keys(episode))
        for (view, left), chunk in zip(views, together, strict=True):
            alone = agent.act({key: value[row : row + 1] for key, value in view.items()}, steps_left=left)
            np.testing.assert_array_equal(alone.actions[0], chunk.actions[row])
            spent = np.broadcast_to(chunk.model_evaluations, len(episodes))
            np.testing.assert_array_equal(alone.model_evaluations, spent[row])
            assert alone.trace is not None and chunk.trace is not None
            np.testing.assert_array_equal(alone.trace["best"][0], chunk.trace["best"][row])
    stopped = [np.isnan(chunk.trace["best"][1]).all() for chunk in together if chunk.trace is not None]
    assert stopped == [False, True, True]
    spent = [np.broadcast_to(chunk.model_evaluations, len(episodes))[1] for chunk in together]
    assert spent[0] > 0 and spent[1:] == [0, 0]  # who is planned no more costs nothing


def test_a_warm_start_plans_on_and_a_reset_forgets_it():
    agents = [agent_in(PointWorld(), iterations=2, execution_horizon=1, warm_start=warm) for warm in (True, False)]
    best = []
    for agent in agents:
        observation = observe(STARTS, GOALS)
        agent.reset(observation, keys(0, 1))
        plans = [agent.act(observation, steps_left=6) for _ in range(2)]
        assert plans[1].trace is not None
        best.append(plans[1].trace["best"][:, 0])
        agent.reset(observation, keys(0, 1))
        np.testing.assert_array_equal(agent.act(observation, steps_left=6).actions, plans[0].actions)
    assert (best[0] < best[1]).all()  # the first candidates are better when they surround the last plan


def test_planned_actions_are_repeated_and_scaled():
    plain = agent_in(PointWorld())
    other = agent_in(PointWorld(), control={"action_repeat": 3, "action_scale": [2.0, -0.5]})
    observation, chunks = observe(STARTS, GOALS), []
    for agent in (plain, other):
        agent.reset(observation, keys(0, 1))
        chunks.append(agent.act(observation, steps_left=6).actions)
    np.testing.assert_allclose(chunks[1], np.repeat(chunks[0] * [2.0, -0.5], 3, axis=1), rtol=1e-6)


def test_an_episode_that_has_arrived_stands_still_until_its_end_and_the_others_play_on():
    agent, alone = (agent_in(PointWorld(), control={"early_exit": 0.5}) for _ in range(2))
    agent.reset(observe(STARTS, GOALS), keys(0, 1))
    near = [STARTS[0], [0.0, 7.5]]  # the second is within a mean squared distance of 0.125
    chunk = agent.act(observe(near, GOALS), steps_left=6)
    np.testing.assert_allclose(chunk.actions[1], 0.0, atol=1e-6)
    np.testing.assert_allclose(np.add(STARTS[0], chunk.actions[0].sum(axis=0)), GOALS[0], atol=0.05)
    assert chunk.trace is not None and np.isnan(chunk.trace["best"][1]).all()
    assert np.isfinite(chunk.trace["best"][0]).all()
    away = agent.act(observe(STARTS, GOALS), steps_left=2)  # blown away, it is not planned again
    assert away.actions.shape == (2, 2, 2) and np.abs(away.actions[1]).max() < 1e-6
    np.testing.assert_array_equal(chunk.model_evaluations, [300 * 20, 0])
    alone.reset(observe(STARTS[1:], GOALS[1:]), keys(1))
    arrived = alone.act(observe(near[1:], GOALS[1:]), steps_left=6)
    assert np.abs(arrived.actions).max() < 1e-6
    np.testing.assert_array_equal(arrived.model_evaluations, [0])


def test_nothing_stops_early_by_default():
    agent = agent_in(PointWorld())
    agent.reset(observe(GOALS, GOALS), keys(0, 1))
    trace = agent.act(observe(GOALS, GOALS), steps_left=6).trace
    assert trace is not None and np.isfinite(trace["best"]).all()


def latents(world, count: int) -> list:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 1, 16, 16, 3), dtype=np.uint8)
    return [world.encode(image, random.normal(size=(1, 2)).astype(np.float32)) for image in images]


@pytest.mark.parametrize("family", ["adaln", "dino_wm"])
def test_imagining_from_one_frame_of_the_past_is_the_rollout(tiny_model, family):
    world, actions = tiny_model(family), torch.randn(1, 4, 3, 10, generator=torch.Generator().manual_seed(0))
    now = latents(world, 1)
    found = rollout_from_past(world.predictor, now, torch.empty(1, 0, 10), actions, world.window)
    for one, other in zip(found, world.rollout(now[0], actions), strict=True):
        assert one is not None and other is not None and torch.equal(one, other)


@pytest.mark.parametrize("family", ["adaln", "dino_wm"])
def test_imagining_from_the_past_goes_on_from_what_the_model_predicts_of_real_frames(tiny_model, family):
    world, random = tiny_model(family), torch.Generator().manual_seed(0)
    frames, past = latents(world, 2), torch.randn(1, 1, 10, generator=random)
    actions = torch.randn(1, 4, 3, 10, generator=random)
    found = rollout_from_past(world.predictor, frames, past, actions, window=2)
    visual = torch.stack([frame.visual for frame in frames], dim=1)
    proprio = torch.stack([frame.proprio for frame in frames if frame.proprio is not None], dim=1)
    for candidate in range(4):
        seen = world.predictor.predict(visual, torch.cat([past, actions[:, candidate, :1]], dim=1), proprio)
        torch.testing.assert_close(found.visual[:, candidate, 1], seen.visual[:, -1])
        assert found.proprio is not None and seen.proprio is not None
        torch.testing.assert_close(found.proprio[:, candidate, 1], seen.proprio[:, -1])
    assert torch.equal(found.visual[:, :, 0], frames[1].visual[:, None].expand(-1, 4, -1, -1))
    # From the second step on both frames of the window are after the past: the way there no longer matters but
    # through the frame it led to.
    third = world.rollout(frames[1], actions).visual[:, :, 2]
    assert not torch.allclose(found.visual[:, :, 2], third)


def test_with_a_context_the_agent_remembers_frames_and_actions_and_a_reset_forgets_them(tiny_model, monkeypatch):
    world, given = tiny_model(), []
    agent = agent_in(
        world,
        image_size=16,
        frameskip=5,
        control={"context": 2},
        num_samples=4,
        num_elites=2,
        iterations=1,
        execution_horizon=1,
    )

    def spy(predictor, frames, past, actions, window):
        given.append((frames, past))
        return rollout_from_past(predictor, frames, past, actions, window)

    monkeypatch.setattr("jepawm_agents.inference.rollout_from_past", spy)
    views = [observe([[float(step), 0.0]], [[9.0, 9.0]], image_size=16) for step in range(3)]
    agent.reset(views[0], keys(0))
    chunks = [agent.act(view, steps_left=15) for view in views]
    assert len(given) == 2  # the first plan has one frame
    for step, (frames, past) in enumerate(given, start=1):
        expected = [world.encode(views[at]["pixels"], views[at]["proprio"]) for at in (step - 1, step)]
        for frame, view in zip(frames, expected, strict=True):
            assert frame.proprio is not None and view.proprio is not None
            assert torch.equal(frame.proprio, view.proprio) and torch.equal(frame.visual, view.visual)
        executed = world.normaliser.actions(torch.from_numpy(chunks[step - 1].actions).float()).reshape(1, 1, 10)
        torch.testing.assert_close(past, executed)
    agent.reset(views[0], keys(0))
    np.testing.assert_array_equal(agent.act(views[0], steps_left=15).actions, chunks[0].actions)
    assert len(given) == 2


@pytest.mark.parametrize(
    ("control", "message"),
    [
        ({"context": 0}, "context=0 is not possible"),
        ({"context": 2}, r"context=2 is not possible; this model sees a window of 1 frames"),
        ({"action_repeat": 1.5}, "action_repeat=1.5 is not possible"),
        ({"action_scale": [1.0, 2.0, 3.0]}, "action_scale has 3 numbers; an action of this model has 2"),
        ({"action_scale": 0}, "action_scale=0 is not possible"),
        ({"early_exit": "soon"}, "early_exit='soon' is not possible"),
    ],
)
def test_impossible_control_is_refused(control, message):
    with pytest.raises(ConfigError, match=message):
        agent_in(PointWorld(), control=control)


def test_a_context_is_refused_where_nobody_looks_between_model_steps(tiny_model):
    with pytest.raises(ConfigError, match="context=2 needs a look at every model step, but the planner executes 3"):
        agent_in(tiny_model(), image_size=16, frameskip=5, control={"context": 2})


def test_planning_uses_one_thread(monkeypatch):
    agent, threads = agent_in(PointWorld()), set()
    rollout = agent.world_model.rollout
    monkeypatch.setattr(
        agent.world_model, "rollout", lambda *given: threads.add(torch.get_num_threads()) or rollout(*given)
    )
    torch.set_num_threads(2)
    agent.reset(observe(STARTS, GOALS), keys(0, 1))
    agent.act(observe(STARTS, GOALS), steps_left=6)
    assert threads == {1}


def test_threads_of_the_caller_are_left_as_they_were_and_change_nothing(tiny_model):
    agent = agent_in(tiny_model(), image_size=16, frameskip=5, num_samples=24, num_elites=4, iterations=3)
    observation, plans = observe(STARTS, GOALS, image_size=16), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        agent.reset(observation, keys(0, 1))
        plans.append(agent.act(observation, steps_left=15).actions)
        assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(*plans)


def test_the_true_simulator_plans_in_units_of_the_deviation_of_the_data():
    start, goal = np.array([[10.0, 10.0]]), np.array([[25.0, 10.0]])  # too far for three such steps
    planner = make_planner("cem", **{**SMALL, "horizon": 1, "execution_horizon": 1}, bounds=dict.fromkeys(range(6), 1))
    agent = TrueSimulatorAgent(WallEnv(obs_type="state"), planner, frameskip=3, action_std=0.75)
    agent.reset({"state": start, "goal_state": goal}, keys(0))
    actions = agent.act({"state": start, "goal_state": goal}, steps_left=3).actions
    np.testing.assert_allclose(actions[0, :, 0], 0.75, atol=0.01)


def test_the_true_simulator_reaches_goals_of_its_own_room():
    env = WallEnv(obs_type="state")
    planner = make_planner("cem", **{**SMALL, "iterations": 15})
    agent = TrueSimulatorAgent(env, planner, frameskip=5, action_std=0.75)
    starts, goals = np.array([[15.0, 15.0], [45.0, 45.0]]), np.array([[22.0, 24.0], [50.0, 36.0]])
    observation = {"state": starts, "goal_state": goals}
    agent.reset(observation, keys(0, 1))
    chunk = agent.act(observation, steps_left=15)
    ends = env.simulate(starts, chunk.actions)[:, -1]
    np.testing.assert_allclose(ends, goals, atol=1.0)
    agent.reset({key: value[1:] for key, value in observation.items()}, keys(1))
    alone = agent.act({key: value[1:] for key, value in observation.items()}, steps_left=15)
    np.testing.assert_array_equal(alone.actions[0], chunk.actions[1])


@pytest.mark.parametrize(("left", "steps"), [(30, 6), (29, 6), (28, 5), (9, 2), (5, 1), (4, 1), (0, 1)])
def test_model_steps_are_the_published_ones_and_at_least_one(left, steps):
    assert Preprocessing(64, 5).model_steps(left) == steps


@pytest.mark.parametrize("bad", [{"image_size": 0}, {"frameskip": 0}])
def test_impossible_preprocessing_is_refused(bad):
    with pytest.raises(ConfigError, match="must be at least 1"):
        Preprocessing(**bad)

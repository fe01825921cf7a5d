"""Playing episodes in lockstep: observe, ask the agent once for the whole batch, execute its chunk.

E episodes, T steps of the budget, S numbers a state, A numbers an action, J planner iterations.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepawm_bench.agent import Agent, Chunk, EpisodeKey
from jepawm_bench.errors import AgentFailed
from jepawm_bench.tasks import Task


class Rollout:
    """One episode while it is played, and its record afterwards.

    Args:
        env: made in the agent's observation mode; it is reset to the task's states.
        task: what to play.
    """

    def __init__(self, env: Any, task: Task):
        self.env, self.task = env, task
        options = {"init_state": np.array(task.init_state), "goal_state": np.array(task.goal_state)}
        self.observation, info = env.reset(seed=task.seed, options=options)
        self.state = np.array(info["state"], dtype=np.float64)
        """The current state, (S,)."""
        self.states: list[NDArray[Any]] = [env.unwrapped.trace(self.state)]
        """What is recorded of the states, T + 1 of them, the start first."""
        self.goal_state = np.array(info["goal_state"], dtype=np.float64)
        self.actions: list[NDArray[Any]] = []
        """T of them, (A,)."""
        self.reward = 0.0
        """Sum of rewards."""
        self.plans = 0
        self.model_evaluations = 0
        self.plan_seconds = 0.0
        self.env_seconds = 0.0
        self.plan_traces: list[Mapping[str, NDArray[Any]]] = []
        """One a plan, each (J,); empty when the agent gives none."""

    def execute(self, actions: NDArray[np.float64]) -> None:
        """Step through a chunk (T, A). Images in between are never drawn, since nobody reads them."""
        for action in actions:
            self.observation, reward, _, _, info = self.env.step(action)
            self.state = np.array(info["state"], dtype=np.float64)
            self.states.append(self.env.unwrapped.trace(self.state))
            self.actions.append(self.env.unwrapped.trace_actions(action))
            self.reward += float(reward)


def roll_out(agent: Agent, envs: Sequence[Any], tasks: Sequence[Task], budget: int, seed: int) -> list[Rollout]:
    """Play one batch of episodes to the end of the budget; none stops early.

    Args:
        agent: plays all of them.
        envs: one for each task.
        tasks: what to play, E of them.
        budget: T.
        seed: of the run; keys the agent's randomness together with each task's index.

    Raises:
        AgentFailed: when the agent's answer has a wrong shape or values that are not finite.
    """
    watch = _Stopwatch()
    with watch.timing("env"):
        rollouts = [Rollout(env, task) for env, task in zip(envs, tasks, strict=True)]
        view = _look(agent, rollouts)
    with watch.timing("plan"):
        agent.reset(view, [EpisodeKey(seed, task.index) for task in tasks])

    step = 0
    while step < budget:
        with watch.timing("plan"):
            chunk = agent.act(view, budget - step)
        actions = _checked(chunk, len(tasks), envs[0].action_space.shape)[:, : budget - step]
        step += actions.shape[1]
        with watch.timing("env"):
            for rollout, own_actions in zip(rollouts, actions, strict=True):
                rollout.execute(own_actions)
            view = _look(agent, rollouts) if step < budget else {}
        _note_plan(rollouts, chunk)

    for rollout in rollouts:
        rollout.plan_seconds = watch.seconds["plan"] / len(tasks)
        rollout.env_seconds = watch.seconds["env"] / len(tasks)
    return rollouts


def _look(agent: Agent, rollouts: Sequence[Rollout]) -> dict[str, NDArray[Any]]:
    """Current observations stacked on axis 0; here images are drawn."""
    view = {key: np.stack([rollout.observation[key] for rollout in rollouts]) for key in rollouts[0].observation}
    if agent.obs_type == "state":
        view["state"] = np.stack([rollout.state for rollout in rollouts])
        view["goal_state"] = np.stack([rollout.goal_state for rollout in rollouts])
    return view


def _checked(chunk: Chunk, episodes: int, action_shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The actions of a chunk, (E, T, A), T at least 1."""
    actions = np.asarray(chunk.actions, dtype=np.float64)
    shape = actions.shape
    if len(shape) != 2 + len(action_shape) or shape[0] != episodes or shape[1] < 1 or shape[2:] != action_shape:
        expected = ", ".join(map(str, (episodes, "T", *action_shape)))
        raise AgentFailed(f"the agent answered actions of shape {shape}; expected ({expected}) with T at least 1")
    if not np.isfinite(actions).all():
        raise AgentFailed("the agent answered actions that are not finite numbers")
    return actions


def _note_plan(rollouts: Sequence[Rollout], chunk: Chunk) -> None:
    evaluations = np.asarray(chunk.model_evaluations)
    if evaluations.shape not in ((), (len(rollouts),)):
        raise AgentFailed(
            f"the agent answered model_evaluations of shape {evaluations.shape}; expected one number, or one for each "
            f"of the {len(rollouts)} episodes"
        )
    for row, (rollout, spent) in enumerate(zip(rollouts, np.broadcast_to(evaluations, len(rollouts)), strict=True)):
        rollout.plans += 1
        rollout.model_evaluations += int(spent)
        if chunk.trace:
            rollout.plan_traces.append({name: np.asarray(values)[row] for name, values in chunk.trace.items()})


class _Stopwatch:
    """Adds up seconds by name."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - started  # type: ignore[assignment]

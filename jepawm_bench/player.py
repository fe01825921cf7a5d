"""An agent at its environments: plays batches of tasks and gives scored, finished episodes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator

from jepawm_bench.agent import OBS_TYPES, Agent
from jepawm_bench.errors import AgentFailed, BenchError
from jepawm_bench.results import EpisodeRecord, Finished, Trace
from jepawm_bench.rollout import Rollout, roll_out
from jepawm_bench.scoring import score
from jepawm_bench.tasks import Task
from jepawm_envs.errors import EnvError


@dataclass(frozen=True)
class Conditions:
    """What is the same for every episode of a run."""

    agent_name: str
    env_id: str
    budget: int
    seed: int
    env_settings: Mapping[str, Any] = field(default_factory=dict)


class Player:
    """Plays an agent.

    Args:
        agent: the agent.
        conditions: of the run.

    Raises:
        AgentFailed: when the agent wants to see something that its environment does not show.
    """

    def __init__(self, agent: Agent, conditions: Conditions):
        if agent.obs_type not in OBS_TYPES:
            raise AgentFailed(
                f"Agent {conditions.agent_name!r} asks for obs_type {agent.obs_type!r}; "
                f"there are {', '.join(OBS_TYPES)}."
            )
        self.agent, self.conditions = agent, conditions
        self._view = self._observation_options()
        self._envs: list[Any] = []

    @property
    def provenance(self) -> dict[str, Any]:
        """What the agent says about itself, and the version of torch if it is loaded."""
        own: Mapping[str, Any] = getattr(self.agent, "provenance", {})
        view = {"observation_options": self._view} if self._view else {}
        return {"agent": {**own, **view}, "torch": _loaded_version("torch")}

    def play(self, tasks: Sequence[Task]) -> list[Finished]:
        """Play a batch.

        Raises:
            AgentFailed: naming the episodes, with the agent's traceback.
        """
        try:
            rollouts = roll_out(
                self.agent, self._seats(len(tasks)), tasks, self.conditions.budget, self.conditions.seed
            )
        except EnvError as error:
            what = f"{self.conditions.env_id} failed: {error}"
            raise AgentFailed(what, traceback.format_exc()) from error
        except Exception as error:  # whatever a stranger's agent raises
            raise self._failure(error, tasks) from error
        return [finish(rollout) for rollout in rollouts]

    def _seats(self, number: int) -> list[Any]:
        image = {"image_size": self.agent.image_size} if self.agent.obs_type == "pixels" else {}
        while len(self._envs) < number:
            self._envs.append(
                gymnasium.make(
                    self.conditions.env_id,
                    obs_type=self.agent.obs_type,
                    render_mode=None,
                    max_episode_steps=self.conditions.budget,
                    disable_env_checker=True,  # it would read, and so draw, every image
                    **{**self.conditions.env_settings, **self._view, **image},
                )
            )
        return self._envs[:number]

    def _observation_options(self) -> dict[str, Any]:
        """What the agent wants to see, if that is all it changes."""
        asked = dict(getattr(self.agent, "observation_options", {}))
        if not asked:
            return {}
        env_id, name = self.conditions.env_id, self.conditions.agent_name
        maker = gymnasium.spec(env_id).entry_point
        maker = load_env_creator(maker) if isinstance(maker, str) else maker
        possible = getattr(maker, "observation_options", ())
        for option in asked:
            if option not in possible or option in self.conditions.env_settings:
                left = [other for other in possible if other not in self.conditions.env_settings]
                raise AgentFailed(
                    f"Agent {name!r} asks for the observation option {option!r}, which an agent cannot choose on "
                    f"{env_id}; it can choose {', '.join(left) or 'none there'}."
                )
        return asked

    def _failure(self, error: Exception, tasks: Sequence[Task]) -> AgentFailed:
        what = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
        episodes = ", ".join(str(task.index) for task in tasks)
        name = self.conditions.agent_name
        return AgentFailed(f"Agent {name!r} failed in episode {episodes}: {what.rstrip('.')}.", traceback.format_exc())


def finish(rollout: Rollout) -> Finished:
    """Score an episode that was played to its end."""
    task, states = rollout.task, np.stack(rollout.states)
    result = score(rollout.env.unwrapped, states, rollout.goal_state)
    published = next(iter(result.predicates.values()))
    record = EpisodeRecord(
        episode=task.index,
        seed=task.seed,
        bin=task.bin,
        init_state=task.init_state,
        goal_state=task.goal_state,
        success=published.final,
        success_any=published.any,
        steps_to_success=published.steps_to_success,
        final_distance=result.final_distance,
        min_distance=result.min_distance,
        return_=rollout.reward,
        steps=len(rollout.actions),
        plans=rollout.plans,
        model_evaluations=rollout.model_evaluations,
        predicates=result.predicates,
        plan_seconds=rollout.plan_seconds,
        env_seconds=rollout.env_seconds,
    )
    return Finished(record, {"states": states, "actions": np.stack(rollout.actions), **_plan_trace(rollout)})


def _plan_trace(rollout: Rollout) -> Trace:
    """Planner traces (plans, J) by name; left out when plans differ in length."""
    names = rollout.plan_traces[0] if rollout.plan_traces else {}
    stacks = {name: [np.asarray(trace[name]) for trace in rollout.plan_traces] for name in names}
    return {f"plan_{name}": np.stack(rows) for name, rows in stacks.items() if len({row.shape for row in rows}) == 1}


def _loaded_version(package: str) -> str | None:
    if package not in sys.modules:
        return None
    try:
        return version(package)
    except PackageNotFoundError:
        return None

"""The planner with the true simulator as world model: the ceiling that separates model from planner error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepawm_agents.planners.base import Plan, Planner
from jepawm_agents.planners.noise import EpisodeNoise
from jepawm_agents.preprocessing import model_steps
from jepawm_bench.agent import Chunk, EpisodeKey
from jepawm_envs.goal_env import GoalEnv

Observation = Mapping[str, NDArray[Any]]


class TrueSimulatorAgent:
    """Plans on true dynamics; the cost is the environment's ``planning_cost`` of the last state.

    Args:
        env: an environment whose ``simulate`` is the world model.
        planner: searches action sequences, in units of the data's deviation as for the learned agents.
        frameskip: environment steps in one planned step.
        action_std: deviation of a primitive action that one planner unit stands for.
    """

    obs_type = "state"
    image_size = 8

    def __init__(self, env: GoalEnv, planner: Planner, *, frameskip: int, action_std: float):
        self.env, self.planner, self.frameskip, self.action_std = env, planner, frameskip, action_std
        self.provenance: dict[str, Any] = {"world_model": "simulator", "action_std": action_std}
        self._keys: list[tuple[int, int]] = []
        self._goals = np.empty((0, 0))
        self._replan = 0
        self._previous: Plan | None = None

    def reset(self, observation: Observation, keys: Sequence[EpisodeKey]) -> None:
        """Start E episodes with the goal states (E, S) of their first observation."""
        self._keys = [(key.seed, key.episode) for key in keys]
        self._goals = np.asarray(observation["goal_state"], dtype=np.float64)
        self._replan, self._previous = 0, None

    def act(self, observation: Observation, steps_left: int) -> Chunk:
        """Plan from the current states (E, S)."""
        states = np.asarray(observation["state"], dtype=np.float64)
        primitive = self.env.action_dim
        plan = self.planner.plan(
            lambda actions: self._costs(states, actions),
            batch=len(states),
            action_dim=primitive * self.frameskip,
            noise=EpisodeNoise(self._keys, self._replan),
            horizon=model_steps(steps_left, self.frameskip),
            previous=self._previous,
        )
        self._replan += 1
        self._previous = plan
        trace = {name: value.numpy() for name, value in plan.trace._asdict().items()}
        return Chunk(self._primitive(plan.actions).reshape(len(states), -1, primitive), plan.evaluations, trace)

    def _costs(self, states: NDArray[np.float64], actions: Tensor) -> Tensor:
        """Costs (E, N) of candidates (E, N, H, A)."""
        rows = []
        for state, goal, candidates in zip(states, self._goals, actions, strict=True):
            sequences = self._primitive(candidates).reshape(len(candidates), -1, self.env.action_dim)
            ends = self.env.simulate(np.broadcast_to(state, (len(candidates), len(state))), sequences)[:, -1]
            rows.append(self.env.planning_cost(ends, goal))
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def _primitive(self, actions: Tensor) -> NDArray[np.float64]:
        return actions.numpy().astype(np.float64) * self.action_std

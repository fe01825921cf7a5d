"""The agent of the suite: imagine, compare with the goal, plan, act, plan again.

JEPA-WM, DINO-WM and V-JEPA-2-AC are this agent with different world models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepawm_agents.objectives import Objective
from jepawm_agents.planners.base import Plan, Planner
from jepawm_agents.planners.noise import EpisodeNoise
from jepawm_agents.preprocessing import Preprocessing
from jepawm_agents.world_models.jepa import JEPAWorldModel, Latent
from jepawm_bench.agent import Chunk, EpisodeKey

Observation = Mapping[str, NDArray[Any]]


class JEPAWMAgent:
    """World model, planner and objective behind the harness's agent protocol.

    Every episode is imagined in a call of its own shape, on one thread when on the CPU, so that its numbers, to
    the last bit, do not depend on how many episodes are planned together.

    Args:
        world_model: encodes observations and imagines futures.
        planner: searches action sequences.
        objective: compares imagined latents with the goal's.
        preprocessing: frameskip and image size.
        device: where the model runs.
        provenance: what identifies the agent in a record: weights hash, sizes, precision.
    """

    obs_type = "pixels"

    def __init__(
        self,
        world_model: JEPAWorldModel,
        planner: Planner,
        objective: Objective,
        preprocessing: Preprocessing,
        *,
        device: str | torch.device = "cpu",
        provenance: Mapping[str, Any] | None = None,
    ):
        self.device = torch.device(device)
        self.world_model = world_model.to(self.device).eval().requires_grad_(False)
        self.planner, self.objective, self.preprocessing = planner, objective, preprocessing
        self.image_size = preprocessing.image_size
        self.provenance = dict(provenance or {})
        self._keys: list[tuple[int, int]] = []
        self._goals: list[Latent] = []
        self._replan = 0

    def reset(self, observation: Observation, keys: Sequence[EpisodeKey]) -> None:
        """Start E episodes: encode their goals and forget everything before."""
        self._keys = [(key.seed, key.episode) for key in keys]
        self._replan = 0
        with self._inference():
            goals = self._encode(observation["goal_pixels"], observation["goal_proprio"])
            self._goals = [self.world_model.embed(goal) for goal in goals]

    def act(self, observation: Observation, steps_left: int) -> Chunk:
        """Plan from the current observations and return the next actions of every episode."""
        horizon = self.preprocessing.model_steps(steps_left)
        with self._inference():
            latents = self._encode(observation["pixels"], observation["proprio"])
            plan = self._plan(latents, horizon)
            actions = self.world_model.normaliser.environment_actions(
                plan.actions.unflatten(-1, (self.preprocessing.frameskip, -1)).flatten(1, 2)
            )
        self._replan += 1
        trace = {name: value.cpu().numpy() for name, value in plan.trace._asdict().items()}
        return Chunk(actions.cpu().numpy().astype(np.float64), self.planner.evaluations, trace)

    def _plan(self, latents: Sequence[Latent], horizon: int) -> Plan:
        return self.planner.plan(
            lambda actions: self._costs(latents, actions),
            batch=len(latents),
            action_dim=self.world_model.normaliser.action_mean.numel() * self.preprocessing.frameskip,
            noise=EpisodeNoise(self._keys, self._replan, self.device),
            horizon=horizon,
        )

    def _costs(self, latents: Sequence[Latent], actions: Tensor) -> Tensor:
        """Costs (E, N) of candidates (E, N, H, A), one episode a call."""
        rows = []
        for latent, goal, candidates in zip(latents, self._goals, actions.split(1), strict=True):
            imagined = self.world_model.rollout(latent, candidates)
            rows.append(self.objective(imagined.visual, imagined.proprio, goal.visual, goal.proprio))
        return torch.cat(rows)

    def _encode(self, pixels: NDArray[Any], proprio: NDArray[Any]) -> list[Latent]:
        return [self.world_model.encode(pixels[i : i + 1], proprio[i : i + 1]) for i in range(len(pixels))]

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """No gradients, and on the CPU one thread: sums split over threads depend on their number."""
        threads = torch.get_num_threads()
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        try:
            with torch.inference_mode():
                yield
        finally:
            torch.set_num_threads(threads)

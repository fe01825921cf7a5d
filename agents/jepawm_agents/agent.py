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

from jepawm_agents.control import Control
from jepawm_agents.errors import ConfigError
from jepawm_agents.inference import Imaginer, Inference
from jepawm_agents.objectives import Objective
from jepawm_agents.planners.base import Plan, Planner, Trace
from jepawm_agents.planners.noise import EpisodeNoise
from jepawm_agents.preprocessing import Preprocessing
from jepawm_agents.world_models.jepa import Imagination, JEPAWorldModel, Latent
from jepawm_bench.agent import Chunk, EpisodeKey

Observation = Mapping[str, NDArray[Any]]


class JEPAWMAgent:
    """World model, planner and objective behind the harness's agent protocol.

    Every episode is imagined in a call of its own shape, on one thread when on the CPU, so that its numbers, to
    the last bit, do not depend on how many episodes are planned together.

    Args:
        world_model: encodes observations and imagines futures; its weights are frozen.
        planner: searches action sequences.
        objective: compares imagined latents with the goal's.
        preprocessing: frameskip and image size.
        device: where the model runs.
        provenance: what identifies the agent in a record: weights hash, sizes, precision.
        control: context, action repeat and scale, early exit.
        inference: precision, preparation of the predictor, candidates at once.
        observation_options: arguments with which the environment shows what the encoder was trained on, such as
            ``{"channels": "two"}`` on Two Rooms.
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
        control: Control | None = None,
        inference: Inference | None = None,
        observation_options: Mapping[str, Any] | None = None,
    ):
        self.device = torch.device(device)
        self.world_model = world_model.to(self.device).eval().requires_grad_(False)
        self.planner, self.objective, self.preprocessing = planner, objective, preprocessing
        self.control, self.inference = control or Control(), inference or Inference()
        self.image_size, self.observation_options = preprocessing.image_size, dict(observation_options or {})
        self.provenance = dict(provenance or {}) | self.inference.record()
        self._imaginer = Imaginer(self.world_model, self.inference, last_only=objective.reduce == "last")
        self._scale = self._action_scale()
        self._check_context()
        self._keys: list[tuple[int, int]] = []
        self._goals: list[Latent] = []
        self._begin()

    def reset(self, observation: Observation, keys: Sequence[EpisodeKey]) -> None:
        """Start E episodes: encode their goals and forget everything before."""
        self._keys = [(key.seed, key.episode) for key in keys]
        self._begin()
        with self._inference():
            goals = self._encode(observation["goal_pixels"], observation["goal_proprio"])
            self._goals = [self.world_model.embed(goal) for goal in goals]

    def act(self, observation: Observation, steps_left: int) -> Chunk:
        """Plan from the current observations and return the next actions of every episode."""
        horizon = self.preprocessing.model_steps(steps_left)
        with self._inference():
            self._frames = [*self._frames, self._encode(observation["pixels"], observation["proprio"])]
            self._stop_arrived()
            plan = self._plan(horizon) if self._active else None
            planned = self._spread_out(plan, horizon)
            primitive = planned.unflatten(-1, (self.preprocessing.frameskip, -1)).flatten(1, 2)
            actions = self._environment_actions(primitive)
        self._remember(planned, plan)
        return Chunk(actions.cpu().numpy().astype(np.float64), self._evaluations(plan), self._trace(plan))

    def _begin(self) -> None:
        """Forget all episodes."""
        self._replan = 0
        self._frames: list[list[Latent]] = []
        """Of the last model steps and now, each one latent an episode."""
        self._executed: list[Tensor] = []
        """Normalised model actions (E, 1, A) between these frames."""
        self._previous: Plan | None = None
        """Of the active episodes."""
        self._active = list(range(len(self._keys)))
        """Rows of the episodes that are still planned."""

    # Planning

    def _plan(self, horizon: int) -> Plan:
        return self.planner.plan(
            self._costs,
            batch=len(self._active),
            action_dim=self._action_dim,
            noise=EpisodeNoise([self._keys[row] for row in self._active], self._replan, self.device),
            horizon=horizon,
            previous=self._previous,
        )

    def _costs(self, actions: Tensor) -> Tensor:
        """Costs (E, N) of candidates (E, N, H, A), one episode a call."""
        rows = []
        for row, candidates in zip(self._active, actions.split(1), strict=True):
            portions = [self._cost(row, portion) for portion in self.inference.split(candidates)]
            rows.append(torch.cat(portions, dim=1) if len(portions) > 1 else portions[0])
        return torch.cat(rows)

    def _cost(self, row: int, candidates: Tensor) -> Tensor:
        """Costs (1, N) of one episode's candidates (1, N, H, A)."""
        imagined, goal = self._imagine(row, candidates), self._goals[row]
        return self.objective(imagined.visual, imagined.proprio, goal.visual, goal.proprio)

    def _imagine(self, row: int, candidates: Tensor) -> Imagination:
        if len(self._frames) == 1:
            return self._imaginer([self._frames[0][row]], None, candidates)
        frames = [latents[row] for latents in self._frames]
        past = torch.cat([executed[row : row + 1] for executed in self._executed], dim=1)
        return self._imaginer(frames, past, candidates)

    def _encode(self, pixels: NDArray[Any], proprio: NDArray[Any]) -> list[Latent]:
        return [self.world_model.encode(pixels[i : i + 1], proprio[i : i + 1]) for i in range(len(pixels))]

    # Between plans

    def _remember(self, planned: Tensor, plan: Plan | None) -> None:
        self._replan += 1
        self._previous = plan
        kept = self.control.context - 1  # of the past; the present joins at the next act
        self._frames = self._frames[max(0, len(self._frames) - kept) :]
        self._executed = [*self._executed, planned][-kept:] if kept else []

    def _stop_arrived(self) -> None:
        """Leave out the episodes whose present frame costs no more than ``early_exit``."""
        if self.control.early_exit is None:
            return
        places = [place for place, row in enumerate(self._active) if self._distance(row) > self.control.early_exit]
        if self._previous is not None and len(places) < len(self._active):
            self._previous = _rows(self._previous, places)
        self._active = [self._active[place] for place in places]

    def _distance(self, row: int) -> float:
        """The objective between the present frame and the goal; a NaN is no arrival."""
        now, goal = self.world_model.embed(self._frames[-1][row]), self._goals[row]
        felt = None if now.proprio is None else now.proprio[:, None, None]
        cost = float(self.objective(now.visual[:, None, None], felt, goal.visual, goal.proprio))
        return float("inf") if np.isnan(cost) else cost

    # Actions

    @property
    def _action_dim(self) -> int:
        """Numbers of a model action, A."""
        return self.world_model.normaliser.action_mean.numel() * self.preprocessing.frameskip

    def _spread_out(self, plan: Plan | None, horizon: int) -> Tensor:
        """Normalised model actions (E, m, A) of all episodes; those that are planned no more stand still."""
        if plan is not None and len(self._active) == len(self._keys):
            return plan.actions
        steps = min(self.planner.execution_horizon, horizon)
        still = self.world_model.normaliser.actions(torch.zeros(1, device=self.device))
        actions = still.repeat(len(self._keys), steps, self.preprocessing.frameskip)
        if plan is not None:
            actions = actions.to(plan.actions.dtype)
            actions[self._active] = plan.actions
        return actions

    def _environment_actions(self, primitive: Tensor) -> Tensor:
        """Normalised primitive actions (E, T, A) as the environment wants them, (E, T * repeat, A)."""
        actions = self.world_model.normaliser.environment_actions(primitive)
        if self._scale is not None:
            actions = actions * self._scale
        repeat = self.control.action_repeat
        return actions if repeat == 1 else actions.repeat_interleave(repeat, dim=1)

    def _action_scale(self) -> Tensor | None:
        scale = torch.as_tensor(self.control.action_scale, dtype=torch.float32, device=self.device)
        numbers = self.world_model.normaliser.action_mean.numel()
        if scale.ndim and len(scale) != numbers:
            raise ConfigError(f"action_scale has {len(scale)} numbers; an action of this model has {numbers}.")
        return None if bool((scale == 1).all()) else scale

    def _check_context(self) -> None:
        context, window, steps = self.control.context, self.world_model.window, self.planner.execution_horizon
        if context > window:
            raise ConfigError(f"context={context} is not possible; this model sees a window of {window} frames.")
        if context > 1 and steps > 1:
            raise ConfigError(
                f"context={context} needs a look at every model step, but the planner executes {steps} of them at "
                "once; set planner.execution_horizon to 1."
            )

    # Records

    def _evaluations(self, plan: Plan | None) -> int | NDArray[np.int64]:
        """Of one episode, or (E,) where some are planned no more and so cost nothing."""
        if plan is not None and len(self._active) == len(self._keys):
            return plan.evaluations
        spent = np.zeros(len(self._keys), dtype=np.int64)
        spent[self._active] = 0 if plan is None else plan.evaluations
        return spent

    def _trace(self, plan: Plan | None) -> dict[str, NDArray[Any]]:
        """The plan's trace by name, each (E, J); NaN for episodes that are planned no more."""
        missing = np.full((len(self._keys), self.planner.trace_length), np.nan, dtype=np.float32)
        trace = {name: missing.copy() for name in Trace._fields}
        for name, values in ({} if plan is None else plan.trace._asdict()).items():
            trace[name][self._active] = values.cpu().numpy()
        return trace

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """No gradients but those a planner asks for; on the CPU one thread: split sums depend on their number."""
        threads = torch.get_num_threads()
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        try:
            # What is made in inference mode cannot be part of a gradient later.
            with torch.no_grad() if self.planner.differentiates else torch.inference_mode():
                yield
        finally:
            torch.set_num_threads(threads)


def _rows(plan: Plan, places: Sequence[int]) -> Plan:
    """The plan of some of its episodes."""
    chosen = list(places)
    return plan._replace(
        actions=plan.actions[chosen],
        mean=plan.mean[chosen],
        elites=None if plan.elites is None else plan.elites[chosen],
    )

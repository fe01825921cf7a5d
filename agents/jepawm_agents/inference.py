"""How futures are computed, which is not what they are: precision, preparation, compilation, memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from jepawm_agents.context import rollout_from_past
from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown
from jepawm_agents.world_models.framewise import FramewisePredictor, Moments
from jepawm_agents.world_models.jepa import Imagination, JEPAWorldModel, Latent

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Inference:
    """Settings of inference. The defaults are the plain path, on which stored results were made."""

    precision: str = "float32"
    """``float32``, or ``bf16`` for the predictor's weights and activations; conditions, poses, costs and all that the
    planner sums stay in float32. Implies ``fast``."""
    fast: bool = False
    """Whether frames are imagined one by one with their keys and values kept (:mod:`.world_models.framewise`):
    the same numbers up to the order of sums, for less work. Transformer families only."""
    compile: bool = False
    """Whether torch.compile fuses the prepared predictor; the first plan then takes a minute. Implies ``fast``."""
    max_candidates: int | None = None
    """Most candidates imagined at once, which bounds memory; None: all. In float32 it changes no bit of a cost as long
    as portions have some twenty candidates: matrix libraries add few rows up in another order."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(unknown("inference.precision", str(self.precision), PRECISIONS))
        for name in ("fast", "compile"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"inference.{name}={getattr(self, name)!r} is not possible; it is true or false.")
        limit = self.max_candidates
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise ConfigError(f"inference.max_candidates={limit!r} is not possible; it is a whole number from 1.")

    @property
    def prepares(self) -> bool:
        """Whether the predictor is prepared rather than used as it is."""
        return self.fast or self.compile or self.precision != "float32"

    def split(self, actions: Tensor) -> Sequence[Tensor]:
        """Candidates (B, N, H, A) in portions that are imagined at once, as even as can be, so that none is tiny."""
        if self.max_candidates is None:
            return [actions]
        return actions.tensor_split(math.ceil(actions.shape[1] / self.max_candidates), dim=1)

    def record(self) -> dict[str, Any]:
        """What a run's record says of it; empty for the defaults."""
        if self == Inference():
            return {}
        return {"precision": str(PRECISIONS[self.precision]).removeprefix("torch."), "inference": asdict(self)}


class Imaginer:
    """Imagines candidates of one episode with a world model, in the way that the settings ask for.

    Args:
        world_model: on its device, in evaluation mode.
        inference: the settings.
        last_only: whether the last imagined frame is all that is wanted; the plain path gives all in any case.

    Raises:
        ConfigError: for a predictor that cannot be prepared as asked.
    """

    def __init__(self, world_model: JEPAWorldModel, inference: Inference, *, last_only: bool = False):
        self.world_model, self.last_only = world_model, last_only
        self.prepared = None
        if inference.prepares:
            dtype = PRECISIONS[inference.precision]
            self.prepared = FramewisePredictor(world_model.predictor, dtype=dtype, compiled=inference.compile)

    def __call__(self, frames: Sequence[Latent], past: Tensor | None, actions: Tensor) -> Imagination:
        """Imagine.

        Args:
            frames: C latents of B episodes, oldest first, the present last.
            past: (B, C - 1, A) normalised actions executed between them, or None for C = 1.
            actions: (B, N, H, A) normalised candidate actions.

        Returns:
            H + 1 frames, index 0 the present; on the prepared path with ``last_only`` the last one alone.
        """
        if self.prepared is not None:
            return Imagination(*self._prepared_rollout(self.prepared, frames, past, actions))
        if past is None:
            return self.world_model.rollout(frames[-1], actions)
        return rollout_from_past(self.world_model.predictor, frames, past, actions, self.world_model.window)

    def _prepared_rollout(
        self, prepared: FramewisePredictor, frames: Sequence[Latent], past: Tensor | None, actions: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        felt = [frame.proprio for frame in frames if frame.proprio is not None]
        moments = Moments([frame.visual for frame in frames], felt, past)
        return prepared.continue_from(moments, actions, self.world_model.window, last_only=self.last_only)

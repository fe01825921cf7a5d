"""What a predictor is, and the rollout every family shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.world_models.pose import integrate_pose

PROPRIO_MODES = ("predict_proprio", "compute_new_pose")


class Prediction(NamedTuple):
    """Next-frame latents, one for every frame of the context."""

    visual: Tensor
    """(B, T, P, D): position t predicts frame t + 1."""
    proprio: Tensor | None
    """(B, T, P', E) embedded proprioception, P' as in :meth:`Predictor.embed_proprio`; None if not predicted."""


class Predictor(nn.Module):
    """A latent dynamics model with frame-causal attention over a short window of frames.

    Subclasses implement :meth:`condition` and :meth:`advance`.
    """

    grid_size: int
    latent_dim: int
    proprio_encoder: nn.Module | None
    normalize_latents: bool = False
    """Latents are layer-normed, those of the encoder and those predicted (V-JEPA-2-AC)."""
    proprio_mode: str = "predict_proprio"
    """Where imagined proprioception comes from: the model, or the pose integrated over the actions
    (``compute_new_pose``; then proprioception and actions are those of :mod:`.pose`, not normalised)."""

    def attach(self, encoder: nn.Module) -> None:
        """Learn of the encoder whose latents these are; called once by the world model that holds both."""

    def embed_proprio(self, proprio: Tensor) -> Tensor:
        """Embed normalised proprioception (B, T, Q) and repeat it on the grid, (B, T, P, E).

        Raises:
            ValueError: if this model was built without proprioception.
        """
        return self._own_proprio_encoder()(proprio)[:, :, None].expand(-1, -1, self.grid_size**2, -1)

    def normalise(self, visual: Tensor) -> Tensor:
        """Layer-norm latents (..., D) where this model wants them so (jepa-wms ``video_wm.py:191, 357``)."""
        return F.layer_norm(visual, visual.shape[-1:]) if self.normalize_latents else visual

    def condition(self, action: Tensor) -> Tensor:
        """What the predictor makes of actions (B, T, A), frame by frame, (B, T, ...); no frame sees another."""
        raise NotImplementedError

    def advance(
        self, visual: Tensor, condition: Tensor, proprio: Tensor | None, *, last_only: bool = False
    ) -> Prediction:
        """Predict from embedded inputs.

        Args:
            visual: (B, T, P, D) visual latents.
            condition: (B, T, ...) from :meth:`condition`; action t leads from frame t to frame t + 1.
            proprio: (B, T, P', E) from :meth:`embed_proprio` or None.
            last_only: return only the prediction of the last frame (T = 1 in the result); saves the last
                layer's work on the other frames and changes no value.
        """
        raise NotImplementedError

    def forward(self, visual: Tensor, action: Tensor, proprio: Tensor | None, *, last_only: bool = False) -> Prediction:
        """:meth:`advance` with actions (B, T, A) instead of their conditions.

        Raises:
            ValueError: if proprioception is missing.
        """
        self.check_proprio(proprio)
        return self.advance(visual, self.condition(action), proprio, last_only=last_only)

    def predict(self, visual: Tensor, action: Tensor, proprio: Tensor | None = None) -> Prediction:
        """Predict from raw (normalised) proprioception (B, T, Q); see :meth:`forward` for the other shapes."""
        return self(visual, action, None if proprio is None else self.embed_proprio(proprio))

    def rollout(
        self, visual: Tensor, proprio: Tensor | None, actions: Tensor, window: int = 2
    ) -> tuple[Tensor, Tensor | None]:
        """Imagine the consequences of candidate action sequences from one frame.

        Each step sees at most ``window`` frames, the real one or imagined ones, with the actions that belong
        to them; positions restart at zero in every window (jepa-wms ``vit_enc_preds.py:289-353``).

        Args:
            visual: (B, P, D) latents of the current frame.
            proprio: (B, Q) normalised proprioception of the current frame, or None.
            actions: (B, N, H, A) normalised candidate actions.
            window: number of frames the predictor sees.

        Returns:
            Visual latents (B, N, H + 1, P, D) and embedded proprioception (B, N, H + 1, P', E) or None; index
            0 is the current frame.

        Raises:
            ValueError: if proprioception is missing, or cannot be imagined in this predictor's ``proprio_mode``.
        """
        self.check_proprio(proprio)
        batch, candidates, horizon, _ = actions.shape
        flat = actions.flatten(0, 1)
        condition = self.condition(flat)  # once for all steps: an action serves two windows
        seen = [visual[:, None].expand(-1, candidates, -1, -1).flatten(0, 1)]
        felt = None if proprio is None else Felt(self, proprio, candidates)
        for step in range(1, horizon + 1):
            first = max(0, step - window)
            out = self.advance(
                torch.stack(seen[first:], dim=1),
                condition[:, first:step],
                None if felt is None else torch.stack(felt.embedded[first:], dim=1),
                last_only=True,
            )
            seen.append(out.visual[:, -1])
            if felt is not None:
                felt.append(out.proprio, flat[:, step - 1])
        visuals = torch.stack(seen, dim=1).unflatten(0, (batch, candidates))
        return visuals, None if felt is None else torch.stack(felt.embedded, dim=1).unflatten(0, (batch, candidates))

    def check_proprio(self, proprio: Tensor | None) -> None:
        """Refuse to go on without proprioception where the model has it.

        Raises:
            ValueError: if it is missing.
        """
        if proprio is None and self.proprio_encoder is not None:
            raise ValueError("This predictor needs proprioception; pass proprio.")

    def _own_proprio_encoder(self) -> nn.Module:
        if self.proprio_encoder is None:
            raise ValueError("This predictor has no proprioception; pass proprio=None.")
        return self.proprio_encoder


class Felt:
    """Proprioception along imagined futures.

    Args:
        predictor: whose it is.
        proprio: (B, Q) normalised, of the present.
        candidates: N, futures of every row.
    """

    def __init__(self, predictor: Predictor, proprio: Tensor, candidates: int):
        if predictor.proprio_mode not in PROPRIO_MODES:
            raise ValueError(f"proprio_mode={predictor.proprio_mode!r} is unknown; there are {PROPRIO_MODES}.")
        self.predictor = predictor
        embedded = predictor.embed_proprio(proprio[:, None])[:, 0]
        self.embedded = [embedded[:, None].expand(-1, candidates, -1, -1).flatten(0, 1)]
        self._pose = proprio.repeat_interleave(candidates, dim=0)

    @classmethod
    def of(cls, predictor: Predictor, moments: Sequence[Tensor], candidates: int) -> Felt | None:
        """That of several real moments (B, Q), oldest first, the present last; None if there are none."""
        if not moments:
            return None
        before = [cls(predictor, moment, candidates).embedded[0] for moment in moments[:-1]]
        felt = cls(predictor, moments[-1], candidates)
        felt.embedded = [*before, *felt.embedded]
        return felt

    def append(self, predicted: Tensor | None, action: Tensor) -> None:
        """Add the next moment: ``predicted`` (B * N, 1, P', E), or the pose that ``action`` (B * N, A) leads to."""
        if self.predictor.proprio_mode == "compute_new_pose":
            self._pose = integrate_pose(self._pose, action)
            self.embedded.append(self.predictor.embed_proprio(self._pose[:, None])[:, 0])
        elif predicted is not None:
            self.embedded.append(predicted[:, -1])
        else:
            raise ValueError(
                "This predictor takes proprioception but predicts none; set its proprio_mode to 'compute_new_pose'."
            )

"""A joint-embedding predictive world model: frozen encoder, predictor on its latents, normalisation constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown
from jepawm_agents.world_models.base import Predictor
from jepawm_agents.world_models.encoders.base import Encoder

CONSTANTS = ("action_mean", "action_std", "proprio_mean", "proprio_std")


CONSTANT = 1e-6
"""Deviation, as a share of the values' size, up to which a dimension counts as constant: rounding makes as much."""


class Latent(NamedTuple):
    """What the model knows of a moment."""

    visual: Tensor
    """(B, P, D)."""
    proprio: Tensor | None
    """(B, Q) normalised, or None for a model without proprioception."""


class Imagination(NamedTuple):
    """Imagined futures; index 0 on axis T is the present."""

    visual: Tensor
    """(B, N, T, P, D)."""
    proprio: Tensor | None
    """(B, N, T, P, E) embedded, or None."""


def deviation(values: Tensor) -> Tensor:
    """Standard deviations (D,) of values (N, D); 1 for a dimension that is constant, which then normalises to 0."""
    found = values.std(dim=0)
    return torch.where(found > CONSTANT * (1 + values.mean(dim=0).abs()), found, 1.0)


class Normaliser(nn.Module):
    """z-scores of actions and proprioception; part of the agent, stored and hashed with its weights.

    Args:
        action_dim: of one primitive action.
        proprio_dim: Q.
    """

    action_mean: Tensor
    action_std: Tensor
    proprio_mean: Tensor
    proprio_std: Tensor

    def __init__(self, action_dim: int, proprio_dim: int):
        super().__init__()
        for name, size in (("action", action_dim), ("proprio", proprio_dim)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def fit(self, actions: Tensor, proprio: Tensor) -> None:
        """Take the constants from data (..., A) and (..., Q)."""
        for name, values in (("action", actions), ("proprio", proprio)):
            flat = values.flatten(0, -2)
            getattr(self, f"{name}_mean").copy_(flat.mean(dim=0))
            getattr(self, f"{name}_std").copy_(deviation(flat))

    def set(self, constants: Mapping[str, Any]) -> None:
        """Take the constants as they are given, lists of numbers under the names of :data:`CONSTANTS`.

        Raises:
            ConfigError: if one is missing or unknown, has another length, or a deviation is not positive.
        """
        for key in constants:
            if key not in CONSTANTS:
                raise ConfigError(unknown("constant of the normaliser", key, CONSTANTS))
        for key in CONSTANTS:
            own: Tensor = getattr(self, key)
            values = constants.get(key)
            if not isinstance(values, Sequence) or len(values) != own.numel():
                raise ConfigError(
                    f"normaliser.{key}={values!r} is not possible; it is a list of {own.numel()} numbers."
                )
            own.copy_(torch.tensor(values, dtype=own.dtype))
            if key.endswith("_std") and not bool((own > 0).all()):
                raise ConfigError(f"normaliser.{key}={values!r} is not possible; deviations are positive.")

    def is_identity(self) -> bool:
        """Whether normalised units are the environment's own."""
        means, stds = (self.action_mean, self.proprio_mean), (self.action_std, self.proprio_std)
        return not any(bool(mean.any()) for mean in means) and all(bool((std == 1).all()) for std in stds)

    def actions(self, actions: Tensor) -> Tensor:
        """Environment actions (..., A) in normalised units."""
        return (actions - self.action_mean) / self.action_std

    def proprio(self, proprio: Tensor) -> Tensor:
        """Proprioception (..., Q) in normalised units."""
        return (proprio - self.proprio_mean) / self.proprio_std

    def environment_actions(self, actions: Tensor) -> Tensor:
        """Normalised actions (..., A) in environment units."""
        return actions * self.action_std + self.action_mean


class JEPAWorldModel(nn.Module):
    """Encoder, predictor and constants behind two verbs, ``encode`` and ``rollout``.

    Args:
        encoder: images (B, H, W, 3) to tokens (B, P, D); it is kept frozen.
        predictor: latent dynamics.
        normaliser: constants of actions and proprioception.
        window: frames the predictor sees when planning.
        config: the plain description from which :func:`jepawm_agents.world_models.weights.build` made it.
    """

    def __init__(
        self,
        encoder: Encoder,
        predictor: Predictor,
        normaliser: Normaliser,
        *,
        window: int,
        config: Mapping[str, Any],
    ):
        super().__init__()
        self.encoder: Encoder = encoder.eval().requires_grad_(False)
        self.predictor: Predictor = predictor
        self.normaliser: Normaliser = normaliser
        self.window, self.config = window, dict(config)
        self.encoder_source: Mapping[str, Any] = {}
        """Where the encoder's weights lie, if the model's own file does not hold them."""
        predictor.attach(self.encoder)

    def train(self, mode: bool = True) -> JEPAWorldModel:
        """Switch the predictor's mode; the encoder stays frozen."""
        super().train(mode)
        self.encoder.eval()
        return self

    def encode(self, pixels: NDArray[np.uint8], proprio: NDArray[np.floating]) -> Latent:
        """Encode observations: images (B, H, W, C) and raw proprioception (B, Q).

        Raises:
            ValueError: if poses are to be integrated over actions, but the constants take both to other units.
        """
        device = self.normaliser.action_mean.device
        visual = self.predictor.normalise(self.encoder(torch.from_numpy(np.ascontiguousarray(pixels)).to(device)))
        if self.predictor.proprio_encoder is None:
            return Latent(visual, None)
        if self.predictor.proprio_mode == "compute_new_pose" and not self.normaliser.is_identity():
            raise ValueError(
                "Poses can be integrated over actions in their own units only, but this model normalises them; set "
                "the predictor's proprio_mode to 'predict_proprio' or the constants to mean 0 and deviation 1."
            )
        felt = torch.from_numpy(np.asarray(proprio, dtype=np.float32)).to(device)
        return Latent(visual, self.normaliser.proprio(felt))

    def rollout(self, latent: Latent, actions: Tensor) -> Imagination:
        """Imagine normalised candidate actions (B, N, H, A) from latents of B episodes."""
        return Imagination(*self.predictor.rollout(latent.visual, latent.proprio, actions, window=self.window))

    def embed(self, latent: Latent) -> Latent:
        """The latent as the predictor would imagine it: proprioception embedded, (B, P, E)."""
        if latent.proprio is None:
            return latent
        return Latent(latent.visual, self.predictor.embed_proprio(latent.proprio[:, None])[:, 0])

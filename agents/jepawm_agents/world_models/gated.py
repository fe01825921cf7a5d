"""Latent dynamics that add a gated change to the latent: a recurrent cell for latents of one token.

Not a published predictor. The published cell of EB-JEPA (:mod:`.eb_jepa`) puts a LayerNorm with scale and shift around
a GRU, so that even a dot at rest moves in latent space at every step, and a change may depend on state and action
through the gates of one layer alone. Here a change of zero keeps the latent, to rounding, and the change is a gated
layer of both (GLU with SiLU, arXiv 2002.05202).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepawm_agents.world_models.base import Prediction, Predictor


class GatedPredictor(Predictor):
    """LayerNorm (without scale and shift) of the latent plus a gated function of latent and action.

    Only the last frame matters, whatever the window. At first nothing ever changes.

    Args:
        grid_size: 1; the latent is a single token (P = 1).
        latent_dim: channels D.
        action_dim: A.
        proprio_dim: ignored, there is no proprioception.
        width: of the gated layer.

    Raises:
        ValueError: for a grid of tokens, or a layer without width.
    """

    normalize_latents = True

    def __init__(self, *, grid_size: int = 1, latent_dim: int, action_dim: int, proprio_dim: int = 0, width: int = 384):
        super().__init__()
        if grid_size != 1:
            raise ValueError(f"The gated predictor works on one token, but the encoder gives a grid of {grid_size}².")
        if width < 1:
            raise ValueError(f"width={width} is not possible; the gated layer has at least one unit.")
        self.grid_size, self.latent_dim, self.proprio_encoder = 1, latent_dim, None
        self.gate = nn.Linear(latent_dim + action_dim, 2 * width)
        self.change = nn.Linear(width, latent_dim)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def condition(self, action: Tensor) -> Tensor:
        """The action as it is, (B, T, A)."""
        return action

    def advance(
        self, visual: Tensor, condition: Tensor, proprio: Tensor | None, *, last_only: bool = False
    ) -> Prediction:
        """Predict the next latent at every position; shapes in :meth:`Predictor.advance` with P = 1."""
        if last_only:
            visual, condition = visual[:, -1:], condition[:, -1:]
        opened, value = self.gate(torch.cat([visual, condition[:, :, None]], dim=-1)).chunk(2, dim=-1)
        return Prediction(self.normalise(visual + self.change(F.silu(opened) * value)), None)

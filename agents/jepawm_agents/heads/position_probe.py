"""Where the dot of Two Rooms is, read from a latent: a probe that is trained beside a model and never teaches it.

Facts: eb_jepa ``state_decoder.py:7-32`` and ``normalizer.py:11-12, 104-112`` (commit 966e61e).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Mean and deviation of positions, pixels.
_MEAN, _STD = (31.5863, 32.0618), (16.1025, 16.1353)


class PositionProbe(nn.Module):
    """One hidden layer from a latent to a position.

    Args:
        latent_dim: channels D.
        width: of the hidden layer.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, latent_dim: int, width: int = 512):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, 2))
        self.register_buffer("mean", torch.tensor(_MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(_STD), persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (..., D) to positions (..., 2), pixels."""
        return self.net(latents) * self.std + self.mean

    def loss(self, latents: Tensor, positions: Tensor) -> Tensor:
        """Mean squared error in normalised units; the latents (..., D) are detached."""
        return F.mse_loss(self.net(latents.detach()), (positions - self.mean) / self.std)

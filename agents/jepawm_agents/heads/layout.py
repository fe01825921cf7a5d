"""The places of wall and door, read from latents of Two Rooms: a label that an encoder may be taught by."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepawm_envs.tworooms.physics import DOOR_Y, WALL_X


class LayoutHead(nn.Module):
    """A linear map from latents (..., D) to (wall_x, door_y), pixels.

    Not a part of EB-JEPA. The losses of EB-JEPA hardly ask for the door: it fills few pixels, never moves, and is met
    by few of the walks. Encoders trained here by these alone know the dot and the wall to half a pixel and the door to
    six, less than half of what is to be known (deviation 13), so that imagined dots pass through walls.

    Args:
        latent_dim: D.
    """

    middle: Tensor
    half_range: Tensor

    def __init__(self, latent_dim: int):
        super().__init__()
        self.linear = nn.Linear(latent_dim, 2)
        low, high = torch.tensor([WALL_X, DOOR_Y], dtype=torch.float32).T
        self.register_buffer("middle", (low + high) / 2, persistent=False)
        self.register_buffer("half_range", (high - low) / 2, persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """(..., 2), pixels."""
        return self.middle + self.half_range * self.linear(latents)

    def loss(self, latents: Tensor, layouts: Tensor) -> Tensor:
        """Mean squared error, in units of half the range of places; the gradient reaches the latents."""
        return F.mse_loss(self.linear(latents), (layouts - self.middle) / self.half_range)

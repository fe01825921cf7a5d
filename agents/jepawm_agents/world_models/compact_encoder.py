"""A small convolutional image encoder that gives a grid of tokens, trained here without labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from jepawm_agents.world_models.encoders.base import Encoder

NORM_GROUPS = 4


class CompactEncoder(Encoder):
    """Strided convolutions down to a token grid, then mixing at that resolution.

    The receptive field of a token is the whole image, so that distances between latents say how far apart two
    scenes are even when nothing overlaps in pixels. Outputs are standardised per channel with constants found
    after training.

    Args:
        image_size: height and width of the images.
        channels: of the stride-two layers; the grid has ``image_size / 2 ** len(channels)`` rows and columns.
        mixing: number of convolutions on the grid.
        latent_dim: channels D of a token.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, image_size: int, channels: Sequence[int], mixing: int, latent_dim: int):
        super().__init__()
        self.image_size, self.latent_dim = image_size, latent_dim
        self.grid_size = image_size >> len(channels)
        layers: list[nn.Module] = []
        for before, after in pairwise((3, *channels)):
            layers += _convolution(before, after, stride=2)
        for _ in range(mixing):
            layers += _convolution(channels[-1], channels[-1], stride=1)
        self.net = nn.Sequential(*layers, nn.Conv2d(channels[-1], latent_dim, kernel_size=1))
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("std", torch.ones(latent_dim))
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode uint8 images (B, H, W, 3) as tokens (B, P, D), row by row."""
        x = pixels.permute(0, 3, 1, 2).to(self.mean.dtype) / 127.5 - 1.0
        tokens = self.net(x).flatten(2).transpose(1, 2)
        return (tokens - self.mean) / self.std

    def standardise(self, tokens: Tensor) -> None:
        """Set the constants so that such tokens (..., D), encoded so far, get mean 0 and deviation 1."""
        flat = (tokens * self.std + self.mean).flatten(0, -2)
        self.mean.copy_(flat.mean(dim=0))
        self.std.copy_(flat.std(dim=0).clamp_min(1e-6))


def _convolution(before: int, after: int, *, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1),
        nn.GroupNorm(NORM_GROUPS, after),
        nn.GELU(),
    ]

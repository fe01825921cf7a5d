"""Small pictures from the few tokens of a compact world model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.errors import ConfigError
from jepawm_agents.heads.base import COLOURS, ImageHead

CELL = 8
"""Pixels from one place of the first map to the next."""


class CompactImageDecoder(ImageHead):
    """All tokens of a frame to a coarse map, then convolutions; each doubling rearranges channels as pixels.

    A compact encoder's token has seen the whole image, so every place of the first map reads all tokens. Most of
    the work is done at a quarter of the resolution (sub-pixel convolution, arXiv 1609.05158). About 0.2 M parameters
    for 64 pixels.

    Args:
        latent_dim: channels D of a token.
        grid_size: rows and columns of the token grid (P = grid_size squared).
        image_size: side of the pictures; the maps cover it in cells of 8 pixels and are cut to it.
        width: hidden units between tokens and map.
        map_channels: of the first map.
        channels: of the convolutions at a quarter of the resolution, a multiple of 4.

    Raises:
        ConfigError: for sizes that cannot be.
    """

    mean: Tensor

    def __init__(
        self,
        *,
        latent_dim: int,
        grid_size: int,
        image_size: int,
        width: int = 128,
        map_channels: int = 16,
        channels: int = 48,
    ):
        super().__init__()
        if min(latent_dim, grid_size, image_size, width, map_channels, channels) < 1 or channels % 4:
            raise ConfigError(
                f"A compact decoder cannot have image_size={image_size}, width={width}, map_channels={map_channels}, "
                f"channels={channels}; all are at least 1 and channels is a multiple of 4."
            )
        self.latent_dim, self.tokens, self.image_size = latent_dim, grid_size**2, image_size
        self.map_shape = (map_channels, -(-image_size // CELL), -(-image_size // CELL))
        places = self.map_shape[1] * self.map_shape[2]
        self.read = nn.Linear(self.tokens * latent_dim, width)
        self.spread = nn.Linear(width, map_channels * places)
        self.gather = nn.Conv2d(map_channels, channels, kernel_size=3, padding=1)
        self.to_half = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.refine = nn.Conv2d(channels // 4, channels // 2, kernel_size=3, padding=1)
        self.to_full = nn.Conv2d(channels // 2, COLOURS * 4, kernel_size=3, padding=1)
        for convolution in (self.gather, self.to_half, self.refine, self.to_full):
            convolution.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # A fresh decoder shows the mean image whatever it is given; it learns how pictures differ from that.
        nn.init.zeros_(self.to_full.weight)
        nn.init.zeros_(self.to_full.bias)  # type: ignore[arg-type]
        self.register_buffer("mean", torch.full((COLOURS, image_size, image_size), 0.5))

    def fit(self, mean: Tensor) -> None:
        """Take the mean image (3, image_size, image_size), from 0 to 1, to which what is decoded is added."""
        self.mean.copy_(mean)

    def pictures(self, tokens: Tensor) -> Tensor:
        """Decode tokens (B, P, D) to RGB (B, 3, image_size, image_size).

        Raises:
            ValueError: for tokens of another size.
        """
        if tokens.ndim != 3 or tuple(tokens.shape[1:]) != (self.tokens, self.latent_dim):
            raise ValueError(
                f"Tokens to decode are (batch, {self.tokens}, {self.latent_dim}), but these have shape "
                f"{tuple(tokens.shape)}."
            )
        x = self.spread(F.gelu(self.read(tokens.flatten(1)))).unflatten(1, self.map_shape)
        x = F.gelu(self.gather(F.interpolate(x, scale_factor=2)))
        x = F.pixel_shuffle(F.gelu(self.to_half(x)), 2)
        x = F.pixel_shuffle(self.to_full(F.gelu(self.refine(x))), 2)
        return self.mean + x[..., : self.image_size, : self.image_size]

    forward = pictures

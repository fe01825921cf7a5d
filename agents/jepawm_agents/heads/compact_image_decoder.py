"""Small pictures from the few tokens of a compact world model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.errors import ConfigError
from jepawm_agents.heads.base import COLOURS, ImageHead

CELL = 8
"""Pixels from one place of the first map to the next."""
NARROW, WIDE = 0.1, 0.4
"""Standard deviations that fresh bumps have, of 2 from edge to edge."""
FAR = -12.0
"""Least exponent along an axis, five deviations away. Farther bumps, their gradients and the squares of these would be
denormal numbers, with which processors are many times slower."""


class CompactImageDecoder(ImageHead):
    """All tokens of a frame to a coarse map, then convolutions; each doubling rearranges channels as pixels.

    A compact encoder's token has seen the whole image, so every place of the first map reads all tokens. Most of
    the work is done at a quarter of the resolution (sub-pixel convolution, arXiv 1609.05158). About 0.2 M parameters
    for 64 pixels.

    Something small that may be anywhere takes such maps very long to find. Keypoints are places that are read off the
    tokens linearly and drawn as bumps beside the maps, as where landmarks are to be found without labels (arXiv
    1806.07823): their gradients say which way to go, as far as five deviations of the bump.

    Args:
        latent_dim: channels D of a token.
        grid_size: rows and columns of the token grid (P = grid_size squared).
        image_size: side of the pictures; the maps cover it in cells of 8 pixels and are cut to it.
        width: hidden units between tokens and map.
        map_channels: of the first map.
        channels: of the convolutions at a quarter of the resolution, a multiple of 4.
        keypoints: how many, 0 for none.

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
        keypoints: int = 0,
    ):
        super().__init__()
        sizes = latent_dim, grid_size, image_size, width, map_channels, channels
        if min(sizes) < 1 or channels % 4 or keypoints < 0:
            raise ConfigError(
                f"A compact decoder cannot have image_size={image_size}, width={width}, map_channels={map_channels}, "
                f"channels={channels}, keypoints={keypoints}; all but the last are at least 1 and channels is a "
                "multiple of 4."
            )
        self.latent_dim, self.tokens, self.image_size = latent_dim, grid_size**2, image_size
        self.map_shape = (map_channels, -(-image_size // CELL), -(-image_size // CELL))
        places = self.map_shape[1] * self.map_shape[2]
        self.read = nn.Linear(self.tokens * latent_dim, width)
        self.spread = nn.Linear(width, map_channels * places)
        self.bumps = Keypoints(self.tokens * latent_dim, keypoints, 2 * self.map_shape[1]) if keypoints else None
        self.gather = nn.Conv2d(map_channels + keypoints, channels, kernel_size=3, padding=1)
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
        seen = tokens.flatten(1)
        x = self.spread(F.gelu(self.read(seen))).unflatten(1, self.map_shape)
        x = F.interpolate(x, scale_factor=2)
        if self.bumps is not None:
            x = torch.cat([x, self.bumps(seen)], dim=1)
        x = F.gelu(self.gather(x))
        x = F.pixel_shuffle(F.gelu(self.to_half(x)), 2)
        x = F.pixel_shuffle(self.to_full(F.gelu(self.refine(x))), 2)
        return self.mean + x[..., : self.image_size, : self.image_size]

    forward = pictures


class Keypoints(nn.Module):
    """Gaussian bumps at places that are read off a vector linearly.

    Args:
        inputs: length of the vector.
        count: K, how many bumps.
        size: side of the maps that they are drawn on, which reach from -1 to 1.
    """

    axis: Tensor

    def __init__(self, inputs: int, count: int, size: int):
        super().__init__()
        self.place = nn.Linear(inputs, 2 * count)
        # From a bump of a cell or two to one that is felt from everywhere.
        self.log_width = nn.Parameter(torch.linspace(NARROW, WIDE, count).log())
        self.register_buffer("axis", (torch.arange(size) + 0.5) / size * 2 - 1, persistent=False)

    def forward(self, vector: Tensor) -> Tensor:
        """Vectors (B, inputs) to maps (B, K, size, size)."""
        away = self.axis - self.place(vector).unflatten(1, (-1, 2)).unsqueeze(-1)
        exponents = -away.square() / (2 * self.log_width.exp().square()).view(-1, 1, 1)
        rows, columns = exponents.clamp_min(FAR).unbind(2)
        return (rows.unsqueeze(-1) + columns.unsqueeze(-2)).exp()

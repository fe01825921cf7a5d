"""EB-JEPA's encoder of Two Rooms: three convolutional stacks down to one token.

Facts: eb_jepa ``architectures.py:268-409`` and ``datasets/two_rooms/normalizer.py`` (commit 966e61e). Module names
are the reference's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.errors import ConfigError
from jepawm_agents.world_models.encoders.base import Encoder

# Mean and deviation of the channels (dot, wall) after each was stretched to 0..1 (normalizer.py:13-56).
_MEAN, _STD = (0.0026, 0.0989), (0.0369, 0.2986)


class ImpalaEncoder(Encoder):
    """Two-channel pictures of a dot and of walls to a single token (P = 1).

    The defaults are the published encoder. Nearly all its work is done at the two highest resolutions, so a small one
    has a stride, and one block a stack.

    Args:
        image_size: height and width of the pictures.
        channels: of the stacks; each halves the resolution.
        latent_dim: channels D of the token.
        blocks: residual blocks of every stack.
        stride: of the first convolution, on top of the halving.

    Raises:
        ConfigError: for sizes that no picture has.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        image_size: int = 65,
        channels: Sequence[int] = (16, 32, 32),
        latent_dim: int = 512,
        blocks: int = 2,
        stride: int = 1,
    ):
        super().__init__()
        if min(image_size, latent_dim, stride, *channels) < 1 or not channels or blocks < 0:
            raise ConfigError(
                f"An Impala encoder with channels={list(channels)}, latent_dim={latent_dim}, blocks={blocks} and "
                f"stride={stride} on {image_size} pixels is not possible; all but blocks must be at least 1."
            )
        self.image_size, self.latent_dim, self.grid_size = image_size, latent_dim, 1
        strides = (stride, *(1 for _ in channels[1:]))
        self.stack_blocks = nn.ModuleList(
            _Stack(before, after, blocks, step)
            for (before, after), step in zip(pairwise((2, *channels)), strides, strict=True)
        )
        side = image_size
        for step in strides:
            side = ((side - 1) // step + 2) // 2  # the convolution, then the pooling
        self.mlp = nn.Linear(channels[-1] * side**2, latent_dim)
        self.final_ln = nn.LayerNorm(latent_dim)
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(2, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).reshape(2, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode uint8 pictures (B, H, W, 2 or 3) as tokens (B, 1, D)."""
        return self.latent(self.prepare(pixels))[:, None]

    def prepare(self, pixels: Tensor) -> Tensor:
        """Pictures (B, H, W, C) to normalised channels (B, 2, H, W); see :func:`dot_and_wall`.

        Every channel of every picture is stretched to 0..1; one that is the same everywhere becomes 0.

        Raises:
            ValueError: for pictures of another size.
        """
        side = (self.image_size, self.image_size)
        if tuple(pixels.shape[1:3]) != side:
            raise ValueError(f"This encoder sees pictures of {side} pixels, but these are {tuple(pixels.shape[1:3])}.")
        channels = dot_and_wall(pixels)
        low = channels.amin(dim=(-2, -1), keepdim=True)
        span = (channels.amax(dim=(-2, -1), keepdim=True) - low).clamp_min(1)
        # Whole numbers as long as possible and then one pass: training prepares thousands of pictures a second.
        stretched = (channels - low if low.any() else channels).to(self.mean.dtype, copy=True)
        return torch.addcmul(-self.mean / self.std, stretched, 1.0 / (span * self.std), out=stretched)

    def latent(self, channels: Tensor) -> Tensor:
        """Normalised channels (B, 2, H, W) to latents (B, D)."""
        for stack in self.stack_blocks:
            channels = stack(channels)
        return self.final_ln(self.mlp(F.relu(channels).flatten(1)))


def dot_and_wall(pixels: Tensor) -> Tensor:
    """The channels of dot and wall, (B, 2, H, W) from 0 to 255.

    Args:
        pixels: uint8 (B, H, W, 2), these channels already, or (B, H, W, 3), a picture with a red dot and black
            walls on white ground. There the dot is where red exceeds green and the wall where there is no red;
            what of the dot lies on a wall is not drawn and cannot be recovered.

    Raises:
        ValueError: for another number of channels.
    """
    count = pixels.shape[-1]
    if count == 2:
        return pixels.permute(0, 3, 1, 2)
    if count != 3:
        raise ValueError(f"Pictures have 2 channels (dot, wall) or 3 (RGB), but these have {count}.")
    red, green = pixels[..., 0].int(), pixels[..., 1].int()
    return torch.stack([(red - green).clamp_min(0), 255 - red], dim=1)


class _Stack(nn.Module):
    def __init__(self, before: int, after: int, blocks: int, stride: int):
        super().__init__()
        self.initial_conv = nn.Conv2d(before, after, kernel_size=3, padding=1, stride=stride)
        self.blocks = nn.ModuleList(_Residual(after) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.initial_conv(x), kernel_size=3, stride=2, padding=1)
        for block in self.blocks:
            x = block(x)
        return x


class _Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))

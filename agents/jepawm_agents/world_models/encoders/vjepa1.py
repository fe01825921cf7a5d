"""V-JEPA 1: a vision transformer on pairs of frames with fixed positions; no maintained package carries it.

Facts: arXiv 2404.08471; jepa-wms ``app/vjepa_wm/utils.py:629-655`` and ``src/models/vision_transformer.py``
(commit 6eafb14). Module names are the reference's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.world_models.encoders.base import PatchEncoder, size_of
from jepawm_agents.world_models.transformer import Block

PATCH, TUBELET = 16, 2
# The clips of pre-training: 16 frames of 224 pixels.
TABLE = (8, 14, 14)
SIZES: dict[str, dict[str, Any]] = {"large": {"dim": 1024, "depth": 24, "heads": 16}}


class VJepa1Encoder(PatchEncoder):
    """V-JEPA 1 tokens of single images, each given twice.

    Args:
        size: ``large``.
        image_size: side of the image, a multiple of 16.
        normalisation: of the colours.

    Raises:
        ConfigError: for settings that do not exist.
    """

    def __init__(self, *, size: str = "large", image_size: int = 256, normalisation: str = "imagenet"):
        sizes = size_of("vjepa1", size, SIZES)
        super().__init__(image_size=image_size, patch_size=PATCH, latent_dim=sizes["dim"], normalisation=normalisation)
        self.backbone: nn.Module = _Backbone(**sizes)

    def tokens(self, image: Tensor) -> Tensor:
        """Normalised images (B, 3, image_size, image_size) to tokens (B, P, D)."""
        return self.backbone(image[:, :, None].expand(-1, -1, TUBELET, -1, -1))

    def convert(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of ``vitl16.pth.tar`` (entry ``encoder``); the names are the same."""
        return dict(tensors)


class _Backbone(nn.Module):
    pos_embed: nn.Parameter

    def __init__(self, dim: int, depth: int, heads: int):
        super().__init__()
        # Fixed, but stored in the files.
        self.pos_embed = nn.Parameter(sine_positions(*TABLE, dim)[None], requires_grad=False)
        patch = (TUBELET, PATCH, PATCH)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, dim, kernel_size=patch, stride=patch)})
        self.blocks = nn.ModuleList(Block(dim, heads, 4.0) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, clip: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) to tokens (B, T/2 * H/16 * W/16, D)."""
        x = self.patch_embed["proj"](clip)
        x = (x + self._positions(tuple(x.shape[-3:]))).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def _positions(self, grid: tuple[int, ...]) -> Tensor:
        """Positions (1, D, *grid), resampled trilinearly to a grid that is not the table's."""
        table = self.pos_embed.unflatten(1, TABLE).permute(0, 4, 1, 2, 3)
        return table if grid == TABLE else F.interpolate(table, size=grid, mode="trilinear", align_corners=False)


def sine_positions(frames: int, height: int, width: int, dim: int) -> Tensor:
    """Fixed positions (frames * height * width, dim): half the channels for time, a quarter each for row and column.

    Every axis takes an even number of channels, sines before cosines, and base 10000. The weights of the files
    replace this table.
    """
    quarter = dim // 4
    parts = [
        _sines(torch.arange(count, dtype=torch.float32), channels)
        for count, channels in ((frames, dim - 2 * quarter), (height, quarter), (width, quarter))
    ]
    time, row, column = torch.meshgrid(*(torch.arange(n) for n in (frames, height, width)), indexing="ij")
    return torch.cat([part[index.flatten()] for part, index in zip(parts, (time, row, column), strict=True)], dim=-1)


def _sines(position: Tensor, channels: int) -> Tensor:
    half = channels // 2
    frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float32) / half)
    angle = position[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)

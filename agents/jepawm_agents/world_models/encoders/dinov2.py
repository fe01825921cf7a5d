"""DINOv2: the encoder of JEPA-WM in simulation and of DINO-WM, from timm.

Facts: arXiv 2304.07193; jepa-wms ``app/plan_common/models/dino.py`` (commit 6eafb14) takes the normalised patch
tokens without class and register tokens, ViT-S without registers and ViT-B and ViT-L with four.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from jepawm_agents.errors import WeightsError
from jepawm_agents.world_models.encoders.base import PatchEncoder, require, size_of
from jepawm_agents.world_models.reference import shape_of

PATCH = 14
# timm's name, channels, whether there are register tokens.
SIZES = {
    "small": ("vit_small_patch14_dinov2", 384, False),
    "base": ("vit_base_patch14_reg4_dinov2", 768, True),
    "large": ("vit_large_patch14_reg4_dinov2", 1024, True),
}
# The published code asks for a slightly larger grid than it wants, against rounding, and samples by that factor.
_OFFSET = 0.1


class DinoV2Encoder(PatchEncoder):
    """DINOv2 patch tokens.

    Args:
        size: ``small``, ``base`` or ``large``.
        image_size: side of the image, a multiple of 14.
        normalisation: ``imagenet`` for JEPA-WM, ``half`` for DINO-WM.

    Raises:
        ConfigError: for settings that do not exist, or if timm is not installed.
    """

    def __init__(self, *, size: str = "small", image_size: int = 224, normalisation: str = "imagenet"):
        name, latent_dim, self.registers = size_of("dinov2", size, SIZES)
        super().__init__(image_size=image_size, patch_size=PATCH, latent_dim=latent_dim, normalisation=normalisation)
        timm = require("timm", "dinov2")
        self.backbone = timm.create_model(name, pretrained=False, num_classes=0, img_size=image_size)

    def tokens(self, image: Tensor) -> Tensor:
        """Normalised images (B, 3, image_size, image_size) to patch tokens (B, P, D)."""
        return self.backbone.forward_features(image)[:, self.backbone.num_prefix_tokens :]  # type: ignore[operator]

    def convert(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of ``dinov2_*14[_reg4]_pretrain.pth`` under timm's names, positions resampled to this grid.

        Raises:
            WeightsError: if class token or positions are missing.
        """
        found = {key: value for key, value in tensors.items() if key != "mask_token"}  # for pre-training only
        shape_of(found, "pos_embed", 3)
        shape_of(found, "cls_token", 3)
        position = found.pop("pos_embed")
        first, grid = position[:, :1], resample_positions(position[:, 1:], self.grid_size, exact=self.registers)
        if self.registers:
            found["cls_token"] = found["cls_token"] + first  # timm keeps no position for the class token
            if "register_tokens" in found:
                found["reg_token"] = found.pop("register_tokens")
            return found | {"pos_embed": grid}
        return found | {"pos_embed": torch.cat([first, grid], dim=1)}


def resample_positions(positions: Tensor, grid_size: int, *, exact: bool) -> Tensor:
    """Resample learned positions, bicubically, as the published code does.

    timm and transformers resample differently, and features differ with it.

    Args:
        positions: (1, G * G, D), row by row.
        grid_size: rows and columns wanted.
        exact: to exactly that size and with antialiasing, as for models with registers; else by the factor
            ``(grid_size + 0.1) / G`` and without.

    Returns:
        (1, grid_size squared, D).

    Raises:
        WeightsError: if the positions are no square.
    """
    side = round(positions.shape[1] ** 0.5)
    if side**2 != positions.shape[1]:
        raise WeightsError(f"The weights hold {positions.shape[1]} positions, which is no square grid.")
    if side == grid_size:
        return positions
    table = positions.float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
    if exact:
        table = F.interpolate(table, size=(grid_size, grid_size), mode="bicubic", antialias=True)
    else:
        factor = (grid_size + _OFFSET) / side
        table = F.interpolate(table, scale_factor=(factor, factor), mode="bicubic", antialias=False)
    return table.flatten(2).transpose(1, 2).to(positions.dtype)

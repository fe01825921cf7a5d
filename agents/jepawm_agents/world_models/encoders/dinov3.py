"""DINOv3: the encoder of JEPA-WM on DROID, from timm.

Facts: arXiv 2508.10104; jepa-wms ``app/plan_common/models/dino.py`` (commit 6eafb14) takes the normalised patch
tokens without class and storage tokens. The published code turns coordinates at random in training mode; this
encoder never does.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from jepawm_agents.errors import WeightsError
from jepawm_agents.world_models.encoders.base import PatchEncoder, require, size_of

PATCH = 16
# timm's name, with biases of queries and values as in the published layout, and channels.
SIZES = {
    "small": ("vit_small_patch16_dinov3_qkvb", 384),
    "large": ("vit_large_patch16_dinov3_qkvb", 1024),
}
_RENAMED = {"storage_tokens": "reg_token", "ls1.gamma": "gamma_1", "ls2.gamma": "gamma_2"}


class DinoV3Encoder(PatchEncoder):
    """DINOv3 patch tokens.

    Args:
        size: ``small`` or ``large``.
        image_size: side of the image, a multiple of 16.
        normalisation: of the colours.

    Raises:
        ConfigError: for settings that do not exist, or if timm is not installed.
    """

    def __init__(self, *, size: str = "large", image_size: int = 256, normalisation: str = "imagenet"):
        name, latent_dim = size_of("dinov3", size, SIZES)
        super().__init__(image_size=image_size, patch_size=PATCH, latent_dim=latent_dim, normalisation=normalisation)
        timm = require("timm", "dinov3")
        self.backbone: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, img_size=image_size)
        # The published weights hold the periods in bfloat16; timm computes them in float32 (its model card).
        self._periods().copy_(self._periods().bfloat16())
        self.backbone.eval()

    def train(self, mode: bool = True) -> DinoV3Encoder:
        """Stay in evaluation mode: training mode rescales coordinates at random."""
        return super().train(False)

    def tokens(self, image: Tensor) -> Tensor:
        """Normalised images (B, 3, image_size, image_size) to patch tokens (B, P, D)."""
        return self.backbone.forward_features(image)[:, self.backbone.num_prefix_tokens :]  # type: ignore[operator]

    def convert(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of ``dinov3_*_pretrain_*.pth`` under timm's names.

        Raises:
            WeightsError: if the file's rotary periods are others than this encoder's.
        """
        found: dict[str, Tensor] = {}
        for key, value in tensors.items():
            if key == "mask_token" or key.endswith(".bias_mask"):  # for pre-training only; constants
                continue
            if key == "rope_embed.periods":
                self._check_periods(value)
            elif key.endswith("attn.qkv.bias"):
                # The third for the keys is masked in the published code and has no effect.
                query, _, of_value = value.chunk(3)
                found |= {key.replace("qkv.bias", "q_bias"): query, key.replace("qkv.bias", "v_bias"): of_value}
            else:
                for old, new in _RENAMED.items():
                    key = key.replace(old, new)
                found[key] = value
        return found

    def _periods(self) -> Tensor:
        return self.backbone.rope.periods  # type: ignore[union-attr, return-value]

    def _check_periods(self, published: Tensor) -> None:
        ours = self._periods()
        if published.shape != ours.shape or not torch.equal(published.bfloat16(), ours.bfloat16().to(published.device)):
            raise WeightsError(
                "The weights' rope_embed.periods differ from this encoder's; they belong to another size of DINOv3."
            )

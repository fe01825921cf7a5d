"""V-JEPA 2: the encoder of V-JEPA-2-AC, from transformers.

Facts: arXiv 2506.09985; jepa-wms ``app/vjepa_wm/utils.py:656-684`` and ``video_wm.py:165-192`` (commit 6eafb14).
The encoder looks at pairs of frames; every image is given to it twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from jepawm_agents.world_models.encoders.base import PatchEncoder, require, size_of

PATCH, TUBELET = 16, 2
SIZES: dict[str, dict[str, Any]] = {
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "mlp_ratio": 4.0},
    "giant": {"hidden_size": 1408, "num_hidden_layers": 40, "num_attention_heads": 22, "mlp_ratio": 48 / 11},
}
# What is not built: the predictor of the pre-training.
_NO_PREDICTOR = {"pred_hidden_size": 24, "pred_num_attention_heads": 1, "pred_num_hidden_layers": 0}


class VJepa2Encoder(PatchEncoder):
    """V-JEPA 2 tokens of single images.

    Args:
        size: ``large`` or ``giant``.
        image_size: side of the image, a multiple of 16.
        normalisation: of the colours.

    Raises:
        ConfigError: for settings that do not exist, or if transformers is not installed.
    """

    def __init__(self, *, size: str = "giant", image_size: int = 256, normalisation: str = "imagenet"):
        sizes = size_of("vjepa2", size, SIZES)
        super().__init__(
            image_size=image_size, patch_size=PATCH, latent_dim=sizes["hidden_size"], normalisation=normalisation
        )
        transformers = require("transformers", "vjepa2")
        config = transformers.VJEPA2Config(
            **sizes,
            **_NO_PREDICTOR,
            patch_size=PATCH,
            tubelet_size=TUBELET,
            crop_size=image_size,
            frames_per_clip=TUBELET,
        )
        self.backbone: nn.Module = transformers.VJEPA2Model(config).encoder

    def tokens(self, image: Tensor) -> Tensor:
        """Normalised images (B, 3, image_size, image_size) to tokens (B, P, D)."""
        clip = image[:, None].expand(-1, TUBELET, -1, -1, -1)
        return self.backbone(pixel_values_videos=clip).last_hidden_state

    def convert(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of ``vitl.pt`` and ``vitg.pt`` (entry ``encoder``) under transformers' names."""
        found: dict[str, Tensor] = {}
        for key, value in tensors.items():
            if key == "pos_embed":  # left over; positions are rotary
                continue
            name = key.replace("patch_embed.proj.", "embeddings.patch_embeddings.proj.")
            name = name.replace("blocks.", "layer.").replace(".attn.", ".attention.")
            if name.startswith("norm."):
                name = "layernorm." + name.removeprefix("norm.")
            if ".qkv." in name:
                parts = zip(("query", "key", "value"), value.chunk(3), strict=True)
                found |= {name.replace(".qkv.", f".{part}."): chunk for part, chunk in parts}
            else:
                found[name] = value
        return found

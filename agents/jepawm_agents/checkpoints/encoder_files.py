"""Where the frozen encoders' weights are published; the world models' own files do not hold them.

Facts: the repositories facebookresearch/dinov2, dinov3, vjepa2 and jepa; jepa-wms ``app/vjepa_wm/utils.py:629-684``
and ``app/plan_common/models/dino.py`` (commit 6eafb14). jepa-wms names DINOv3 ViT-L with the suffix of another
model's file; here it is the one that Meta lists for ViT-L.
"""

from __future__ import annotations

from dataclasses import dataclass

from jepawm_agents.checkpoints.fetch import PublishedFile
from jepawm_agents.errors import ConfigError

_META = "https://dl.fbaipublicfiles.com"
_DINOV3 = "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads (a form; then it is sent)"


@dataclass(frozen=True)
class EncoderFile:
    """A file of encoder weights."""

    file: PublishedFile
    entry: str | None = None
    """The entry to read of a file that holds several models. V-JEPA's files hold the trained encoder and its moving
    average, ``target_encoder``; the published world models were trained on the first."""


def _dinov2(folder: str, stem: str, sha256: str | None = None) -> EncoderFile:
    name = f"{stem}_pretrain.pth"
    return EncoderFile(PublishedFile(name, url=f"{_META}/dinov2/{folder}/{name}", sha256=sha256))


def _vjepa(folder: str, name: str, alias: str) -> EncoderFile:
    return EncoderFile(PublishedFile(name, url=f"{_META}/{folder}/{name}", aliases=(alias,)), entry="encoder")


ENCODER_FILES: dict[tuple[str, str], EncoderFile] = {
    ("dinov2", "small"): _dinov2(
        "dinov2_vits14", "dinov2_vits14", "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"
    ),
    ("dinov2", "base"): _dinov2("dinov2_vitb14", "dinov2_vitb14_reg4"),
    ("dinov2", "large"): _dinov2("dinov2_vitl14", "dinov2_vitl14_reg4"),
    ("dinov3", "small"): EncoderFile(
        PublishedFile("dinov3_vits16_pretrain_lvd1689m-08c60483.pth", where=_DINOV3),
    ),
    ("dinov3", "large"): EncoderFile(
        PublishedFile("dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth", where=_DINOV3),
    ),
    ("vjepa1", "large"): _vjepa("jepa/vitl16", "vitl16.pth.tar", "vitl16.pth"),
    ("vjepa2", "large"): _vjepa("vjepa2", "vitl.pt", "vjepa2_vit_large.pth"),
    ("vjepa2", "giant"): _vjepa("vjepa2", "vitg.pt", "vjepa2_vit_giant.pth"),
}
"""By family and size."""


def encoder_file(family: str, size: str) -> EncoderFile:
    """The published file of an encoder.

    Raises:
        ConfigError: if none is published.
    """
    if (family, size) not in ENCODER_FILES:
        known = ", ".join(f"{family} {size}" for family, size in ENCODER_FILES)
        raise ConfigError(f"No weights of encoder {family} {size} are published; there are those of {known}.")
    return ENCODER_FILES[family, size]

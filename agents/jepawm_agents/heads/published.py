"""The published image decoders, by the encoder whose latents they read.

Facts: jepa-wms ``hubconf.py`` and ``configs/evals`` (commit 6eafb14). Weights of state decoders are not published.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from jepawm_agents.checkpoints.fetch import PublishedFile, find_or_fetch
from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.heads.image_decoder import ImageDecoder
from jepawm_agents.world_models.encoders.files import read_published
from jepawm_agents.world_models.jepa import JEPAWorldModel

ENTRY = "model"
_FOLDER = "https://dl.fbaipublicfiles.com/jepa-wms"


def _file(stem: str) -> PublishedFile:
    return PublishedFile(f"{stem}.pth.tar", url=f"{_FOLDER}/{stem}.pth.tar")


IMAGE_DECODERS: dict[tuple[str, str, int, str], PublishedFile] = {
    ("dinov2", "small", 224, "half"): _file("vm2m_lpips_dv2vits_vitldec_224_05norm"),
    ("dinov2", "small", 224, "imagenet"): _file("vm2m_lpips_dv2vits_vitldec_224_INet"),
    ("dinov3", "large", 256, "imagenet"): _file("vm2m_lpips_dv3vitl_256_INet"),
    ("vjepa2", "giant", 256, "imagenet"): _file("vm2m_lpips_vj2vitgnorm_vitldec_dup_256_INet"),
}
"""By family, size, image size and normalisation of the encoder; that of V-JEPA 2 reads layer-normed latents."""


def load_image_decoder(model: JEPAWorldModel, weights: Path | None = None) -> ImageDecoder:
    """The decoder for a world model's latents, encoded or imagined: ``decoder.decode(imagined.visual)``.

    Args:
        model: a published world model.
        weights: a file to use instead of the published one.

    Raises:
        ConfigError: if no decoder is published for this encoder.
        WeightsError: if its file cannot be had, is damaged, or does not fit.
    """
    encoder = model.config.get("encoder", {})
    family, size = str(encoder.get("family")), str(encoder.get("size"))
    normalisation = str(encoder.get("normalisation", "imagenet"))
    image_size = model.encoder.image_size
    file = IMAGE_DECODERS.get((family, size, image_size, normalisation))
    if file is None:
        raise ConfigError(
            f"No image decoder is published for encoder {family} {size} at {image_size} pixels, normalisation "
            f"{normalisation}."
        )
    path = find_or_fetch(file, flag="load_image_decoder(model, PATH)").path if weights is None else weights
    decoder = read_image_decoder(path, image_size=image_size, normalisation=normalisation)
    if decoder.latent_dim != model.encoder.latent_dim:
        raise WeightsError(
            f"{path} decodes latents of {decoder.latent_dim} channels, but this world model's have "
            f"{model.encoder.latent_dim}; it is the decoder of another encoder."
        )
    return decoder


def read_image_decoder(path: Path, *, image_size: int, normalisation: str) -> ImageDecoder:
    """Read a published image decoder; see :meth:`ImageDecoder.from_reference`.

    Raises:
        WeightsError: if the file is missing, damaged, holds code, or does not fit.
    """
    tensors: dict[str, Tensor] = read_published(path, key=ENTRY)
    try:
        return ImageDecoder.from_reference(tensors, image_size=image_size, normalisation=normalisation)
    except WeightsError as problem:
        raise WeightsError(f"{path}: {problem}") from None

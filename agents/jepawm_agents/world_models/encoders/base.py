"""What an encoder is, and the picture transform that the pretrained ones share."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown
from jepawm_agents.world_models.reference import load_strictly

NORMALISATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # JEPA-WM and V-JEPA-2-AC
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # DINO-WM
}
"""Mean and deviation of the colours, from 0 to 1."""


class Encoder(nn.Module):
    """Turns images into a square grid of tokens; frozen wherever it is used."""

    image_size: int
    """Height and width of the images it was made for."""
    grid_size: int
    """Rows and columns of the token grid, P = grid_size squared."""
    latent_dim: int
    """Channels D of a token."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode uint8 images (B, H, W, C) as tokens (B, P, D), row by row."""
        raise NotImplementedError


class PatchEncoder(Encoder):
    """A pretrained vision transformer: crop, resize, normalise, then :meth:`tokens`.

    Its weights come from elsewhere: a fresh one is random until :meth:`load_published`.

    Args:
        image_size: side of the image that the transformer sees.
        patch_size: side of a patch.
        latent_dim: channels D of a token.
        normalisation: a name in :data:`NORMALISATIONS`.

    Raises:
        ConfigError: for an unknown normalisation or an image that is not made of whole patches.
    """

    backbone: nn.Module
    mean: Tensor
    std: Tensor

    def __init__(self, *, image_size: int, patch_size: int, latent_dim: int, normalisation: str):
        super().__init__()
        if image_size < patch_size or image_size % patch_size:
            raise ConfigError(f"image_size={image_size} is no multiple of the {patch_size} pixels of a patch.")
        if normalisation not in NORMALISATIONS:
            raise ConfigError(unknown("normalisation", normalisation, NORMALISATIONS))
        self.image_size, self.latent_dim = image_size, latent_dim
        self.grid_size = image_size // patch_size
        # Settings, not weights: no file holds them.
        for name, values in zip(("mean", "std"), NORMALISATIONS[normalisation], strict=True):
            self.register_buffer(name, torch.tensor(values).reshape(3, 1, 1), persistent=False)

    def load_published(self, tensors: Mapping[str, Tensor]) -> Self:
        """Take weights in the key names that the authors published.

        Args:
            tensors: see :func:`.files.read_published`.

        Returns:
            This encoder, frozen and in evaluation mode.

        Raises:
            WeightsError: if keys are missing or left over, or have another shape.
        """
        load_strictly(self.backbone, self.convert(tensors))
        return self.eval().requires_grad_(False)

    def convert(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Published weights under the names of ``backbone``."""
        raise NotImplementedError

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode uint8 images (B, H, W, 3) as tokens (B, P, D), row by row."""
        return self.tokens(self.prepare(pixels))

    def prepare(self, pixels: Tensor) -> Tensor:
        """Images (B, H, W, 3) to normalised (B, 3, image_size, image_size): see :func:`square`.

        Raises:
            ValueError: for images of another shape.
        """
        if pixels.ndim != 4 or pixels.shape[-1] != 3:
            raise ValueError(f"Images are (batch, height, width, 3), but these have shape {tuple(pixels.shape)}.")
        image = square(pixels.permute(0, 3, 1, 2).to(self.mean.dtype) / 255.0, self.image_size)
        return (image - self.mean) / self.std

    def tokens(self, image: Tensor) -> Tensor:
        """Encode normalised images (B, 3, image_size, image_size) as tokens (B, P, D)."""
        raise NotImplementedError


def square(image: Tensor, size: int) -> Tensor:
    """Cut the centre square of (B, C, H, W) and resize it, bilinear and without antialiasing, to ``size``.

    Facts: jepa-wms ``src/datasets/utils/video/transforms.py:472-509``, the fallback that its settings always
    reach.
    """
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = image[..., top : top + side, left : left + side]
    if side == size:
        return image
    return F.interpolate(image, size=(size, size), mode="bilinear", align_corners=False, antialias=False)


def size_of(family: str, name: str, sizes: Mapping[str, Any]) -> Any:
    """Look up the size of a family.

    Raises:
        ConfigError: for an unknown one.
    """
    if name not in sizes:
        raise ConfigError(unknown(f"size of {family}", name, sizes))
    return sizes[name]


def require(package: str, family: str) -> Any:
    """Import a package that only some encoders need.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        return import_module(package)
    except ImportError:
        raise ConfigError(
            f"Encoder family {family!r} needs the package {package}; install it with "
            "`pip install 'jepawm-bench[encoders]'`."
        ) from None

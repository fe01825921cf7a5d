"""LPIPS, how different two pictures look to a network (arXiv 1801.03924), where package and weights are at hand.

Differs from the reference, which gives the network pictures from 0 to 1: here they are stretched to -1 to 1, which
the package expects.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from jepawm_agents.errors import ConfigError, WeightsError

BACKBONE = "vgg16-397923af.pth"
"""torchvision's file; the package brings the weights on top of it."""


class PerceptualDistance(nn.Module):
    """LPIPS with the VGG network.

    Args:
        network: a module from images (B, 3, H, W) in -1 to 1, twice, to distances (B, 1, 1, 1).
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, pictures: Tensor, others: Tensor) -> Tensor:
        """Distances (...) of uint8 pictures (..., H, W, 3), zero for equal ones.

        Raises:
            ValueError: for pictures of different shapes or other numbers.
        """
        if pictures.shape != others.shape or pictures.ndim < 3 or pictures.shape[-1] != 3:
            shapes = f"{tuple(pictures.shape)} and {tuple(others.shape)}"
            raise ValueError(f"Pictures to compare are both (..., height, width, 3), but these are {shapes}.")
        if {pictures.dtype, others.dtype} != {torch.uint8}:
            raise ValueError(f"Pictures to compare are uint8, but these are {pictures.dtype} and {others.dtype}.")
        return self.between(_channels_first(pictures), _channels_first(others)).reshape(pictures.shape[:-3])

    def between(self, images: Tensor, others: Tensor) -> Tensor:
        """Distances (B,) of images (B, 3, H, W) from 0 to 1, with gradients: for training."""
        return self.network(images * 2.0 - 1.0, others * 2.0 - 1.0).flatten()


def load_perceptual_distance() -> PerceptualDistance:
    """LPIPS, if it is there.

    Raises:
        ConfigError: if the package ``lpips`` is not installed.
        WeightsError: if the weights of its VGG network are not on this machine.
    """
    try:
        lpips: Any = import_module("lpips")
    except ImportError:
        raise ConfigError("LPIPS needs the package lpips; install it with `pip install lpips`.") from None
    path = Path(torch.hub.get_dir()) / "checkpoints" / BACKBONE
    if not path.is_file():
        raise WeightsError(
            f"LPIPS needs torchvision's VGG-16. Get https://download.pytorch.org/models/{BACKBONE} and put it into "
            f"{path.parent}."
        )
    return PerceptualDistance(lpips.LPIPS(net="vgg", verbose=False))


def _channels_first(pictures: Tensor) -> Tensor:
    return pictures.reshape(-1, *pictures.shape[-3:]).permute(0, 3, 1, 2).float() / 255.0

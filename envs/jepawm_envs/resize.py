"""Bilinear resizing as a matrix, so that a whole batch of drawings is resized by two products."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=32)
def resize_weights(source: int, target: int) -> NDArray[np.float32]:
    """Weights of an antialiased bilinear resize along one axis.

    The triangle filter of Pillow and torchvision (``antialias=True``, corners not aligned): its support
    widens with the scale when the image shrinks and is one source pixel when it grows.

    Args:
        source: number of pixels before.
        target: number of pixels after.

    Returns:
        Matrix (target, source), rows sum to one; read-only.
    """
    scale = source / target
    support = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale - 0.5
    weights = np.clip(1.0 - np.abs(np.arange(source) - centres[:, None]) / support, 0.0, None)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    weights.flags.writeable = False
    return weights

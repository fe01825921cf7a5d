"""What Two Rooms looks like: two channels for the published model, or an RGB picture like that of Wall.

Facts: EB-JEPA ``datasets/two_rooms/env.py:283-379`` and ``dot_dataset.py:71-97``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.tworooms.physics import DOT_STD, room_of
from jepawm_envs.wall.drawing import COLORS, Colors, paint, resize, wall_mask
from jepawm_envs.wall.physics import ROOM

NATIVE_SIZE = ROOM.size


def draw_rgb(
    states: NDArray[np.floating], size: int, colors: Colors = COLORS, dot_std: float = DOT_STD
) -> NDArray[np.uint8]:
    """RGB images (..., size, size, 3) of states (..., 4), the dot drawn under the walls."""
    states, lead = _flat(states)
    return paint(_dot(states, dot_std), wall_mask(room_of(states)), size, colors).reshape(*lead, size, size, 3)


def draw_two_channels(
    states: NDArray[np.floating], size: int = NATIVE_SIZE, dot_std: float = DOT_STD
) -> NDArray[np.uint8]:
    """The published observation, channels last: dot and walls, (..., size, size, 2), of states (..., 4).

    The reference knows 65 pixels only; other sizes are resized from there. Every layout is drawn once, whatever the
    number of states in it.
    """
    states, lead = _flat(states)
    layouts, which = np.unique(states[:, 2:], axis=0, return_inverse=True)
    empty = np.concatenate([np.zeros_like(layouts), layouts], axis=1)
    images = np.empty((len(states), size, size, 2), np.uint8)
    images[..., 0] = _scaled(np.float32(255.0) * _dot(states, dot_std), size)
    images[..., 1] = _scaled(np.float32(255.0) * wall_mask(room_of(empty)), size)[which.reshape(-1)]
    return images.reshape(*lead, size, size, 2)


def _scaled(canvas, size: int):
    """Grey levels (B, 65, 65), cut to whole ones, as images (B, size, size)."""
    levels = canvas.astype(np.uint8)
    return levels if size == NATIVE_SIZE else resize(levels.astype(np.float32), size)


def _flat(states):
    states = np.asarray(states, dtype=np.float64)
    return states.reshape(-1, 4), states.shape[:-1]


def _dot(states, std: float):
    """A Gaussian with its peak of one at the exact position, (B, 65, 65), float32."""
    grid = np.arange(NATIVE_SIZE, dtype=np.float64)
    profile = np.exp(-((grid - states[:, :2, None]) ** 2) / (2 * std**2))  # (B, 2, 65)
    return (profile[:, 1, :, None] * profile[:, 0, None, :]).astype(np.float32)

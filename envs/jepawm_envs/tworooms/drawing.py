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

    The reference knows 65 pixels only; other sizes are resized from there.
    """
    states, lead = _flat(states)
    dot = np.trunc(np.float32(255.0) * _dot(states, dot_std))
    walls = np.where(wall_mask(room_of(states)), np.float32(255.0), np.float32(0.0))
    images = np.stack([resize(dot, size), resize(walls, size)], axis=-1)
    return images.reshape(*lead, size, size, 2)


def _flat(states):
    states = np.asarray(states, dtype=np.float64)
    return states.reshape(-1, 4), states.shape[:-1]


def _dot(states, std: float):
    """A Gaussian with its peak of one at the exact position, (B, 65, 65), float32."""
    grid = np.arange(NATIVE_SIZE, dtype=np.float64)
    profile = np.exp(-((grid - states[:, :2, None]) ** 2) / (2 * std**2))  # (B, 2, 65)
    return (profile[:, 1, :, None] * profile[:, 0, None, :]).astype(np.float32)

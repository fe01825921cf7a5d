"""What the Wall task looks like: a red dot on white, black walls, drawn at 65 pixels and resized.

Facts: jepa-wms ``wall_env/envs/wall.py:54-66, 229-280`` and ``wall_gym_wrap.py:48``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.resize import resize_weights
from jepawm_envs.wall.physics import ROOM, Room

PAPER_SIZE = 224  # the reference resizes its 65-pixel canvas to this, whatever size it is asked for


def draw(positions: NDArray[np.floating], size: int = PAPER_SIZE, room: Room = ROOM) -> NDArray[np.uint8]:
    """Draw one image a dot.

    Args:
        positions: (..., 2), pixels of the 65-pixel canvas.
        size: height and width of the images.
        room: the layout.

    Returns:
        RGB images, (..., size, size, 3), uint8.
    """
    positions = np.asarray(positions, dtype=np.float64)
    lead = positions.shape[:-1]
    dot = _dot(positions.reshape(-1, 2), room)
    walls = wall_mask(room)
    floor = np.float32(255.0) - np.floor(np.float32(255.0) * dot)
    green_blue = np.where(walls, np.float32(0.0), floor)
    images = np.empty((len(dot), size, size, 3), dtype=np.uint8)
    images[..., 0] = _red(size, room)
    images[..., 1] = images[..., 2] = _resize(green_blue, size)
    return images.reshape(*lead, size, size, 3)


def wall_mask(room: Room = ROOM) -> NDArray[np.bool_]:
    """True where the canvas shows a wall, (65, 65), rows first."""
    rows, columns = np.mgrid[: room.size, : room.size]
    first, last = room.wall_faces
    upper, lower = room.door
    wall = (columns >= first) & (columns <= last) & ~((rows >= upper) & (rows <= lower))
    return wall | np.isin(rows, room.border) | np.isin(columns, room.border)


def _dot(positions, room: Room):
    """A Gaussian on the pixel grid whose brightest pixel is exactly one, (B, 65, 65), float32."""
    grid = np.arange(room.size, dtype=np.float64)
    profile = np.exp(-((grid - positions[..., None]) ** 2) / (2 * room.dot_std**2))  # (B, 2, 65)
    profile = (profile / profile.max(axis=-1, keepdims=True)).astype(np.float32)
    return profile[:, 1, :, None] * profile[:, 0, None, :]


def _resize(canvas, size: int):
    weights = resize_weights(canvas.shape[-1], size)
    # The recorded frames of the reference are truncated to whole grey levels, not rounded; the small
    # addition keeps 255 from becoming 254 when the weights' float32 sum falls short of one.
    return (weights @ canvas @ weights.T + np.float32(1e-3)).astype(np.uint8)


@lru_cache(maxsize=16)
def _red(size: int, room: Room):
    """The red channel never sees the dot, so it is drawn once a layout."""
    red = np.where(wall_mask(room), np.float32(0.0), np.float32(255.0))
    image = _resize(red, size)
    image.flags.writeable = False
    return image

"""What the Wall task looks like: a red dot on white, black walls, drawn at 65 pixels and resized.

Facts: jepa-wms ``wall_env/envs/wall.py:54-66, 229-280`` and ``wall_gym_wrap.py:48``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.resize import resize_weights
from jepawm_envs.wall.physics import ROOM, Room

PAPER_SIZE = 224  # the reference resizes its 65-pixel canvas to this, whatever size it is asked for


Color = tuple[int, int, int]


@dataclass(frozen=True)
class Colors:
    """RGB of what is drawn, 0 to 255."""

    dot: Color = (255, 0, 0)
    wall: Color = (0, 0, 0)
    floor: Color = (255, 255, 255)


COLORS = Colors()


def draw(
    positions: NDArray[np.floating], size: int = PAPER_SIZE, room: Room = ROOM, colors: Colors = COLORS
) -> NDArray[np.uint8]:
    """Draw one image a dot.

    Args:
        positions: (..., 2), pixels of the 65-pixel canvas.
        size: height and width of the images.
        room: the layout.
        colors: of dot, wall and floor.

    Returns:
        RGB images, (..., size, size, 3), uint8.
    """
    positions = np.asarray(positions, dtype=np.float64)
    lead = positions.shape[:-1]
    images = paint(_dot(positions.reshape(-1, 2), room), wall_mask(room), size, colors)
    return images.reshape(*lead, size, size, 3)


def paint(dot: NDArray[np.float32], walls: NDArray[np.bool_], size: int, colors: Colors = COLORS) -> NDArray[np.uint8]:
    """Lay a dot on the floor, the walls over both, and resize.

    Args:
        dot: how much of the dot every pixel shows, (B, 65, 65), 0 to 1.
        walls: where the walls are, (65, 65) or (B, 65, 65).
        size: height and width of the images.
        colors: of dot, wall and floor.

    Returns:
        RGB images, (B, size, size, 3).
    """
    images = np.empty((len(dot), size, size, 3), dtype=np.uint8)
    drawn: dict[tuple[int, int, int], NDArray[np.uint8]] = {}  # channels alike are drawn once
    for channel, levels in enumerate(zip(colors.dot, colors.wall, colors.floor, strict=True)):
        if levels not in drawn:
            drawn[levels] = _channel(dot, walls, size, *levels)
        images[..., channel] = drawn[levels]
    return images


def wall_mask(room: Room = ROOM) -> NDArray[np.bool_]:
    """True where the canvas shows a wall, rows first: (65, 65), or (B, 65, 65) for B layouts."""
    rows, columns = np.mgrid[: room.size, : room.size]
    first, last = (np.asarray(face)[..., None, None] for face in room.wall_faces)
    upper, lower = (np.asarray(edge)[..., None, None] for edge in room.door)
    wall = (columns >= first) & (columns <= last) & ~((rows >= upper) & (rows <= lower))
    return wall | np.isin(rows, room.border) | np.isin(columns, room.border)


def resize(canvas: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Grey levels (..., 65, 65) as images (..., size, size)."""
    weights = resize_weights(canvas.shape[-1], size)
    # The recorded frames of the reference are truncated to whole grey levels, not rounded; the small
    # addition keeps 255 from becoming 254 when the weights' float32 sum falls short of one.
    return (weights @ canvas @ weights.T + np.float32(1e-3)).astype(np.uint8)


def _channel(dot, walls, size: int, dot_level: int, wall_level: int, floor_level: int):
    """One colour channel, (B, size, size), or (size, size) when it is the same for all."""
    if dot_level == floor_level and walls.ndim == 2:  # it never sees the dot, so it is drawn once a layout
        return _still(walls.tobytes(), walls.shape, size, wall_level, floor_level)
    ground = np.float32(floor_level) - np.trunc(np.float32(floor_level - dot_level) * dot)
    return resize(np.where(walls, np.float32(wall_level), ground), size)


def _dot(positions, room: Room):
    """A Gaussian on the pixel grid whose brightest pixel is exactly one, (B, 65, 65), float32."""
    grid = np.arange(room.size, dtype=np.float64)
    profile = np.exp(-((grid - positions[..., None]) ** 2) / (2 * room.dot_std**2))  # (B, 2, 65)
    profile = (profile / profile.max(axis=-1, keepdims=True)).astype(np.float32)
    return profile[:, 1, :, None] * profile[:, 0, None, :]


@lru_cache(maxsize=16)
def _still(walls: bytes, shape: tuple[int, ...], size: int, wall_level: int, floor_level: int):
    """A channel without a dot, read-only."""
    mask = np.frombuffer(walls, dtype=bool).reshape(shape)
    image = resize(np.where(mask, np.float32(wall_level), np.float32(floor_level)), size)
    image.flags.writeable = False
    return image

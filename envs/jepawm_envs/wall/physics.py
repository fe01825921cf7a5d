"""How the dot of the Wall task moves: one function, any number of dots at once.

Source of every constant: the Wall environment of jepa-wms (commit 6eafb14, ``wall_gym_wrap.py`` and
``wall_env/envs/utils.py``), itself the Two Rooms layout of DINO-WM and PLDM. Units are pixels of the
65 x 65 canvas, x to the right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Room:
    """The two rooms: a square border, one vertical wall, one door in it.

    ``wall_x`` and ``door_y`` may be arrays (...), a layout for every dot, where a function says so.
    """

    size: int = 65
    wall_x: int | Array = 32
    wall_half_width: int = 3
    door_y: int | Array = 30
    door_half_height: int = 4
    border: tuple[int, int] = (4, 60)
    dot_std: float = 1.7

    @property
    def wall_faces(self) -> tuple[Any, Any]:
        """Columns of the left and the right face of the wall: 29 and 35."""
        return self.wall_x - self.wall_half_width, self.wall_x + self.wall_half_width

    @property
    def door(self) -> tuple[Any, Any]:
        """Rows of the upper and the lower edge of the door: 26 and 34."""
        return self.door_y - self.door_half_height, self.door_y + self.door_half_height


ROOM = Room()

PIXELS_PER_ACTION = 2.0  # wall.py:118-120
KICK = 0.5  # the reference replaced a random kick by this constant (utils.py:81-95)
INSIDE = 0.3  # distance kept from a limit after a contact


def simulate(position: Array, actions: Array, room: Room = ROOM) -> Array:
    """Move dots along action sequences.

    Args:
        position: start, (..., 2), pixels.
        actions: (..., T, 2), in action units (one unit is two pixels); not clipped.
        room: the layout.

    Returns:
        Positions after every action, (..., T, 2).
    """
    steps = actions.shape[-2]
    path = np.empty(actions.shape, dtype=np.float64)
    for t in range(steps):
        position = move(position, actions[..., t, :], room)
        path[..., t, :] = position
    return path


def move(position: Array, action: Array, room: Room = ROOM) -> Array:
    """Move dots by one action, with contacts; see :func:`travel`.

    Args:
        position: (..., 2), pixels.
        action: (..., 2), same leading shape.
        room: the layout.

    Returns:
        New positions, (..., 2), float64.
    """
    start = np.asarray(position, dtype=np.float64)
    end = start + PIXELS_PER_ACTION * np.asarray(action, dtype=np.float64)
    return travel(start, end, room)[0]


def travel(start: Array, end: Array, room: Room = ROOM, kick: float | Array = KICK) -> tuple[Array, NDArray[np.bool_]]:
    """Where dots end that want to go straight from ``start`` to ``end``.

    A contact ends the step at the point where the path meets the line, kicked back by half a pixel and,
    as in the reference, half a pixel towards +x or +y along the line.

    Differs from the reference: on an exactly vertical step its slope is a division by zero, which gives
    NaN or walks into the wall, and from exactly on an edge of the door it walks into the wall; here the
    crossing of such a path is computed as the limit it has.

    Args:
        start: (..., 2), pixels.
        end: (..., 2), pixels.
        room: the layout, or one layout a dot.
        kick: how far a contact throws the dot, pixels, a number or (..., 2) by axis: across a line always back to
            the side it came from, along the line as signed.

    Returns:
        Positions, (..., 2), and whether a line was met, (...).
    """
    kick_x, kick_y = (kick[..., 0], kick[..., 1]) if isinstance(kick, np.ndarray) else (kick, kick)
    x1, y1, x2, y2 = start[..., 0], start[..., 1], end[..., 0], end[..., 1]
    dx, dy = x2 - x1, y2 - y1
    in_cell_left = room.wall_x > x1
    left = np.where(in_cell_left, room.border[0], room.wall_faces[1])
    right = np.where(in_cell_left, room.wall_faces[0], room.border[1])

    with np.errstate(divide="ignore", invalid="ignore"):
        lintel_hit, lintel = _door_edges(x1, y1, y2, dx, dy, room, kick_x, kick_y)
        hit, contact = _cell_walls(x1, y1, x2, y2, dx, dy, in_cell_left, left, right, room, kick_x, kick_y)

    bounced = _inside(contact, in_cell_left, left, right, room)
    after = np.where(lintel_hit[..., None], lintel, np.where(hit[..., None], bounced, end))
    return after, lintel_hit | hit


def _door_edges(x1, y1, y2, dx, dy, room: Room, kick_x, kick_y):
    """Paths that leave the doorway through its upper or lower edge (utils.py:41-80)."""
    upper, lower = room.door
    down = (dy > 0) & (y2 > lower) & (y1 <= lower)
    up = (dy < 0) & (y2 < upper) & (y1 >= upper)
    edge = np.where(down, lower, upper)
    crossing = x1 + dx * ((edge - y1) / dy)
    first, last = room.wall_faces
    hit = (down | up) & (crossing >= first) & (crossing <= last)
    back = np.abs(kick_y)
    inside = np.where(down, lower - back, upper + back)
    return hit, np.stack([crossing + kick_x, inside], axis=-1)


def _cell_walls(x1, y1, x2, y2, dx, dy, in_cell_left, left, right, room: Room, kick_x, kick_y):
    """Contacts with the vertical and horizontal lines of the dot's own room (utils.py:81-160)."""
    top, bottom = room.border
    x_line, x_hit = _first_line(x1, x2, left, right)
    y_line, y_hit = _first_line(y1, y2, np.full_like(left, top), np.full_like(left, bottom))
    y_at = y1 + dy * _share(x_line - x1, dx)
    x_at = x1 + dx * _share(y_line - y1, dy)

    # The wall has a hole in it; the border has not.
    wall_line = np.where(in_cell_left, right, left)
    through_door = (x_line == wall_line) & (y_at >= room.door[0]) & (y_at <= room.door[1])
    x_hit = x_hit & ~through_door

    # Both lines met: the nearer contact counts, a tie goes to the horizontal one.
    x_distance = np.hypot(x_line - x1, y_at - y1)
    y_distance = np.hypot(x_at - x1, y_line - y1)
    vertical = x_hit & (~y_hit | (x_distance < y_distance))

    on_vertical = np.stack([x_line + np.abs(kick_x) * np.sign(x1 - x_line), y_at + kick_y], axis=-1)
    on_horizontal = np.stack([x_at + kick_x, y_line + np.abs(kick_y) * np.sign(y1 - y_line)], axis=-1)
    return x_hit | y_hit, np.where(vertical[..., None], on_vertical, on_horizontal)


def _inside(contact, in_cell_left, left, right, room: Room):
    """Bring contacts that reached a limit of the dot's room back inside it (utils.py:129-160).

    The reference keeps the wall's faces in float32 and the border in float64; the same is done here, since
    28.7 in float32 is 8e-7 away from 28.7.
    """
    top, bottom = room.border
    near_left_face, near_right_face = (
        np.asarray(face + side * INSIDE, np.float32).astype(np.float64)
        for face, side in zip(room.wall_faces, (-1, 1), strict=True)
    )
    x_low = np.where(in_cell_left, top + INSIDE, near_right_face)
    x_high = np.where(in_cell_left, near_left_face, bottom - INSIDE)
    x, y = contact[..., 0], contact[..., 1]
    x = np.where(x <= left, x_low, np.where(x >= right, x_high, x))
    y = np.where(y <= top, top + INSIDE, np.where(y >= bottom, bottom - INSIDE, y))
    return np.stack([x, y], axis=-1)


def _share(distance, step):
    """The part of a step until a line; none for a dot that stands on it, even if it does not move that way."""
    return np.where(distance == 0, 0.0, distance / step)


def _first_line(start, end, low, high):
    """Which of two parallel lines a path meets, and whether it does; touching counts."""
    meets_low = np.sign(start - low) * np.sign(end - low) <= 0.1
    meets_high = np.sign(start - high) * np.sign(end - high) <= 0.1
    return np.where(meets_low, low, high), meets_low | meets_high

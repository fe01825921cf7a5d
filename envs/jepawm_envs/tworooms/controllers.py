"""Scripted walkers of Two Rooms: straight at the goal, and through the door. Both know the state, (4,)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.tworooms.physics import room_of
from jepawm_envs.wall import controllers as wall
from jepawm_envs.wall.physics import Room

STRIDE = wall.MAX_STEP
"""Pixels of a step, the longest of the published data."""


def straight_line_action(state: ArrayLike, goal: ArrayLike) -> NDArray[np.float64]:
    """The displacement that walks straight at the goal, (2,)."""
    return wall.straight_line_action(_position(state), _position(goal), pixels_per_action=1.0)


def expert_action(state: ArrayLike, goal: ArrayLike) -> NDArray[np.float64]:
    """The displacement of a walker that uses the door where a straight line would not do, (2,)."""
    start, target, room = _position(state), _position(goal), _room(state)
    if not in_sight(start, target, room):
        target = wall.next_waypoint(start, target, room, stride=STRIDE)
    return straight_line_action(start, target)


def path_length(state: ArrayLike, goal: ArrayLike) -> float:
    """Length of the shortest way, pixels."""
    return wall.path_length(_position(state), _position(goal), _room(state))


def in_sight(start: NDArray[np.float64], goal: NDArray[np.float64], room: Room) -> bool:
    """Whether the straight line between two positions misses the wall."""
    (first, last), (upper, lower) = room.wall_faces, room.door
    (x1, y1), (x2, y2) = sorted((tuple(start), tuple(goal)))
    if x2 < first or x1 > last:
        return True
    rows = (y1, y2) if x1 == x2 else np.interp((max(x1, first), min(x2, last)), (x1, x2), (y1, y2))
    return bool(upper <= min(rows) and max(rows) <= lower)


def _position(state: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(state, np.float64)[:2]


def _room(state: ArrayLike) -> Room:
    return room_of(np.asarray(state, np.float64))

"""Scripted walkers: a floor (straight at the goal) and an oracle (through the door).

Both know the true state. Steps are as long as the longest of the published data (1.8 action units).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.wall.physics import PIXELS_PER_ACTION, ROOM, Room

MAX_STEP = 1.8
CLEARANCE = 1.5
"""Pixels by which the oracle's waypoints lie outside the wall, so that no step touches a face."""


def straight_line_action(
    state: ArrayLike, goal: ArrayLike, pixels_per_action: float = PIXELS_PER_ACTION
) -> NDArray[np.float64]:
    """The action that walks straight at the goal, (2,)."""
    return _towards(np.asarray(state, np.float64), np.asarray(goal, np.float64), pixels_per_action)


def expert_action(state: ArrayLike, goal: ArrayLike, room: Room = ROOM) -> NDArray[np.float64]:
    """The action of a walker that uses the door, (2,)."""
    state, goal = np.asarray(state, np.float64), np.asarray(goal, np.float64)
    return _towards(state, next_waypoint(state, goal, room), PIXELS_PER_ACTION)


def next_waypoint(
    state: NDArray[np.float64],
    goal: NDArray[np.float64],
    room: Room = ROOM,
    stride: float = PIXELS_PER_ACTION * MAX_STEP,
) -> NDArray[np.float64]:
    """Where to walk next: the near side of the door, its far side, or the goal; ``stride`` is the longest step, px."""
    left, right = (float(face) for face in room.wall_faces)
    middle = np.float64(room.door_y)
    rightwards = goal[0] > room.wall_x
    entrance = np.array([left - CLEARANCE if rightwards else right + CLEARANCE, middle])
    exit_ = np.array([right + CLEARANCE if rightwards else left - CLEARANCE, middle])
    crossed = state[0] >= exit_[0] if rightwards else state[0] <= exit_[0]
    if crossed:
        return goal
    ahead_of_door = state[0] < entrance[0] if rightwards else state[0] > entrance[0]
    in_line = abs(state[1] - middle) < room.door_half_height - 1
    if in_line and not (ahead_of_door and np.hypot(*(entrance - state)) > stride):
        return exit_
    return entrance


def path_length(start: ArrayLike, goal: ArrayLike, room: Room = ROOM) -> float:
    """Length of the shortest path around the wall's door edges, pixels."""
    start, goal = np.asarray(start, np.float64), np.asarray(goal, np.float64)
    if (start[0] < room.wall_x) == (goal[0] < room.wall_x):
        return float(np.hypot(*(goal - start)))
    if start[0] > goal[0]:
        start, goal = goal, start
    left, right = room.wall_faces
    # The shortest path bends at the door's edges: try the best pair of heights on both faces.
    heights = np.linspace(*room.door, 65)
    to_left = np.hypot(left - start[0], heights - start[1])
    from_right = np.hypot(goal[0] - right, goal[1] - heights)
    through = np.hypot(right - left, heights[:, None] - heights)
    return float((to_left[:, None] + through + from_right).min())


def _towards(
    position: NDArray[np.float64], target: NDArray[np.float64], pixels_per_action: float
) -> NDArray[np.float64]:
    action = (target - position) / pixels_per_action
    length = np.hypot(*action)
    return action if length <= MAX_STEP else action * (MAX_STEP / length)

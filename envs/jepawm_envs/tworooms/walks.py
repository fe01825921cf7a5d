"""The random walks that EB-JEPA trains on.

Facts: ``dot_dataset.py:121-169, 214-260`` and ``wall_dataset.py:397-479, 682-695``. Headings and step lengths are
those of Wall's walks. A share of the walks is laid through a point in the door: a walk from there to either side, run
from one end to the other. Where such a walk would begin outside, its start is moved into the arena without
changing its steps, as in the reference, so that many of them miss the door.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.wall.physics import INSIDE, Room
from jepawm_envs.wall.walks import random_walk

GUIDED_SHARE = 0.35
GUIDED_HEADING = np.pi / 4
"""The most that a guided walk's first headings differ from the horizontal, radians."""
DOOR_STD = 1.4


def random_episode(random: np.random.Generator, steps: int, room: Room) -> tuple[NDArray, NDArray]:
    """Start (2,) and displacements (steps, 2) of one walk in a layout, pixels."""
    if random.random() < GUIDED_SHARE:
        return guided_walk(random, steps, room)
    start = random.uniform(*room.border, size=2)
    return _out_of_the_wall(random, start, room), random_walk(random, steps)


def guided_walk(random: np.random.Generator, steps: int, room: Room) -> tuple[NDArray, NDArray]:
    """Start and displacements of a walk that is meant to use the door."""
    waypoint = np.array([random.uniform(*room.wall_faces), _row_in_door(random, room)])
    before = int(random.integers(steps + 1))
    rightwards = _branch(random, steps - before)
    leftwards = _branch(random, before) * [-1.0, 1.0]
    actions = np.concatenate([-leftwards[::-1], rightwards])
    start = waypoint + leftwards.sum(axis=0)
    if random.random() < 0.5:
        start, actions = start + actions.sum(axis=0), -actions[::-1]
    low, high = room.border
    return _out_of_the_wall(random, np.clip(start, low + INSIDE, high - INSIDE), room), actions


def _branch(random, steps: int):
    """A walk whose first heading is within 45 degrees of +x, (steps, 2)."""
    if steps == 0:
        return np.zeros((0, 2))
    walk = random_walk(random, steps)
    turn = random.uniform(-GUIDED_HEADING, GUIDED_HEADING) - np.arctan2(walk[0, 1], walk[0, 0])
    cos, sin = np.cos(turn), np.sin(turn)
    return walk @ np.array([[cos, sin], [-sin, cos]])


def _row_in_door(random, room: Room) -> float:
    while abs(offset := random.normal(0.0, DOOR_STD)) > room.door_half_height:
        pass
    return float(room.door_y) + offset


def _out_of_the_wall(random, start, room: Room):
    """A start inside the wall is moved sideways, to a random place on a random side of it."""
    (first, last), (upper, lower) = room.wall_faces, room.door
    if first <= start[0] <= last and not upper <= start[1] <= lower:
        low, high = (room.border[0], first) if random.random() < 0.5 else (last, room.border[1])
        start = np.array([random.uniform(low, high), start[1]])
    return start

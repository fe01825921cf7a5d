"""The random walks that EB-JEPA trains on, and others for planners that ask for more.

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
WANDER_CONCENTRATIONS = (2.0, 5.0, 20.0)
WANDER_NOISE = (0.0, 0.3, 0.8, 1.5)
"""Deviations of the noise of a wandering walk, pixels."""
WANDER_LIMIT = 1.7
"""Longest step of a wandering walk in x and in y, pixels; both together are 2.40, within the environment's 2.45."""


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


def wandering_episode(random: np.random.Generator, steps: int, room: Room) -> tuple[NDArray, NDArray]:
    """Start (2,) and displacements (steps, 2) of one walk with the steps that a planner tries.

    Not a published law. Published walks have an even pace and turn slowly, so a model of them has not seen what a
    planner asks: standing still, full speed, noise at every step, pushing on into the wall. These walks have one of
    some turning rates, a speed up to the longest step and a share of white noise; most begin close to the wall, many of
    those beside the door, and head for it.
    """
    start = random.uniform(*room.border, size=2)
    turns = random.vonmises(0.0, random.choice(WANDER_CONCENTRATIONS), size=steps)
    turns[0] = random.uniform(-np.pi, np.pi)
    if random.random() < 0.7:
        start, side = _close_to_the_wall(random, start, room)
        if random.random() < 0.8:
            turns[0] = (np.pi if side > 0 else 0.0) + random.normal(0.0, 0.5)
    heading = np.cumsum(turns)
    course = random.uniform(0.0, np.sqrt(2) * WANDER_LIMIT) * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    noise = random.choice(WANDER_NOISE) * random.normal(size=(steps, 2))
    return _out_of_the_wall(random, start, room), np.clip(course + noise, -WANDER_LIMIT, WANDER_LIMIT)


def _close_to_the_wall(random, start, room: Room):
    """A start some pixels beside the wall, two fifths of them in rows around the door; on which side, -1 or 1."""
    side, (low, high) = random.choice([-1, 1]), room.border
    x = room.wall_faces[int(side > 0)] + side * (0.5 + random.exponential(4.0))
    y = room.door_y + random.normal(0.0, 5.0) if random.random() < 0.4 else start[1]
    return np.clip([float(x), float(y)], low + INSIDE, high - INSIDE), side


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

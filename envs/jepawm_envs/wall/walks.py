"""The random walks that the published Wall data are made of.

Facts: jepa-wms ``wall_env/data/single.py:178-215``: headings change by von Mises increments (concentration 5)
from a uniform start, step lengths are normal (mean 1, deviation 0.4) cut to [0.2, 1.8]. Where walks start is
not published; here anywhere in the free floor, uniformly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.wall.physics import ROOM, Room

TURN_CONCENTRATION = 5.0
STEP_MEAN, STEP_STD = 1.0, 0.4
STEP_RANGE = (0.2, 1.8)


def random_start(random: np.random.Generator, room: Room = ROOM) -> NDArray[np.float64]:
    """A free position, (2,)."""
    low, high = room.border
    left, right = room.wall_faces
    upper, lower = room.door
    while True:
        position = random.uniform(low + 0.5, high - 0.5, size=2)
        in_wall = left - 0.5 < position[0] < right + 0.5
        if not in_wall or upper < position[1] < lower:
            return position


def random_walk(random: np.random.Generator, steps: int) -> NDArray[np.float64]:
    """Actions of one walk, (steps, 2), action units."""
    turns = random.vonmises(0.0, TURN_CONCENTRATION, size=steps)
    turns[0] = random.uniform(-np.pi, np.pi)
    heading = np.cumsum(turns)
    lengths = _cut_normal(random, steps)
    return lengths[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)


def _cut_normal(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    lengths = random.normal(STEP_MEAN, STEP_STD, size=count)
    low, high = STEP_RANGE
    while (outside := (lengths < low) | (lengths > high)).any():
        lengths[outside] = random.normal(STEP_MEAN, STEP_STD, size=int(outside.sum()))
    return lengths

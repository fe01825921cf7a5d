"""Start and goal states that belong to a seed.

Source: jepa-wms (commit 6eafb14) ``pointmaze_gym_wrap.py:28-51`` for the U-maze; the other mazes have no published
sampler of this kind.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.pointmaze.layouts import CELL_ORIGIN, Maze

Array = NDArray[np.float64]

LOW, HIGH = 0.5, 3.1
INNER_LOW, INNER_HIGH = 1.1, 2.5
START_SPEED = 5.2262554
"""Highest velocity of a sampled state on each axis, for starts and for goals."""
CELL_MARGIN = 0.2
"""Distance of sampled positions from the sides of their cell, as in the published U-maze."""


def sample_states(maze: Maze, seed: int, at_rest: bool = False) -> tuple[Array, Array]:
    """Start and goal state, (4,) each; ``at_rest`` sets velocities to zero and leaves positions as they are."""
    random = np.random.RandomState(seed)
    place = _in_umaze if maze.name == "umaze" else _in_free_cell
    states = []
    for _ in range(2):
        position = place(random, maze)
        velocity = random.uniform(-START_SPEED, START_SPEED, 2)
        states.append(np.concatenate([position, np.zeros(2) if at_rest else velocity]))
    return states[0], states[1]


def _in_umaze(random: np.random.RandomState, maze: Maze) -> Array:
    while True:
        x, y = random.uniform(LOW, HIGH, 2)
        if not INNER_LOW < x < INNER_HIGH or y >= INNER_HIGH:
            return np.array([x, y])


def _in_free_cell(random: np.random.RandomState, maze: Maze) -> Array:
    cell = maze.free_cells[random.randint(len(maze.free_cells))]
    return cell + CELL_ORIGIN + random.uniform(CELL_MARGIN - 0.5, 0.5 - CELL_MARGIN, 2)

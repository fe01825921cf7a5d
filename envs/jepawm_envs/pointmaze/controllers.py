"""Scripted drivers: a floor (straight at the goal) and an oracle (along the shortest way), both stateless.

Both steer the velocity: fast while far, so that full force can still stop the ball at the point it heads for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.pointmaze import paths, physics
from jepawm_envs.pointmaze.layouts import Maze

Array = NDArray[np.float64]

STEP_SECONDS = physics.TIMESTEP * physics.SUBSTEPS
BRAKING = 0.6
"""Share of the full deceleration on which the driver counts."""
SETTLING = 1.6
"""Steps in which it means to cover the last piece; 1 overshoots, because the velocity follows within the step."""
CLEARANCE = 0.3
"""Distance from walls of the oracle's way, in cells; the corridor is one cell wide."""
TURN_SPEED = 2.0
"""At a bend, in cells a second."""


def straight_line_action(state: ArrayLike, goal: ArrayLike, body: physics.Body = physics.PUBLISHED) -> Array:
    """The action that drives straight at the goal's position, (2,)."""
    state, goal = np.asarray(state, np.float64), np.asarray(goal, np.float64)
    return _drive(state, goal[:2], 0.0, body)


def expert_action(state: ArrayLike, goal: ArrayLike, maze: Maze, body: physics.Body = physics.PUBLISHED) -> Array:
    """The action of a driver that goes around the walls and stops at the goal's position, (2,)."""
    state, goal = np.asarray(state, np.float64), np.asarray(goal, np.float64)
    low, high = maze.bounds
    bends, _ = paths.shortest_path(maze, np.clip(state[:2], low, high), np.clip(goal[:2], low, high), CLEARANCE)
    return _drive(state, bends[0], 0.0 if len(bends) == 1 else TURN_SPEED, body)


def _drive(state: Array, target: Array, arrival_speed: float, body: physics.Body) -> Array:
    way = target - state[:2]
    distance = np.hypot(*way)
    if distance < 1e-9:
        wanted = np.zeros(2)
    else:
        braking = BRAKING * physics.GEAR / body.mass
        speed = np.sqrt(arrival_speed**2 + 2 * braking * distance)
        if arrival_speed == 0.0:
            speed = min(speed, distance / (SETTLING * STEP_SECONDS))
        wanted = way / distance * min(speed, physics.MAX_SPEED)
    force = (wanted - state[2:]) * body.mass / STEP_SECONDS + body.damping * wanted
    return np.clip(force / physics.GEAR, -1.0, 1.0)

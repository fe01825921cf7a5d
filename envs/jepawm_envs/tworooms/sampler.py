"""Which tasks the published evaluation asks for.

Facts: EB-JEPA ``datasets/two_rooms/env.py:53, 256-279`` and ``utils.py:82-103``; the order of the draws was found by
reproducing the recorded tasks. One generator is drawn from by every reset, so its tasks are a sequence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.tworooms.physics import DOOR_Y, DOT_STD, WALL_HALF_WIDTH, WALL_X
from jepawm_envs.wall.physics import ROOM

State = NDArray[np.float64]
OFFICIAL_SEED, OFFICIAL_COUNT = 0, 20

DOORS = DOOR_Y[1] - DOOR_Y[0] + 1
LAYOUTS = (WALL_X[1] - WALL_X[0] + 1) * DOORS
COPIES = 2  # the reference lists every layout twice, which the size of the draw shows
MARGIN = 2 * DOT_STD
LOW, HIGH = ROOM.border[0] + MARGIN, ROOM.border[1] - MARGIN  # 6.6 and 57.4


def sample_task(random: np.random.Generator) -> tuple[State, State]:
    """One task: start and goal state in opposite rooms of a random layout, (4,) each, equal in (wall_x, door_y)."""
    layout = sample_layout(random)
    left_x, right_x, start_y, goal_y = _coordinates(random, layout)
    start_x, goal_x = (right_x, left_x) if random.random() < 0.5 else (left_x, right_x)
    return _state(start_x, start_y, layout), _state(goal_x, goal_y, layout)


def sample_sequence(seed: int = OFFICIAL_SEED, count: int = OFFICIAL_COUNT) -> list[tuple[State, State]]:
    """Tasks of ``count`` resets after each other; the defaults are the 20 of the published evaluation."""
    random = np.random.default_rng(seed)
    return [sample_task(random) for _ in range(count)]


def sample_layout(random: np.random.Generator) -> tuple[int, int]:
    """(wall_x, door_y), each of the 1,125 layouts alike."""
    index = int(random.integers(COPIES * LAYOUTS)) // COPIES
    return WALL_X[0] + index // DOORS, DOOR_Y[0] + index % DOORS


def opposite(state: State, seed: int, role: str) -> State:
    """A position for the other end of a task, (4,), in the other room of the layout of ``state``.

    It comes from the draws of :func:`sample_task`, so that one end of the task of ``seed`` is given the other.

    Args:
        state: the end that is known, (4,).
        seed: of the draws.
        role: ``init`` or ``goal``, the end that is asked for.
    """
    random = np.random.default_rng(seed)
    sample_layout(random)
    layout = (state[2], state[3])
    left_x, right_x, start_y, goal_y = _coordinates(random, layout)
    return _state(right_x if state[0] < state[2] else left_x, start_y if role == "init" else goal_y, layout)


def _coordinates(random, layout):
    """Four draws: x in the left and in the right room, y of the start and of the goal."""
    wall_x = float(layout[0])
    left_x = _uniform_float32(random, LOW, wall_x - WALL_HALF_WIDTH - MARGIN)
    right_x = _uniform_float32(random, wall_x + WALL_HALF_WIDTH + MARGIN, HIGH)
    return left_x, right_x, random.uniform(LOW, HIGH), random.uniform(LOW, HIGH)


def _uniform_float32(random, low: float, high: float) -> np.float32:
    """As the reference draws x: its wall is a float32 number, and so is all that is computed with it."""
    first, last = np.float32(low), np.float32(high)
    return first + np.float32(random.random()) * (last - first)


def _state(x, y, layout) -> State:
    """The reference keeps positions in float32."""
    return np.array([x, y, *layout], np.float32).astype(np.float64)

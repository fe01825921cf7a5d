"""How hard a task is: does a straight line solve it, and how far is the way around."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRAIGHT, DETOUR_SHORT, DETOUR_LONG = "straight", "detour-short", "detour-long"
BINS = (STRAIGHT, DETOUR_SHORT, DETOUR_LONG)

Controller = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def walk(env: Any, controller: Controller, init: NDArray, goal: NDArray, steps: int) -> NDArray[np.float64]:
    """States (steps + 1, S) of a scripted controller in closed loop."""
    states = [np.asarray(init, dtype=np.float64)]
    for _ in range(steps):
        action = np.asarray(controller(states[-1], goal), dtype=np.float64)
        states.append(env.simulate(states[-1], action[None])[0])
    return np.stack(states)


def difficulty(env: Any, init: NDArray, goal: NDArray, *, budget: int, detour_limit: float) -> dict[str, Any]:
    """Bin and geometry of a task.

    Args:
        env: the bare environment.
        init: start state, (S,).
        goal: goal state, (S,).
        budget: environment steps that the straight-line walker gets.
        detour_limit: separates short from long detours (way minus straight distance).
    """
    numbers = {key: float(value) for key, value in env.difficulty(init, goal).items()}
    end = walk(env, env.straight_line_action, init, goal, budget)[-1]
    if env.is_success(end, goal):
        name = STRAIGHT
    else:
        name = DETOUR_SHORT if numbers["geodesic"] - numbers["euclidean"] < detour_limit else DETOUR_LONG
    return {"bin": name, **numbers}

"""How hard a task is: does a straight line solve it, and how far is the way around or the push."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from jepawm_bench.protocols import Protocol

STRAIGHT, ALL = "straight", "all"


def bins(protocol: Protocol) -> tuple[str, ...]:
    """Names of a protocol's difficulty bins, easiest first; one, ``all``, where nothing separates the tasks."""
    if protocol.hard_from is None:
        return (ALL,)
    name, _ = protocol.hard_from
    return STRAIGHT, f"{name}-short", f"{name}-long"


def difficulty(env: Any, init: NDArray, goal: NDArray, protocol: Protocol) -> dict[str, Any]:
    """Bin and measures of a task.

    Args:
        env: the bare environment.
        init: start state, (S,).
        goal: goal state, (S,).
        protocol: gives the budget of the straight-line walker and what separates short from long.
    """
    if protocol.hard_from is None:  # numbers that a simulator gave would make the list's hash depend on its version
        return {"bin": ALL}
    numbers = {key: float(value) for key, value in env.difficulty(init, goal).items()}
    name, limit = protocol.hard_from
    value = numbers["geodesic"] - numbers["euclidean"] if name == "detour" else numbers[name]
    straight, short, long = bins(protocol)
    harder = short if value < limit else long
    return {"bin": straight if _is_straight(env, init, goal, protocol.budget) else harder, **numbers}


def _is_straight(env: Any, init: NDArray, goal: NDArray, budget: int) -> bool:
    """Whether the walker that ignores obstacles solves the task."""
    from jepawm_envs.goal_sources import follow

    return env.is_success(follow(env, env.straight_line_action, init, goal, budget)[-1], goal)

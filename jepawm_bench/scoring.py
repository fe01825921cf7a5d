"""From the record of states to a score: every predicate, read in four ways.

S numbers a state, T environment steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class PredicateScore:
    """One predicate on one episode. The start does not count: steps are numbered from 1."""

    final: bool
    """Holds after the last step."""
    any: bool
    """Held after some step."""
    steps_to_success: int | None
    """First step after which it held."""
    hold: bool
    """Held after every one of the last ``hold`` steps."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "final": self.final,
            "any": self.any,
            "steps_to_success": self.steps_to_success,
            "hold": self.hold,
        }


@dataclass(frozen=True)
class Score:
    """What an episode's states are worth."""

    predicates: dict[str, PredicateScore]
    """By predicate id; the first is the published one."""
    final_distance: float
    """First quantity of the published predicate after the last step, in the environment's unit."""
    min_distance: float
    """Its smallest value after any step."""


def score(env: Any, states: NDArray[np.float64], goal_state: ArrayLike) -> Score:
    """Score one episode.

    Args:
        env: the bare environment (``distances`` and ``predicates`` are used).
        states: (T + 1, S), the start first.
        goal_state: (S,).
    """
    distances = env.distances(states[1:], np.asarray(goal_state, dtype=np.float64))
    main = np.asarray(distances[env.main_distance], dtype=np.float64)
    predicates = {rule.id: _read(np.asarray(rule.met(distances)), rule.hold) for rule in env.predicates}
    return Score(predicates, float(main[-1]), float(main.min()))


def predicates_json(predicates: Sequence[Any]) -> list[dict[str, Any]]:
    """Success rules as data, the published one first."""
    return [{"id": rule.id, "limits": dict(rule.limits), "hold": rule.hold} for rule in predicates]


def _read(met: NDArray[np.bool_], hold: int) -> PredicateScore:
    hits = np.flatnonzero(met)
    return PredicateScore(
        final=bool(met[-1]),
        any=bool(hits.size),
        steps_to_success=int(hits[0]) + 1 if hits.size else None,
        hold=bool(met[-hold:].all()),
    )

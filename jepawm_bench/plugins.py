"""Entry points: how agents, recipes and trainers reach the harness without being imported by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

AGENTS = "jepawm_bench.agents"
PLANNERS = "jepawm_bench.planners"
DATASETS = "jepawm_bench.datasets"
RECIPES = "jepawm_bench.recipes"
ABLATIONS = "jepawm_bench.ablations"
TRAINERS = "jepawm_bench.trainers"


@dataclass(frozen=True)
class Plugin:
    """One entry point and what it gave."""

    name: str
    distribution: str
    value: Any
    problem: str | None
    """Why it could not be used, as half a sentence; ``value`` is None then."""


def points(group: str) -> list[EntryPoint]:
    """The entry points of a group in a fixed order."""
    return sorted(entry_points(group=group), key=lambda point: (point.name, point.value))


def call_all(group: str) -> Iterator[Plugin]:
    """Call every entry point of a group, without arguments.

    A plugin that fails is reported in ``problem``, so that one broken package does not take the others down.
    """
    for point in points(group):
        distribution = point.dist.name if point.dist else "?"
        try:
            value, problem = point.load()(), None
        except Exception as error:  # whatever a stranger's package raises
            value, problem = None, f"{type(error).__name__}: {error}"
        yield Plugin(point.name, distribution, value, problem)

"""What a planner is given and what it returns.

Axis letters, everywhere: E episodes, N candidates, H horizon (model steps), A action dimension of a model step,
J iterations, m executed model steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor

CostFunction = Callable[[Tensor], Tensor]
"""Costs (E, N) of candidate action sequences (E, N, H, A)."""


class Noise(Protocol):
    """Where a planner's randomness comes from."""

    def normal(self, iteration: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers of this shape, the same every time for the same iteration."""
        ...


class Trace(NamedTuple):
    """How a plan came about; each (E, J)."""

    best: Tensor
    elite_mean: Tensor
    elite_std: Tensor


class Plan(NamedTuple):
    """A planner's answer, in normalised action units."""

    actions: Tensor
    """(E, m, A): what to execute."""
    mean: Tensor
    """(E, H, A): the whole sequence."""
    trace: Trace


class Planner(Protocol):
    """Finds action sequences of low cost."""

    @property
    def evaluations(self) -> int:
        """Candidate sequences scored in one plan."""
        ...

    def plan(
        self, cost: CostFunction, *, batch: int, action_dim: int, noise: Noise, horizon: int | None = None
    ) -> Plan:
        """Plan for ``batch`` episodes; a shorter ``horizon`` serves the end of an episode."""
        ...

"""What a planner is given and what it returns.

Axis letters, everywhere: E episodes, N candidates, H horizon (model steps), A action dimension of a model step,
J iterations, K elites, m executed model steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor

CostFunction = Callable[[Tensor], Tensor]
"""Costs (E, N) of candidate action sequences (E, N, H, A).

The cost of a candidate may depend on nothing but the candidate and its episode. A planner that ``differentiates``
also needs its gradient: the cost must reach the actions through differentiable torch operations, and must not read
tensors made in ``torch.inference_mode`` (those made under ``torch.no_grad`` serve). Only the actions are
differentiated, so weights are neither given gradients nor changed; freezing them spares memory.
"""


class Noise(Protocol):
    """Where a planner's randomness comes from."""

    def normal(self, iteration: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normal numbers of this shape, the same every time for the same iteration."""
        ...


class Trace(NamedTuple):
    """How a plan came about; each (E, J), NaN for iterations that ``max_seconds`` cut off."""

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
    evaluations: int = 0
    """Evaluations spent on each episode, counted as in :attr:`Planner.evaluations`."""
    elites: Tensor | None = None
    """(E, K, H, A): the last elites, from planners that carry them to the next plan."""


class Planner(Protocol):
    """Finds action sequences of low cost."""

    @property
    def evaluations(self) -> int:
        """Most evaluations one plan spends on an episode.

        One evaluation is one candidate sequence scored; a gradient step of one candidate counts two, since the
        way back through a frozen model costs about what the way forward does.
        """
        ...

    @property
    def execution_horizon(self) -> int:
        """Model steps executed before planning again, m."""
        ...

    @property
    def differentiates(self) -> bool:
        """Whether it needs gradients of the cost; see :data:`CostFunction`."""
        ...

    @property
    def trace_length(self) -> int:
        """Iterations recorded in a trace, J."""
        ...

    def plan(
        self,
        cost: CostFunction,
        *,
        batch: int,
        action_dim: int,
        noise: Noise,
        horizon: int | None = None,
        previous: Plan | None = None,
    ) -> Plan:
        """Plan for a batch of episodes.

        Args:
            cost: scores candidates.
            batch: E.
            action_dim: A.
            noise: the only source of randomness.
            horizon: a shorter one than the planner's, for the end of an episode.
            previous: the plan of the same episodes before this one, all of whose ``actions`` were executed; read
                only by planners with ``warm_start``.

        Raises:
            PlanningError: if an episode has no candidate of finite cost in some iteration.
        """
        ...

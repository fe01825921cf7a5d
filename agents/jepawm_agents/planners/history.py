"""The record of a search, kept on the device and read once, when the search is over."""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as F

from jepawm_agents.planners.base import Trace
from jepawm_agents.planners.elites import refuse_hopeless, spread


class History:
    """Elite costs and evaluations of one iteration after the other."""

    def __init__(self) -> None:
        self._costs: list[Tensor] = []
        self.evaluations = 0
        """Spent on each episode so far."""

    def add(self, elite_costs: Tensor, evaluations: int) -> None:
        """Note the elites' costs (E, K), cheapest first, and what they took; K may differ between iterations."""
        self._costs.append(elite_costs)
        self.evaluations += evaluations

    def trace(self, length: int) -> Trace:
        """Best, mean and deviation of every iteration, each (E, J), filled up with NaN to ``length``.

        Raises:
            PlanningError: if an episode had no candidate of finite cost in some iteration.
        """
        stacks = [torch.stack(list(same), dim=1) for _, same in groupby(self._costs, key=lambda costs: costs.shape)]
        best = torch.cat([costs[..., 0] for costs in stacks], dim=1)
        refuse_hopeless(best)
        mean = torch.cat([costs.mean(dim=-1) for costs in stacks], dim=1)
        deviation = torch.cat([spread(costs, dim=2) for costs in stacks], dim=1)
        missing = length - len(self._costs)
        return Trace(*(F.pad(values, (0, missing), value=float("nan")) for values in (best, mean, deviation)))

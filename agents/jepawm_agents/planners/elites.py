"""Choosing the best candidates with a rule that leaves nothing to chance."""

from __future__ import annotations

import torch
from torch import Tensor

from jepawm_agents.errors import PlanningError


def finite_costs(costs: Tensor) -> Tensor:
    """Costs in which NaN and both infinities lose against every number."""
    worst = torch.finfo(costs.dtype).max
    return torch.where(torch.isfinite(costs), costs, torch.full_like(costs, worst))


def lowest(costs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` cheapest candidates of every episode, cheapest first; of equals the earlier one.

    Where fewer have a finite cost, the cheapest stands in for those that lack.

    Args:
        costs: (E, N).
        count: K.

    Returns:
        Their costs and indices, each (E, K).
    """
    values, order = torch.sort(finite_costs(costs), dim=1, stable=True)
    values, order = values[:, :count], order[:, :count]
    lost = values >= torch.finfo(values.dtype).max
    return torch.where(lost, values[:, :1], values), torch.where(lost, order[:, :1], order)


def refuse_hopeless(best_costs: Tensor) -> None:
    """Refuse a search in which an episode had no candidate of finite cost.

    Args:
        best_costs: (E, J), the first of :func:`lowest`; looked at once a plan, to spare the device a stop an
            iteration.

    Raises:
        PlanningError: naming the first such episode of the batch and its iteration.
    """
    hopeless = (best_costs >= torch.finfo(best_costs.dtype).max).nonzero()
    if len(hopeless):
        episode, iteration = hopeless[0].tolist()
        raise PlanningError(
            f"In iteration {iteration} of planning episode {episode} of the batch, no candidate had a finite cost; "
            "the world model answers NaN or infinity."
        )


def gather_candidates(actions: Tensor, index: Tensor) -> Tensor:
    """Candidates (E, N, H, A) at ``index`` (E, K), as (E, K, H, A)."""
    return torch.take_along_dim(actions, index[:, :, None, None], dim=1)


def spread(elites: Tensor, dim: int) -> Tensor:
    """Unbiased deviation (divided by K - 1) along ``dim``; that of a single one is zero."""
    if elites.shape[dim] == 1:
        return torch.zeros_like(elites.select(dim, 0))
    return elites.std(dim=dim, correction=1)

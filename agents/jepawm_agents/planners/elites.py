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

    Args:
        costs: (E, N).
        count: K.

    Returns:
        Their costs and indices, each (E, K).
    """
    values, order = torch.sort(finite_costs(costs), dim=1, stable=True)
    return values[:, :count], order[:, :count]


def refuse_hopeless(elite_costs: Tensor) -> None:
    """Refuse a search in which an episode had fewer than K candidates of finite cost.

    Args:
        elite_costs: (E, J, K) from :func:`lowest`; looked at once a plan, to spare the device a stop an iteration.

    Raises:
        PlanningError: naming the first such episode of the batch and its iteration.
    """
    hopeless = (elite_costs >= torch.finfo(elite_costs.dtype).max).any(dim=-1).nonzero()
    if len(hopeless):
        episode, iteration = hopeless[0].tolist()
        raise PlanningError(
            f"In iteration {iteration} of planning episode {episode} of the batch, fewer candidates than elites had a "
            "finite cost; the world model answers NaN or infinity."
        )


def gather_candidates(actions: Tensor, index: Tensor) -> Tensor:
    """Candidates (E, N, H, A) at ``index`` (E, K), as (E, K, H, A)."""
    return torch.take_along_dim(actions, index[:, :, None, None], dim=1)

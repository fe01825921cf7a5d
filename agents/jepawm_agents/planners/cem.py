"""The cross-entropy method, with the update that the published tables were made with.

Facts: jepa-wms ``planner.py:211-344`` (commit 6eafb14); settings of arXiv 2512.24497, Table S4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from jepawm_agents.planners.base import CostFunction, Noise, Plan, Trace
from jepawm_agents.planners.elites import gather_candidates, lowest, refuse_hopeless
from jepawm_agents.planners.settings import clip_to_bounds, require, require_bounds, require_numbers


@dataclass(frozen=True)
class CEM:
    """Sample action sequences around a mean, keep the best, refit mean and deviation, repeat.

    The answer is the mean of the last elites, which itself is never scored.
    """

    horizon: int = 6
    """H, model steps looked ahead."""
    num_samples: int = 300
    """N, candidates an iteration; the first of them is the current mean."""
    iterations: int = 30
    """J."""
    num_elites: int = 10
    """K."""
    execution_horizon: int = 6
    """m, model steps executed before planning again."""
    init_std: float = 1.0
    """Deviation of the first candidates, normalised units."""
    momentum_mean: float = 0.0
    """Share of the old mean kept at an update."""
    momentum_std: float = 0.0
    """Share of the old deviation kept at an update."""
    bounds: Mapping[int, float] = field(default_factory=dict)
    """Largest magnitude of single action dimensions, normalised units."""

    def __post_init__(self) -> None:
        require_numbers(self)
        require(self.horizon >= 1, "horizon", self.horizon, "at least 1")
        require(
            1 <= self.execution_horizon <= self.horizon, "execution_horizon", self.execution_horizon, "1 to horizon"
        )
        require(self.iterations >= 1, "iterations", self.iterations, "at least 1")
        require(2 <= self.num_elites <= self.num_samples, "num_elites", self.num_elites, f"2 to {self.num_samples}")
        require(self.init_std > 0, "init_std", self.init_std, "positive")
        require_bounds(self.bounds)
        for name in ("momentum_mean", "momentum_std"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "at least 0 and below 1")

    @property
    def evaluations(self) -> int:
        """Candidate sequences scored in one plan."""
        return self.num_samples * self.iterations

    def plan(
        self, cost: CostFunction, *, batch: int, action_dim: int, noise: Noise, horizon: int | None = None
    ) -> Plan:
        """Plan for a batch of episodes; see :class:`jepawm_agents.planners.base.Planner`."""
        horizon = self.horizon if horizon is None else min(horizon, self.horizon)
        first = noise.normal(0, (batch, self.num_samples, horizon, action_dim))
        mean = first.new_zeros(batch, horizon, action_dim)
        std = torch.full_like(mean, self.init_std)
        history = []

        for iteration in range(self.iterations):
            # Sample around the mean; the mean itself takes part.
            eps = first if iteration == 0 else noise.normal(iteration, first.shape)
            actions = mean[:, None] + std[:, None] * eps
            actions[:, 0] = mean
            actions = clip_to_bounds(actions, self.bounds)

            # Score and keep the best.
            elite_costs, index = lowest(cost(actions), self.num_elites)
            elites = gather_candidates(actions, index)

            # Refit; the deviation is the unbiased one (divided by K - 1).
            mean = _mix(elites.mean(dim=1), mean, self.momentum_mean)
            std = _mix(elites.std(dim=1, correction=1), std, self.momentum_std)
            history.append(elite_costs)

        return Plan(mean[:, : self.execution_horizon], mean, _trace(history))


def _mix(new: Tensor, old: Tensor, momentum: float) -> Tensor:
    return new * (1 - momentum) + old * momentum


def _trace(history: list[Tensor]) -> Trace:
    costs = torch.stack(history, dim=1)  # (E, J, K)
    refuse_hopeless(costs)
    return Trace(costs[..., 0], costs.mean(dim=-1), costs.std(dim=-1, correction=1))

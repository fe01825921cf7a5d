"""The improved cross-entropy method of Pinneri et al. 2020 (arXiv 2008.06389), for planning in few evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from jepawm_agents.planners.base import CostFunction, Noise, Plan
from jepawm_agents.planners.budget import within
from jepawm_agents.planners.cem import CEM, mix
from jepawm_agents.planners.coloured_noise import coloured
from jepawm_agents.planners.elites import gather_candidates, lowest, spread
from jepawm_agents.planners.history import History
from jepawm_agents.planners.settings import clip_to_bounds, require, require_share
from jepawm_agents.planners.warm_start import remainder


@dataclass(frozen=True)
class ICEM(CEM):
    """CEM with coloured noise, elites that stay, fewer candidates every iteration, and the best as answer.

    A share of the elites joins the next iteration's candidates with the costs they have (they are not scored twice);
    the best so far is therefore never lost. With ``warm_start`` the search continues where the previous plan left
    off: from its sequence and with its elites among the first candidates, both shifted by the executed steps; the
    elites' new last steps are random. The mean itself is a candidate of the last iteration.

    Differs from the paper: the next search starts from the best sequence, not from the last mean; both are shifted.
    Defaults are the paper's except for the number of candidates and elites, which are those of the published CEM.
    """

    fewest_elites: ClassVar[int] = 2

    warm_start: bool = True
    init_std: float = 0.5
    momentum_mean: float = 0.1
    momentum_std: float = 0.1
    noise_beta: float = 2.0
    population_decay: float = 1.25
    """Each iteration has this factor fewer candidates than the one before, but never fewer than 2 K."""
    keep_elites: float = 0.3
    """Share of the elites that takes part in the next iteration, and in the next plan."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "keep_elites")
        require(1 <= self.population_decay < float("inf"), "population_decay", self.population_decay, "at least 1")

    @property
    def sizes(self) -> list[int]:
        """Candidates of every iteration, within ``max_evaluations``."""
        fewest = min(2 * self.elite_count, self.num_samples)
        sizes = [max(fewest, int(self.num_samples / self.population_decay**i)) for i in range(self.iterations)]
        return within(sizes, self.max_evaluations)

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
        """Plan for a batch of episodes; see :class:`jepawm_agents.planners.base.Planner`."""
        first = self.first_draw(noise, batch, action_dim, horizon)
        mean = self.first_mean(first, previous)
        std = mean.new_full(mean.shape, self.init_std)
        elites, elite_costs = first[:, :0], first[:, :0, 0, 0]
        history = History()

        for iteration, eps in self.draws(noise, first):
            # Sample around the mean in colour; guests take the first places.
            actions = mean[:, None] + std[:, None] * coloured(eps, self.noise_beta, self.chunk)
            if iteration == 0:
                actions = self._with_previous_elites(actions, previous)
            if iteration == self.trace_length - 1:
                actions[:, -1] = mean
            actions = clip_to_bounds(actions, self.bounds)

            # Score; some elites of before compete with the costs they have.
            costs, kept = cost(actions), int(self.keep_elites * elites.shape[1])
            pool = torch.cat([elites[:, :kept], actions], dim=1)
            costs = torch.cat([elite_costs[:, :kept].to(costs), costs], dim=1)
            elite_costs, index = lowest(costs, min(self.elite_count, pool.shape[1]))
            elites = gather_candidates(pool, index)

            mean = mix(elites.mean(dim=1), mean, self.momentum_mean)
            std = mix(spread(elites, dim=1), std, self.momentum_std)
            history.add(elite_costs, eps.shape[1])

        best = elites[:, 0]
        return self.answer_with(best, history, elites)

    def _with_previous_elites(self, actions: Tensor, previous: Plan | None) -> Tensor:
        """Candidates (E, N, H, A) whose first ones begin with what is left of the previous plan's elites."""
        if not self.warm_start or previous is None or previous.elites is None:
            return actions
        kept = min(int(self.keep_elites * previous.elites.shape[1]), actions.shape[1])
        rest = remainder(previous.elites[:, :kept], previous, actions.shape[2]).to(actions)
        actions[:, :kept, : rest.shape[2]] = rest
        return actions

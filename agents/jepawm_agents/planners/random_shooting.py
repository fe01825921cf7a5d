"""Random shooting: the best of many random action sequences, the floor that every search must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from jepawm_agents.planners.base import CostFunction, Noise, Plan
from jepawm_agents.planners.elites import gather_candidates, lowest
from jepawm_agents.planners.history import History
from jepawm_agents.planners.settings import SearchSettings, clip_to_bounds


@dataclass(frozen=True)
class RandomShooting(SearchSettings):
    """Score J times N sequences from one normal distribution and answer with the best.

    Its mean is zero, or with ``warm_start`` what is left of the previous plan, which then takes part itself. The trace
    is of the K best seen so far. Defaults: as many evaluations as the published CEM.
    """

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
        elites, elite_costs = first[:, :0], first[:, :0, 0, 0]
        history = History()

        for iteration, eps in self.draws(noise, first):
            actions = mean[:, None] + self.init_std * eps
            if iteration == 0 and self.warm_start and previous is not None:
                actions[:, 0] = mean
            actions = clip_to_bounds(actions, self.bounds)

            costs = cost(actions)
            pool, pool_costs = torch.cat([elites, actions], dim=1), torch.cat([elite_costs.to(costs), costs], dim=1)
            elite_costs, index = lowest(pool_costs, min(self.elite_count, pool.shape[1]))
            elites = gather_candidates(pool, index)
            history.add(elite_costs, eps.shape[1])

        best = elites[:, 0]
        return self.answer_with(best, history)

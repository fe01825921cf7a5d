"""Model-predictive path integral control, as the published code has it and as it was first written.

Facts: jepa-wms ``planner.py:347-477`` (commit 6eafb14), after TD-MPC (arXiv 2203.04955); Williams et al. 2017
(arXiv 1509.01149) for the original.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jepawm_agents.planners.base import CostFunction, Noise, Plan
from jepawm_agents.planners.elites import gather_candidates, lowest
from jepawm_agents.planners.history import History
from jepawm_agents.planners.noise import AFTERWARDS
from jepawm_agents.planners.settings import (
    SearchSettings,
    clip_to_bounds,
    require_choice,
    require_not_negative,
)

ANSWERS = ("mean", "elite")


@dataclass(frozen=True)
class MPPI(SearchSettings):
    """Sample around a mean, weight the elites by their costs, refit mean and deviation with these weights.

    Two flavours. The published one is ``answer="elite", exploration=1, init_std=2``: one of the last elites is drawn
    by weight, and noise of the last deviation is added to what is executed. The default answers with the weighted
    mean instead, which needs no last draw. With ``num_elites`` equal to ``num_samples`` and ``refit_std=False`` it is
    the original path integral update over all candidates.

    Differs from the reference: bounds hold, ``init_std`` is heeded (there the deviation always starts at 2), and the
    last draw comes from the episode's noise instead of a global generator.
    """

    temperature: float = 0.5
    """Factor of the cost gap in the exponent: a larger one prefers the best more (an inverse temperature)."""
    refit_std: bool = True
    """Whether the deviation shrinks with the elites or stays ``init_std``."""
    answer: str = "mean"
    """``mean``, the weighted mean, or ``elite``, one elite drawn by weight."""
    exploration: float = 0.0
    """Deviations of noise added to the answer, one draw for all its steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_not_negative(self, "temperature", "exploration")
        require_choice("answer", self.answer, ANSWERS)

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
        elites, weights = first, first[:, :, 0, 0]
        history = History()

        for _, eps in self.draws(noise, first):
            actions = clip_to_bounds(mean[:, None] + std[:, None] * eps, self.bounds)

            elite_costs, index = lowest(cost(actions), self.elites_among(eps.shape[1]))
            elites = gather_candidates(actions, index)

            weights = torch.exp(self.temperature * (elite_costs[:, :1] - elite_costs)).to(elites)
            weights = weights / weights.sum(dim=1, keepdim=True)
            mean = _weighted_sum(weights, elites)
            if self.refit_std:
                std = _weighted_sum(weights, (elites - mean[:, None]).square()).sqrt()
            history.add(elite_costs, eps.shape[1])

        answer = mean if self.answer == "mean" else _draw(elites, weights, noise)
        answer = self._explore(answer, std, noise)
        return self.answer_with(answer, history)

    def _explore(self, answer: Tensor, std: Tensor, noise: Noise) -> Tensor:
        if self.exploration == 0:
            return answer
        eps = noise.normal(AFTERWARDS + 1, (answer.shape[0], 1, answer.shape[-1]))
        return clip_to_bounds(answer + self.exploration * std * eps, self.bounds)


def _weighted_sum(weights: Tensor, values: Tensor) -> Tensor:
    """Sum over K of (E, K, H, A) with weights (E, K)."""
    return (weights[:, :, None, None] * values).sum(dim=1)


def _draw(elites: Tensor, weights: Tensor, noise: Noise) -> Tensor:
    """One elite an episode, (E, H, A), drawn by weight: the largest of log weight plus Gumbel noise."""
    normal = noise.normal(AFTERWARDS, tuple(weights.shape)).double()
    uniform = torch.special.ndtr(normal)  # strictly inside (0, 1) for any float32 normal that is drawn
    choice = (weights.double().log() - (-uniform.log()).log()).argmax(dim=1)
    return gather_candidates(elites, choice[:, None])[:, 0]

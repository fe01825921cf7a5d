"""The cross-entropy method, with the update that the published tables were made with.

Facts: jepa-wms ``planner.py:211-344`` (commit 6eafb14); settings of arXiv 2512.24497, Table S4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from jepawm_agents.planners.base import CostFunction, Noise, Plan
from jepawm_agents.planners.coloured_noise import coloured
from jepawm_agents.planners.elites import gather_candidates, lowest, spread
from jepawm_agents.planners.history import History
from jepawm_agents.planners.settings import SearchSettings, clip_to_bounds, require, require_not_negative, require_share


@dataclass(frozen=True)
class CEM(SearchSettings):
    """Sample action sequences around a mean, keep the best, refit mean and deviation, repeat.

    The first candidate of an iteration is the current mean. The answer is the mean of the last elites, which itself
    is never scored. The defaults are the published settings of Wall, PointMaze and Push-T.
    """

    fewest_elites: ClassVar[int] = 2

    momentum_mean: float = 0.0
    """Share of the old mean kept at an update."""
    momentum_std: float = 0.0
    """Share of the old deviation kept at an update."""
    noise_beta: float = 0.0
    """Exponent of the noise: 0 white, 2 a random walk; large ones suit long horizons."""
    chunk: int = 1
    """Primitive actions side by side in a model action: coloured noise takes them for one step of time each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "momentum_mean", "momentum_std")
        require_not_negative(self, "noise_beta")
        require(self.chunk >= 1, "chunk", self.chunk, "at least 1")

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
        history = History()

        for _, eps in self.draws(noise, first):
            # Sample around the mean; the mean itself takes part.
            actions = mean[:, None] + std[:, None] * coloured(eps, self.noise_beta, self.chunk)
            actions[:, 0] = mean
            actions = clip_to_bounds(actions, self.bounds)

            # Score and keep the best.
            elite_costs, index = lowest(cost(actions), self.elites_among(eps.shape[1]))
            elites = gather_candidates(actions, index)

            # Refit; the deviation is the unbiased one (divided by K - 1).
            mean = mix(elites.mean(dim=1), mean, self.momentum_mean)
            std = mix(spread(elites, dim=1), std, self.momentum_std)
            history.add(elite_costs, eps.shape[1])

        return self.answer_with(mean, history)


def mix(new: Tensor, old: Tensor, momentum: float) -> Tensor:
    """The new value with a share ``momentum`` of the old one."""
    return new * (1 - momentum) + old * momentum

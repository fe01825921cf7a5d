"""Black-box optimizers of package nevergrad behind the planner interface.

Facts: jepa-wms ``planner.py:53-208`` (commit 6eafb14).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepawm_agents.errors import ConfigError
from jepawm_agents.planners.base import CostFunction, Noise, Plan
from jepawm_agents.planners.budget import rounds
from jepawm_agents.planners.elites import lowest
from jepawm_agents.planners.history import History
from jepawm_agents.planners.settings import SearchSettings, clip_to_bounds, require_choice

PENALTY = 1e6
"""What an optimizer is told of a candidate without a finite cost, at least; the reference's number."""
SEED_NUMBERS = 8
ANSWERS = ("recommendation", "best")


@dataclass(frozen=True)
class Nevergrad(SearchSettings):
    """Ask an optimizer for N candidates, score them together, tell it their costs, J times; then its recommendation.

    Every episode has an optimizer of its own, seeded from its noise, with a budget of J times N and N workers. Where
    NGOpt chooses ``MetaModel``, ``DiagonalCMA`` is taken, as in the reference. ``num_elites`` matters to the trace
    only. The optimizers run on the CPU, so costs are waited for in every iteration. The answer is float64.

    A recommendation need not have been scored. CMA starts anew once it has converged to the precision of the costs,
    and then recommends worse than it found: with a large budget for a small problem, take ``answer="best"``.

    Differs from the reference: candidates are clipped to the bounds, and dimensions without a bound stay free (there
    nevergrad is given bounds of 1 for them); the first deviation is ``init_std`` (there always 1, and shrunk by
    bounds); minus infinity loses (there it wins).
    """

    optimizer: str = "NGOpt"
    """A name of nevergrad's registry."""
    answer: str = "recommendation"
    """``recommendation``, the optimizer's own as in the reference, or ``best``, the best candidate scored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("answer", self.answer, ANSWERS)
        names = _nevergrad().optimizers.registry
        if self.optimizer not in names:
            near = get_close_matches(str(self.optimizer), list(names), n=3) or ["NGOpt", "DiagonalCMA", "CMA"]
            raise ConfigError(f"Unknown nevergrad optimizer {self.optimizer!r}. Did you mean {', '.join(near)}?")

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
        draws = noise.normal(0, (batch, SEED_NUMBERS))
        like = draws.new_zeros(batch, 1, self.steps(horizon), action_dim)
        searches = [
            _Search(self, mean, bits)
            for mean, bits in zip(self._first_means(like, previous), _bits(draws), strict=True)
        ]
        history = History()

        for _, size in rounds(self.sizes, self.max_seconds, like.device):
            asked = torch.from_numpy(np.stack([search.ask(size) for search in searches]))
            costs = cost(clip_to_bounds(asked.to(like), self.bounds))
            for search, told in zip(searches, costs.double().cpu().numpy(), strict=True):
                search.tell(told)
            history.add(lowest(costs, self.elites_among(size))[0], size)

        answers = torch.from_numpy(np.stack([search.answer(self.answer) for search in searches])).to(like.device)
        return self.answer_with(clip_to_bounds(answers, self.bounds), history)

    def _first_means(self, like: Tensor, previous: Plan | None) -> NDArray[np.float64]:
        return self.first_mean(like, previous).double().cpu().numpy()


class _Search:
    """One episode's optimizer and the numbers it draws.

    Some optimizers draw from numpy's global generator. While one works, a generator of the episode stands in for it;
    the caller's is put back untouched.

    Args:
        settings: of the planner.
        mean: (H, A), where the search starts.
        bits: the episode's seed.
    """

    def __init__(self, settings: Nevergrad, mean: NDArray[np.float64], bits: NDArray[np.uint32]):
        self._global = np.random.RandomState(bits[::2])
        self._asked: list[Any] = []
        self._best, self._best_cost = mean, np.inf
        ng = _nevergrad()
        with self._at_work():
            space = ng.p.Array(init=mean).set_mutation(sigma=settings.init_std)
            space.random_state = np.random.RandomState(bits[1::2])
            build = ng.optimizers.registry[settings.optimizer]
            budget = {"budget": settings.evaluations, "num_workers": settings.num_samples}
            self._optimizer = build(space, **budget)
            if getattr(getattr(self._optimizer, "optim", None), "name", None) == "MetaModel":
                self._optimizer = ng.optimizers.registry["DiagonalCMA"](space, **budget)

    def ask(self, count: int) -> NDArray[np.float64]:
        """Candidates (N, H, A)."""
        with self._at_work():
            self._asked = [self._optimizer.ask() for _ in range(count)]
        return np.stack([candidate.value for candidate in self._asked])

    def tell(self, costs: NDArray[np.float64]) -> None:
        """Report the costs (N,) of the candidates asked for last; those that are no numbers lose."""
        finite = np.isfinite(costs)
        penalty = costs[finite].max(initial=PENALTY)
        cheapest = np.where(finite, costs, np.inf).argmin()
        if finite[cheapest] and costs[cheapest] < self._best_cost:
            self._best, self._best_cost = self._asked[cheapest].value, costs[cheapest]
        with self._at_work():
            for candidate, value in zip(self._asked, np.where(finite, costs, penalty), strict=True):
                self._optimizer.tell(candidate, float(value))

    def answer(self, kind: str) -> NDArray[np.float64]:
        """The optimizer's recommendation or the best candidate told, (H, A)."""
        if kind == "best":
            return np.array(self._best, dtype=np.float64)
        with self._at_work():
            return np.array(self._optimizer.recommend().value, dtype=np.float64)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        outer = np.random.get_state()
        np.random.set_state(self._global.get_state())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about settings that suit its benchmarks, once a plan
                yield
        finally:
            self._global.set_state(np.random.get_state())
            np.random.set_state(outer)


def _bits(draws: Tensor) -> NDArray[np.uint32]:
    """Seeds (E, 8) from normal numbers of that shape: their bits."""
    return draws.float().cpu().contiguous().numpy().view(np.uint32)


def _nevergrad() -> Any:
    """The package, imported when first needed: it takes seconds.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cma warns that it cannot plot
            import cma  # noqa: F401  # nevergrad imports it late, outside of this filter
            import nevergrad
    except ModuleNotFoundError as missing:
        raise ConfigError(
            f"Planner nevergrad needs package {missing.name!r}, which is not installed; "
            "run `pip install nevergrad`, or choose another planner."
        ) from missing
    return nevergrad

"""The settings that planners share, their checks and conversions."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

from torch import Tensor

from jepawm_agents.errors import ConfigError
from jepawm_agents.planners.base import Noise, Plan
from jepawm_agents.planners.budget import rounds, within
from jepawm_agents.planners.history import History
from jepawm_agents.planners.warm_start import shifted_mean
from jepawm_agents.suggest import unknown

PUBLISHED_ELITES = 10


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """What every planner can be told; each adds its own and may have other defaults."""

    fewest_elites: ClassVar[int] = 1
    differentiates: ClassVar[bool] = False

    horizon: int = 6
    """H, model steps looked ahead."""
    num_samples: int = 300
    """N, candidates an iteration."""
    iterations: int = 30
    """J, rounds of candidates."""
    num_elites: int | None = None
    """K, the best candidates of an iteration; None: 10 as published, or all where there are fewer candidates."""
    execution_horizon: int = 6
    """m, model steps executed before planning again."""
    init_std: float = 1.0
    """Deviation of the first candidates, normalised units."""
    bounds: Mapping[int, float] | float = dataclasses.field(default_factory=dict)
    """Largest magnitude of single action dimensions, or one number for all of them, normalised units."""
    warm_start: bool = False
    """Start from what is left of the previous plan instead of from zero."""
    max_evaluations: int | None = None
    """Most evaluations of a plan (equal compute): iterations are left out, the last one made may be partial."""
    max_seconds: float | None = None
    """No iteration begins later than this after the first; not reproducible. Of the whole batch, not an episode."""

    def __post_init__(self) -> None:
        require_numbers(self)
        fewest = self.fewest_elites
        require(self.horizon >= 1, "horizon", self.horizon, "at least 1")
        require(
            1 <= self.execution_horizon <= self.horizon, "execution_horizon", self.execution_horizon, "1 to horizon"
        )
        require(self.iterations >= 1, "iterations", self.iterations, "at least 1")
        require(self.num_samples >= fewest, "num_samples", self.num_samples, f"at least {fewest}")
        if self.num_elites is not None:
            require_number("num_elites", self.num_elites, like=1)
            rule = f"{fewest} to {self.num_samples}"
            require(fewest <= self.num_elites <= self.num_samples, "num_elites", self.num_elites, rule)
        require_positive(self, "init_std")
        require_bounds(self.bounds)
        if self.max_evaluations is not None:
            require_number("max_evaluations", self.max_evaluations, like=1)
            require(self.max_evaluations >= 1, "max_evaluations", self.max_evaluations, "at least 1")
        if self.max_seconds is not None:
            require_number("max_seconds", self.max_seconds, like=1.0)
            require_positive(self, "max_seconds")

    @property
    def sizes(self) -> list[int]:
        """Candidates of every iteration, within ``max_evaluations``."""
        return within([self.num_samples] * self.iterations, self.max_evaluations)

    @property
    def evaluations(self) -> int:
        """Most evaluations one plan spends on an episode."""
        return sum(self.sizes)

    @property
    def trace_length(self) -> int:
        """Iterations recorded in a trace."""
        return len(self.sizes)

    def steps(self, horizon: int | None) -> int:
        """Steps to plan when at most ``horizon`` are asked for."""
        return self.horizon if horizon is None else min(horizon, self.horizon)

    @property
    def elite_count(self) -> int:
        """K."""
        return min(PUBLISHED_ELITES, self.num_samples) if self.num_elites is None else self.num_elites

    def elites_among(self, size: int) -> int:
        """Elites of an iteration: K, and in a partial iteration as large a share as in a whole one."""
        return max(1, self.elite_count * size // self.num_samples)

    def first_draw(self, noise: Noise, batch: int, action_dim: int, horizon: int | None) -> Tensor:
        """The normal numbers of the first iteration, (E, N, H, A)."""
        return noise.normal(0, (batch, self.sizes[0], self.steps(horizon), action_dim))

    def draws(self, noise: Noise, first: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Iterations and their normal numbers (E, N, H, A), ``first`` being the first; N may differ."""
        episodes, _, *rest = first.shape
        for iteration, size in rounds(self.sizes, self.max_seconds, first.device):
            yield iteration, first if iteration == 0 else noise.normal(iteration, (episodes, size, *rest))

    def answer_with(self, sequence: Tensor, history: History, elites: Tensor | None = None) -> Plan:
        """The plan that ends a search with ``sequence`` (E, H, A)."""
        trace = history.trace(self.trace_length)
        return Plan(sequence[:, : self.execution_horizon], sequence, trace, history.evaluations, elites)

    def first_mean(self, like: Tensor, previous: Plan | None) -> Tensor:
        """Where the search starts, (E, H, A), for candidates shaped ``like`` (E, N, H, A)."""
        if self.warm_start and previous is not None:
            return shifted_mean(previous, like)
        return like.new_zeros(like.shape[0], *like.shape[2:])


def require(holds: bool, name: str, value: object, rule: str) -> None:
    """Refuse a setting that breaks its rule.

    Raises:
        ConfigError: naming the setting, its value and the rule.
    """
    if not holds:
        raise ConfigError(f"Planner setting {name}={value!r} is not possible; it must be {rule}.")


def require_number(name: str, value: object, *, like: object) -> None:
    """Refuse a setting that is not a number where its default ``like`` is one, not a whole one, or not a switch.

    Raises:
        ConfigError: naming the setting and its value.
    """
    if isinstance(like, bool):
        require(isinstance(value, bool), name, value, "true or false")
    elif isinstance(like, int | float):
        kinds, rule = ((int,), "a whole number") if isinstance(like, int) else ((int, float), "a number")
        require(isinstance(value, kinds) and not isinstance(value, bool), name, value, rule)


def require_numbers(settings: Any) -> None:
    """:func:`require_number` for every field of a dataclass of settings.

    Raises:
        ConfigError: naming the first setting that is none.
    """
    for field in dataclasses.fields(settings):
        require_number(field.name, getattr(settings, field.name), like=field.default)


def require_positive(settings: object, *names: str) -> None:
    """Refuse settings that are not above zero and finite."""
    for name in names:
        value = getattr(settings, name)
        require(0 < value < float("inf"), name, value, "positive")


def require_not_negative(settings: object, *names: str) -> None:
    """Refuse settings below zero, or not finite."""
    for name in names:
        value = getattr(settings, name)
        require(0 <= value < float("inf"), name, value, "at least 0")


def require_share(settings: object, *names: str) -> None:
    """Refuse settings that are no share of what was there before."""
    for name in names:
        value = getattr(settings, name)
        require(0 <= value < 1, name, value, "at least 0 and below 1")


def require_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse a name that is not among the choices.

    Raises:
        ConfigError: with the nearest ones.
    """
    if value not in choices:
        raise ConfigError(unknown(f"value of planner setting {name}", str(value), choices))


def require_bounds(bounds: object) -> None:
    """Refuse bounds that are neither a table of action dimension to positive limit nor one limit.

    Raises:
        ConfigError: saying what they are.
    """
    rule = "a table of action dimension to positive limit, such as {0 = 0.1}, or one limit for all dimensions"
    table = bounds if isinstance(bounds, Mapping) else {0: bounds}
    for dimension, limit in table.items():
        number = isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0
        require(str(dimension).isdigit() and number, "bounds", bounds, rule)


def clip_to_bounds(actions: Tensor, bounds: Mapping[int, float] | float) -> Tensor:
    """Clip single dimensions of (..., A), or all, to +-limit, in normalised units (``planner.py:297-301``)."""
    if not isinstance(bounds, Mapping):
        return actions.clamp(-bounds, bounds)
    if not bounds:
        return actions
    limit = actions.new_full((actions.shape[-1],), float("inf"))
    for dimension, value in bounds.items():
        if not 0 <= int(dimension) < len(limit):
            raise ConfigError(f"A bound is set for action dimension {dimension}, but there are {len(limit)}.")
        limit[int(dimension)] = value
    return actions.clamp(-limit, limit)

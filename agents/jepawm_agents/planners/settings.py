"""Checks and conversions that the planners' settings share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from jepawm_agents.errors import ConfigError


def require(holds: bool, name: str, value: object, rule: str) -> None:
    """Refuse a setting that breaks its rule.

    Raises:
        ConfigError: naming the setting, its value and the rule.
    """
    if not holds:
        raise ConfigError(f"Planner setting {name}={value!r} is not possible; it must be {rule}.")


def require_number(name: str, value: object, *, like: object) -> None:
    """Refuse a setting that is not a number where its default ``like`` is one, or not a whole one.

    Raises:
        ConfigError: naming the setting and its value.
    """
    if isinstance(like, bool) or not isinstance(like, int | float):
        return
    kinds, rule = ((int,), "a whole number") if isinstance(like, int) else ((int, float), "a number")
    require(isinstance(value, kinds) and not isinstance(value, bool), name, value, rule)


def require_numbers(settings: Any) -> None:
    """:func:`require_number` for every field of a dataclass of settings.

    Raises:
        ConfigError: naming the first setting that is none.
    """
    for field in dataclasses.fields(settings):
        require_number(field.name, getattr(settings, field.name), like=field.default)


def require_bounds(bounds: object) -> None:
    """Refuse bounds that are not a table of action dimension to positive limit.

    Raises:
        ConfigError: saying what they are.
    """
    rule = "a table of action dimension to positive limit, such as {0 = 0.1}"
    table = bounds if isinstance(bounds, Mapping) else {None: None}
    for dimension, limit in table.items():
        possible = str(dimension).isdigit() and isinstance(limit, int | float) and float(limit) > 0
        require(possible, "bounds", bounds, rule)


def clip_to_bounds(actions: Tensor, bounds: Mapping[int, float]) -> Tensor:
    """Clip single dimensions of (..., A) to +-limit, in normalised units (``planner.py:297-301``)."""
    if not bounds:
        return actions
    limit = actions.new_full((actions.shape[-1],), float("inf"))
    for dimension, value in bounds.items():
        if not 0 <= int(dimension) < len(limit):
            raise ConfigError(f"A bound is set for action dimension {dimension}, but there are {len(limit)}.")
        limit[int(dimension)] = value
    return actions.clamp(-limit, limit)

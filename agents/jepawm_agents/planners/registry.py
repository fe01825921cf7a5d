"""The table of planners; reading it imports no torch."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown

if TYPE_CHECKING:
    from jepawm_agents.planners.base import Planner


class PlannerRecord(NamedTuple):
    """What is known of a planner before it is imported."""

    entry_point: str
    """``module:class``; the class is a dataclass of its settings."""
    summary: str
    source: str
    """Where it comes from."""


PLANNERS: dict[str, PlannerRecord] = {
    "cem": PlannerRecord(
        "jepawm_agents.planners.cem:CEM", "cross-entropy method, the published planner", "arXiv 2512.24497"
    ),
    "mppi": PlannerRecord(
        "jepawm_agents.planners.mppi:MPPI",
        "path integral control, elites weighted by cost",
        "arXiv 1509.01149, 2203.04955",
    ),
    "icem": PlannerRecord(
        "jepawm_agents.planners.icem:ICEM",
        "CEM with coloured noise, kept elites, fewer evaluations",
        "arXiv 2008.06389",
    ),
    "random_shooting": PlannerRecord(
        "jepawm_agents.planners.random_shooting:RandomShooting", "best of many random sequences, the floor", "none"
    ),
    "nevergrad": PlannerRecord(
        "jepawm_agents.planners.nevergrad:Nevergrad",
        "any optimizer of package nevergrad by name, NGOpt at first",
        "arXiv 2512.24497",
    ),
    "gd": PlannerRecord(
        "jepawm_agents.planners.gradient:GradientDescent",
        "gradient descent through the world model",
        "arXiv 2512.24497",
    ),
    "adam": PlannerRecord(
        "jepawm_agents.planners.gradient:Adam", "Adam on the actions, through the world model", "arXiv 1412.6980"
    ),
}


def list_planners() -> list[dict[str, str]]:
    """Rows for ``jepawm-bench list planners``."""
    return [{"name": name, "summary": record.summary, "source": record.source} for name, record in PLANNERS.items()]


def make_planner(name: str, **settings: Any) -> Planner:
    """Build a planner by name.

    Args:
        name: a key of :data:`PLANNERS`.
        **settings: fields of that planner's dataclass.

    Raises:
        ConfigError: for an unknown planner or setting, or an impossible value.
    """
    if name not in PLANNERS:
        raise ConfigError(unknown("planner", name, PLANNERS))
    module, attribute = PLANNERS[name].entry_point.split(":")
    planner = getattr(import_module(module), attribute)
    fields = {field.name for field in dataclasses.fields(planner)}
    for key in settings:
        if key not in fields:
            raise ConfigError(unknown(f"setting of planner {name}", key, fields))
    return planner(**settings)

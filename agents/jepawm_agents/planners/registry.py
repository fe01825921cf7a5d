"""The table of planners."""

from __future__ import annotations

import dataclasses
from importlib import import_module

from jepawm_agents.errors import ConfigError
from jepawm_agents.planners.base import Planner
from jepawm_agents.planners.settings import require_number
from jepawm_agents.suggest import unknown

PLANNERS: dict[str, str] = {
    "cem": "jepawm_agents.planners.cem:CEM",
}


def make_planner(name: str, **settings) -> Planner:
    """Build a planner by name.

    Args:
        name: a key of :data:`PLANNERS`.
        **settings: fields of that planner's dataclass.

    Raises:
        ConfigError: for an unknown planner or setting, or an impossible value.
    """
    if name not in PLANNERS:
        raise ConfigError(unknown("planner", name, PLANNERS))
    module, attribute = PLANNERS[name].split(":")
    planner = getattr(import_module(module), attribute)
    fields = {field.name for field in dataclasses.fields(planner)}
    for key in settings:
        if key not in fields:
            raise ConfigError(unknown(f"setting of planner {name}", key, fields))
    for field in dataclasses.fields(planner):
        if field.name in settings:
            require_number(field.name, settings[field.name], like=field.default)
    return planner(**settings)

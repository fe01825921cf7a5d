"""Finding recipes and changing single settings of them; torch-free."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown


def list_recipes() -> list[dict[str, Any]]:
    """Name, kind, summary, agent and environment of every recipe."""
    return [
        {key: recipe[key] for key in ("name", "kind", "summary", "agent")} | {"env": recipe["data"]["env"] or "any"}
        for recipe in _all().values()
    ]


def load_recipe(name: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A recipe with single settings changed, without its report of what was reached.

    Args:
        name: ``compact/wall``, ...
        changes: nested tables of new values, ``{"train": {"steps": 200}}``.

    Raises:
        ConfigError: for an unknown recipe or setting, or a value of another type.
    """
    recipes = _all()
    if name not in recipes:
        raise ConfigError(unknown("recipe", name, recipes))
    recipe = copy.deepcopy(recipes[name])
    recipe.pop("reached", None)
    _change(recipe, changes or {}, "")
    return recipe


def _all() -> dict[str, dict[str, Any]]:
    folder = files("jepawm_agents.training.recipes")
    found = [tomllib.loads(file.read_text()) for file in folder.iterdir() if file.name.endswith(".toml")]
    return {recipe["name"]: _completed(recipe) for recipe in sorted(found, key=lambda recipe: recipe["name"])}


def _completed(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with what it leaves open taken from ``defaults/<kind>.toml``."""
    kind = recipe.setdefault("kind", "world_model")
    file = files("jepawm_agents.training.recipes") / "defaults" / f"{kind}.toml"
    return _overlaid(tomllib.loads(file.read_text()), recipe)


def _overlaid(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``, table by table."""
    for key, value in above.items():
        old = below.get(key)
        below[key] = _overlaid(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return below


def _change(table: dict[str, Any], changes: Mapping[str, Any], prefix: str) -> None:
    for key, value in changes.items():
        if key not in table:
            raise ConfigError(unknown("recipe setting", prefix + key, [prefix + name for name in table]))
        old = table[key]
        if isinstance(old, dict):
            if not isinstance(value, Mapping):
                raise ConfigError(f"Recipe setting {prefix + key!r} is a table; set one of its keys.")
            _change(old, value, f"{prefix}{key}.")
            continue
        if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(old):
            raise ConfigError(f"Recipe setting {prefix + key!r} takes a {type(old).__name__}, not {value!r}.")
        table[key] = value

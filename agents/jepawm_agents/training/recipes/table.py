"""Finding recipes and changing single settings of them; torch-free.

A recipe states what is its own. What it leaves open comes from the recipe that it names as its ``base``, which may
have one in turn, and then from ``defaults/<kind>.toml``. Tables are merged key by key, but a table of another
``family`` replaces the one below: sizes of one family mean nothing to another.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown

FOLDER = "jepawm_agents.training.recipes"
NO_RECIPES = ("defaults", "ablations")
"""Folders of other things."""
OWN = ("name", "summary", "published", "reached")
"""What a recipe never takes over from its base."""


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


def list_ablations() -> list[dict[str, Any]]:
    """Grids of changes: ``name``, ``summary``, ``recipe`` that they are meant for, and ``cells``, changes by name."""
    folder = files(FOLDER) / "ablations"
    tables = [tomllib.loads(file.read_text()) for file in folder.iterdir() if file.name.endswith(".toml")]
    return [{"name": name, **grid} for table in tables for name, grid in sorted(table.items())]


def _all() -> dict[str, dict[str, Any]]:
    stated = _stated(files(FOLDER))
    return {name: _completed(_on_its_base(stated[name], stated)) for name in sorted(stated)}


@cache
def _stated(folder: Traversable) -> dict[str, dict[str, Any]]:
    """Recipes as they are written, by name; not to be changed."""
    return {recipe["name"]: recipe for recipe in map(tomllib.loads, _texts(folder))}


def _texts(folder: Traversable) -> Iterator[str]:
    for file in folder.iterdir():
        if file.is_dir() and file.name not in NO_RECIPES:
            yield from _texts(file)
        elif file.name.endswith(".toml"):
            yield file.read_text()


def _on_its_base(
    recipe: dict[str, Any], stated: Mapping[str, dict[str, Any]], above: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The recipe over the one that it names as its base; ``above`` are the recipes whose base it is."""
    recipe = copy.deepcopy(recipe)
    name = recipe.pop("base", None)
    if name is None:
        return recipe
    if name not in stated:
        raise ConfigError(f"Recipe {recipe['name']!r}: {unknown('base', name, stated)}")
    seen = (*above, recipe["name"])
    if name in seen:
        raise ConfigError(f"Recipe {name!r} is its own base, by way of {' and '.join(map(repr, seen))}.")
    base = _on_its_base(stated[name], stated, seen)
    return _overlaid({key: value for key, value in base.items() if key not in OWN}, recipe)


def _completed(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with what it leaves open taken from ``defaults/<kind>.toml``."""
    kind = recipe.setdefault("kind", "world_model")
    file = files(FOLDER) / "defaults" / f"{kind}.toml"
    return _overlaid(tomllib.loads(file.read_text()), recipe)


def _overlaid(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``, table by table."""
    if _another_family(below, above):
        return dict(above)
    for key, value in above.items():
        old = below.get(key)
        below[key] = _overlaid(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return below


def _another_family(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    return "family" in below and above.get("family", below["family"]) != below["family"]


def _change(table: dict[str, Any], changes: Mapping[str, Any], prefix: str) -> None:
    if not table or _another_family(table, changes):  # an empty table takes what others define, such as an environment
        table.clear()
        table.update(copy.deepcopy(dict(changes)))
        return
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

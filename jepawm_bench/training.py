"""The road from the command line to whoever trains; the harness itself never imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jepawm_bench.errors import MissingExtra, UsageError
from jepawm_bench.plugins import RECIPES, TRAINERS, call_all, points
from jepawm_bench.suggest import unknown


def train(recipe: str, *, settings: Mapping[str, Any], out: Path, resume: bool, progress: Callable[..., None]) -> Path:
    """Find the package that has a recipe and let it train.

    A recipe's row may name its trainer under ``trainer``; else the trainer is that of the same entry-point name.

    Raises:
        UsageError: for an unknown recipe or a refused setting.
        MissingExtra: when training needs packages that are not installed.
    """
    owners = {
        row["name"]: row.get("trainer", plugin.name)
        for plugin in call_all(RECIPES)
        if plugin.problem is None
        for row in plugin.value
    }
    if recipe not in owners:
        raise unknown("recipe", recipe, owners)
    trainers = {point.name: point for point in points(TRAINERS)}
    if owners[recipe] not in trainers:
        raise unknown("trainer", owners[recipe], trainers)
    try:
        main = trainers[owners[recipe]].load()
        return Path(main(recipe, settings=dict(settings), out=out, resume=resume, progress=progress))
    except ModuleNotFoundError as error:
        raise MissingExtra.needed_by(f"Recipe {recipe!r}", "agents", error.name) from error
    except ValueError as error:
        raise UsageError(f"Recipe {recipe!r}: {error}") from error

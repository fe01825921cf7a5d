"""The road from the command line to whoever trains; the harness itself never imports torch."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jepawm_bench.errors import BenchError, MissingExtra, UsageError
from jepawm_bench.files import write_atomic
from jepawm_bench.plugins import RECIPES, TRAINERS, call_all, points
from jepawm_bench.suggest import unknown

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with the stage, its finished steps, its steps, and the latest figures."""


def train(recipe: str, *, settings: Mapping[str, Any], out: Path, resume: bool, progress: Progress) -> Path:
    """Find the package that has a recipe and let it train.

    A recipe belongs to the trainer whose entry point has the same name as the recipe's.

    Raises:
        UsageError: for an unknown recipe or a refused setting.
        MissingExtra: when training needs packages that are not installed.
        BenchError: when the training fails; the traceback is in ``out``/error.log.
    """
    lists = [plugin for plugin in call_all(RECIPES) if plugin.problem is None]
    owners = {row["name"]: plugin.name for plugin in lists for row in plugin.value}
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
    except Exception as error:  # whatever a stranger's trainer raises
        write_atomic(out / "error.log", traceback.format_exc().encode())
        raise BenchError(f"Recipe {recipe!r} failed: {error} (traceback in {out / 'error.log'})") from error

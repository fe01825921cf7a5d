"""``jepawm-bench train``: a recipe, an output folder that belongs to it, and the training of the recipe's kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from jepawm_agents.errors import AgentError, ConfigError
from jepawm_agents.suggest import unknown
from jepawm_agents.training.checkpoint import changed, of_first_stage
from jepawm_agents.training.distributed import Ranks, launched
from jepawm_agents.training.loop import Progress
from jepawm_agents.training.recipes import load_recipe
from jepawm_bench.locks import locked

KINDS = {
    "world_model": "jepawm_agents.training.world_model",
    "eb_jepa": "jepawm_agents.training.eb_jepa",
    "head": "jepawm_agents.training.head",
}
"""Module of every kind of recipe; each has ``check(plan)`` and ``train(plan, out=, resume=, progress=) -> Path``."""


def main(recipe: str, *, settings: Mapping[str, Any], out: Path, resume: bool, progress: Progress) -> Path:
    """Train what a recipe describes.

    Args:
        recipe: its name, see ``jepawm-bench list recipes``.
        settings: changes, as nested tables.
        out: folder for data, checkpoints, curves (CSV) and ``model.safetensors``.
        resume: continue an interrupted training in ``out``.
        progress: told about every step of every stage.

    Returns:
        Path of the weights.

    Raises:
        AgentError: for unknown settings, or an ``out`` that holds another training.
        UsageError: for an ``out`` that another process trains into.
    """
    plan = load_recipe(recipe, settings)
    if plan["kind"] not in KINDS:
        raise ConfigError(unknown("kind of recipe", plan["kind"], KINDS))
    kind = import_module(KINDS[plan["kind"]])
    with launched(plan.get("train", {}).get("device", "auto")) as ranks:
        kind.check(plan)
        with _claimed(out, plan, resume, ranks):
            return kind.train(plan, out=out, resume=resume, progress=progress if ranks.first else _silent)


def _silent(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """The progress of a process that is not the first."""


@contextmanager
def _claimed(out: Path, plan: Mapping[str, Any], resume: bool, ranks: Ranks) -> Iterator[None]:
    """Keep other trainings out of the folder; the first process does so for all."""
    if not ranks.first:
        yield
        return
    with locked(out):
        _claim(out, plan, resume)
        yield


def _claim(out: Path, plan: Mapping[str, Any], resume: bool) -> None:
    """Write the recipe into the folder; refuse a folder of another recipe, or a finished one without --resume.

    Another second stage is no other recipe here: it may follow a finished first one, and its checkpoint knows it.
    """
    note, text = out / "recipe.json", json.dumps(plan, indent=1, sort_keys=True)
    if note.exists():
        if not resume:
            raise AgentError(f"{out} holds a training already; add --resume to continue it, or choose another --out.")
        differing = changed(of_first_stage(json.loads(note.read_text())), of_first_stage(json.loads(text)))
        if differing:
            raise AgentError(
                f"{out} holds a training with other settings; choose another --out. They differ in "
                f"{', '.join(differing)}."
            )
    note.write_text(text)

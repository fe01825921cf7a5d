"""``jepawm-bench train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Option(help="See 'list recipes'.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; runs/train-RECIPE when missing.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint.")] = False,
) -> int:
    """Train a world model or a head."""
    from jepawm_bench.cli.progress import stages_bar
    from jepawm_bench.memory import keep_freed_memory
    from jepawm_bench.settings import parse_overrides
    from jepawm_bench.training import train as start

    keep_freed_memory()
    folder = out or Path("runs") / f"train-{recipe}"
    overrides = parse_overrides(settings or [])
    try:
        with stages_bar() as progress:
            path = start(recipe, settings=overrides, out=folder, resume=resume, progress=progress)
    except KeyboardInterrupt:
        typer.echo(f"Interrupted; continue with --resume. Checkpoints, if any, are in {folder}.", err=True)
        return 130
    if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun started, one speaks
        typer.echo(f"written to {path}")
    return 0

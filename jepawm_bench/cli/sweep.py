"""``jepawm-bench sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jepawm_bench.sweeps.sweep import SweepResult

app = typer.Typer(help="A grid of runs or trainings.", no_args_is_help=True)

PRINTED = 12
"""Columns; the file has all."""
TAKES_MORE = {"allow_extra_args": True, "ignore_unknown_options": True}

Grid = Annotated[
    list[str] | None,
    typer.Option(metavar="GRID", help="KEY=VALUE,VALUE, option:NAME=VALUE,... or ablation:NAME; repeatable."),
]
Out = Annotated[Path, typer.Option(help="Folder of the sweep.")]
Backend = Annotated[str, typer.Option(help="local, slurm or ray.")]
BackendSet = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Setting of the backend: jobs=2, slurm_partition=gpu, num_gpus=1, ..."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue; cells that are done stay.")]


@app.command("run", context_settings=TAKES_MORE)
def run(
    context: typer.Context,
    out: Out,
    grid: Grid = None,
    backend: Backend = "local",
    backend_set: BackendSet = None,
    resume: Resume = False,
) -> int:
    """Score agents; every other option is one of 'run'."""
    return _sweep("run", context.args, out, grid, backend, backend_set, resume)


@app.command("train", context_settings=TAKES_MORE)
def train(
    context: typer.Context,
    out: Out,
    grid: Grid = None,
    backend: Backend = "local",
    backend_set: BackendSet = None,
    resume: Resume = False,
) -> int:
    """Train models; every other option is one of 'train'."""
    return _sweep("train", context.args, out, grid, backend, backend_set, resume)


def _sweep(
    command: str,
    words: list[str],
    out: Path,
    grid: list[str] | None,
    backend: str,
    backend_set: list[str] | None,
    resume: bool,
) -> int:
    from jepawm_bench.cli.progress import steps_bar
    from jepawm_bench.settings import parse_overrides
    from jepawm_bench.sweeps import make_cells, sweep

    cells, settings = make_cells(grid or []), parse_overrides(backend_set or [])
    try:
        with steps_bar("cells") as told:
            result = sweep(
                command,
                words,
                cells,
                out,
                backend=backend,
                backend_settings=settings,
                resume=resume,
                progress=told,
            )
    except KeyboardInterrupt:
        typer.echo(f"Interrupted; what is finished is kept in {out}. Repeat the command with --resume.", err=True)
        return 130
    _show(result)
    return 1 if result.failed else 0


def _show(result: SweepResult) -> None:
    from jepawm_bench.cli.tables import print_table

    columns = list(dict.fromkeys(name for row in result.rows for name in row))[:PRINTED]
    print_table("", columns, [[_short(row.get(name)) for name in columns] for row in result.rows])
    for name in result.failed:
        log = result.path.parent / "logs" / f"{name}.log"
        typer.echo(f"{name} did not end well; see {log}. Repeat the command with --resume to try again.", err=True)
    typer.echo(f"written to {result.path}")


def _short(value: object) -> object:
    """Numbers in four digits; those of a curve are text."""
    try:
        return f"{float(value):.4g}"  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value

"""``jepawm-bench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    run_a: Annotated[Path, typer.Argument(help="Run folder A.")],
    run_b: Annotated[Path, typer.Argument(help="Run folder B.")],
) -> int:
    """Compare two runs on the same tasks, task by task."""
    from jepawm_bench.comparison import compare as paired

    found = paired(run_a, run_b)
    typer.echo(f"A: {found.a}")
    typer.echo(f"B: {found.b}")
    typer.echo(
        f"{found.n} tasks: both {found.both}, only A {found.only_a}, only B {found.only_b}, neither {found.neither}"
    )
    typer.echo(
        f"A minus B: {100 * found.difference:+.1f} points, 95 % interval {100 * found.interval.low:+.1f} to "
        f"{100 * found.interval.high:+.1f}; exact McNemar p = {found.p_value:.2g}"
    )
    return 0

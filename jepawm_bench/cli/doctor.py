"""``jepawm-bench doctor``."""

from __future__ import annotations

import typer


def doctor() -> int:
    """Check this installation and say what to install."""
    from jepawm_bench.doctor import FAILED, MISSING, examine

    states = []
    for finding in examine():
        states.append(finding.state)
        typer.echo(f"{finding.state:8}{finding.what}: {finding.detail}")
    failed, missing = states.count(FAILED), states.count(MISSING)
    typer.echo(f"{failed} failed, {missing} optional missing." if failed or missing else "Everything is there.")
    return 1 if failed else 0

"""``jepawm-bench verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jepawm_bench.errors import UsageError


def verify(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    episodes: Annotated[
        str | None,
        typer.Option(help="How many to repeat, or 'all'; when missing all are replayed and 3 planned again."),
    ] = None,
    agent: Annotated[bool, typer.Option("--agent", help="Let the agent plan again too.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda, for --agent.")] = "auto",
) -> int:
    """Check a run: recompute every success, replay episodes, plan again."""
    from jepawm_bench.threads import limit_threads

    limit_threads()
    from jepawm_bench.devices import choose_device
    from jepawm_bench.verify import EXACT
    from jepawm_bench.verify import verify as check

    number = None if episodes is None else _number(episodes)
    again = 3 if episodes is None else number
    found = check(run, episodes=number, replan=agent, replan_episodes=again, device=choose_device(device))
    for note in found.notes:
        typer.echo(f"Note: {note}")
    for problem in found.problems:
        typer.echo(problem)
    for verdict in found.verdicts:
        if verdict.verdict != EXACT:
            typer.echo(f"Episode {verdict.episode}, {verdict.how}: {verdict.verdict}")
    if found.problems:
        typer.echo(f"{run} is NOT what it claims: {len(found.problems)} contradictions.")
    elif not found.passed:
        typer.echo(f"{run}: the scores follow from the traces, but some episodes end differently when repeated.")
    else:
        exact = sum(verdict.verdict == EXACT for verdict in found.verdicts)
        typer.echo(
            f"{run}: {found.episodes} scores follow from the traces, {len(found.verdicts)} repetitions agree "
            f"({exact} exact, {len(found.verdicts) - exact} same outcome)."
        )
    return 0 if found.passed else 1


def _number(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"--episodes {text} is not possible; give a number from 1, or 'all'.")
    return int(text)

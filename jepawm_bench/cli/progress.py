"""Progress bars, on stderr so that stdout stays data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def episodes_bar(label: str) -> Iterator[Callable[[int, int, int], None]]:
    """A bar that is told finished episodes, all episodes and successes."""
    with steps_bar(label) as advance:

        def told(done: int, total: int, successes: int) -> None:
            advance(done, total, f"{successes}/{done} solved" if done else "")

        yield told


@contextmanager
def stages_bar() -> Iterator[Callable[[str, int, int, Mapping[str, float]], None]]:
    """One bar a stage, told the stage, what is done, what there is, and the latest figures.

    The bar has room for the loss; all figures are printed when the stage ends.
    """
    with _stopped(_bars()) as bars:
        tasks: dict[str, Any] = {}

        def told(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
            bars.start()  # at the first call, not before: a refusal is printed without a bar
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, remark="")
            loss = f"loss {figures['loss']:.4g}" if "loss" in figures else ""
            bars.update(tasks[stage], completed=done, total=total, remark=loss)
            if done == total and figures:
                listed = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
                bars.console.print(f"{stage}: {listed}", highlight=False)

        yield told


@contextmanager
def steps_bar(label: str) -> Iterator[Callable[..., None]]:
    """A bar that is told what is done and what there is, and optionally a remark."""
    with _stopped(_bars()) as bars:
        task = bars.add_task(label, total=None, remark="")

        def told(done: int, total: int, remark: str = "") -> None:
            bars.start()
            bars.update(task, completed=done, total=total, remark=remark)

        yield told


@contextmanager
def _stopped(bars: Any) -> Iterator[Any]:
    """Bars that somebody may start, stopped at the end if somebody did."""
    try:
        yield bars
    finally:
        if bars.live.is_started:
            bars.stop()


def _bars() -> Any:
    from rich import progress as parts
    from rich.console import Console

    columns = (
        parts.TextColumn("{task.description}"),
        parts.BarColumn(),
        parts.MofNCompleteColumn(),
        parts.TextColumn("{task.fields[remark]}"),
        parts.TimeElapsedColumn(),
        parts.TimeRemainingColumn(),
    )
    return parts.Progress(*columns, console=Console(stderr=True))

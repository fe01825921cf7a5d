"""Progress bars, on stderr so that stdout stays data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def episodes_bar(label: str) -> Iterator[Callable[[int, int, int], None]]:
    """A bar that is told finished episodes, all episodes and successes."""
    with steps_bar(label) as advance:

        def told(done: int, total: int, successes: int) -> None:
            advance(done, total, f"{successes}/{done} solved" if done else "")

        yield told


@contextmanager
def steps_bar(label: str) -> Iterator[Callable[..., None]]:
    """A bar that is told what is done and what there is, and optionally a remark."""
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
    with parts.Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=None, remark="")
        yield lambda done, total, remark="": progress.update(task, completed=done, total=total, remark=remark)

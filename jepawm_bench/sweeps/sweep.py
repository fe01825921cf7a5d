"""Working through a sweep."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepawm_bench.errors import UsageError
from jepawm_bench.locks import locked
from jepawm_bench.suggest import unknown
from jepawm_bench.sweeps.backends import BACKENDS, Job
from jepawm_bench.sweeps.grid import Cell
from jepawm_bench.sweeps.outcome import TABLE, figures_of, write_table
from jepawm_bench.sweeps.termination import terminated_as_interrupted
from jepawm_bench.sweeps.work_list import DONE, WorkList

INTERRUPTED = 130
COMMANDS = ("run", "train")


@dataclass(frozen=True)
class SweepResult:
    """What came out."""

    path: Path
    """Of the table, CSV."""
    rows: list[dict[str, Any]]
    """A row a cell: what is varied, its state, its figures."""
    failed: list[str]
    """Names of the cells that did not end well."""


def sweep(
    command: str,
    words: Sequence[str],
    cells: Sequence[Cell],
    out: Path,
    *,
    backend: str = "local",
    backend_settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> SweepResult:
    """Call ``jepawm-bench COMMAND`` for every cell, each with a folder of its own, ``out``/cells/NAME.

    What a cell prints is in ``out``/logs, what happened in ``out``/work.jsonl, the results in ``out``/table.csv.

    Args:
        command: ``run`` or ``train``.
        words: of the command line, the same for every cell.
        cells: what differs, see :func:`.grid.make_cells`.
        out: folder.
        backend: a name in :data:`.backends.BACKENDS`.
        backend_settings: of the backend.
        resume: continue the sweep in ``out``: cells that are done stay, others continue where they stopped.
        progress: called with (cells done, cells, the name of the last).

    Raises:
        UsageError: for an unknown command or backend, options that the sweep sets itself, or a folder of another
            sweep.
        MissingExtra: for a backend whose package is not installed.
        KeyboardInterrupt: on Ctrl-C and termination, with what was finished noted and what ran told to stop.
    """
    if command not in COMMANDS:
        raise unknown("command of a sweep", command, COMMANDS)
    if backend not in BACKENDS:
        raise unknown("backend", backend, BACKENDS)
    for word in words:
        if word.partition("=")[0] in ("--out", "--resume", "--json"):
            raise UsageError(f"A sweep sets {word} itself; leave it out.")
    head = {"command": command, "words": list(words), "cells": {cell.name: list(cell.arguments) for cell in cells}}
    with locked(out):
        work = WorkList(out, head, resume=resume)
        jobs = _jobs(command, words, cells, work)
        with terminated_as_interrupted():
            _work(work, jobs, len(cells), backend, backend_settings or {}, progress)
        return _result(work, cells)


def _jobs(command: str, words: Sequence[str], cells: Sequence[Cell], work: WorkList) -> list[Job]:
    """What is not done yet."""
    states = work.states([cell.name for cell in cells])
    logs = work.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return [
        Job(cell.name, _command(command, words, cell, work.folder), logs / f"{cell.name}.log")
        for cell in cells
        if states[cell.name] != DONE
    ]


def _command(command: str, words: Sequence[str], cell: Cell, folder: Path) -> tuple[str, ...]:
    out = folder / "cells" / cell.name
    begun = out.is_dir() and any(out.iterdir())
    start = (sys.executable, "-m", "jepawm_bench", command)
    return (*start, *words, *cell.arguments, "--out", str(out), *(("--resume",) if begun else ()))


def _work(
    work: WorkList,
    jobs: Sequence[Job],
    cells: int,
    backend: str,
    settings: Mapping[str, Any],
    progress: Callable[[int, int, str], None] | None,
) -> None:
    if not jobs:
        return
    done = cells - len(jobs)
    with closing(BACKENDS[backend](jobs, lambda job: work.note(job.name, "begun"), settings)) as finished:
        for job, code in finished:
            work.note(job.name, {0: DONE, INTERRUPTED: "interrupted"}.get(code, "failed"), code=code)
            done += 1
            if progress is not None:
                progress(done, cells, job.name)


def _result(work: WorkList, cells: Sequence[Cell]) -> SweepResult:
    states = work.states([cell.name for cell in cells])
    rows = [
        {**cell.labels, "state": states[cell.name], **figures_of(work.folder / "cells" / cell.name)} for cell in cells
    ]
    write_table(work.folder / TABLE, rows)
    return SweepResult(work.folder / TABLE, rows, [name for name, state in states.items() if state != DONE])

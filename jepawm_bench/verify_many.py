"""Many run folders are verified, several at a time."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from jepawm_bench.threads import environment_of_workers
from jepawm_bench.verify import Verification, verify

RUNS_A_WORKER = 8
"""A process takes seconds to start, as long as some runs take to verify."""


def verify_many(runs: Sequence[tuple[Path, int | None]], *, workers: int = 1) -> list[Verification]:
    """Verify runs, each as :func:`jepawm_bench.verify.verify` does; nothing found depends on ``workers``.

    Args:
        runs: folders, and how many episodes of each to replay; all where None.
        workers: processes at most, with one thread each.

    Raises:
        UsageError, DamagedRun: as ``verify`` does, for the first such folder.
    """
    hands = min(workers, len(runs) // RUNS_A_WORKER)
    if hands <= 1:
        return [_verify(run) for run in runs]
    context = multiprocessing.get_context("spawn")
    with environment_of_workers():
        pool = ProcessPoolExecutor(hands, mp_context=context, initializer=_leave_ctrl_c_to_the_parent)
        try:
            return list(pool.map(_verify, runs))
        finally:
            pool.shutdown(cancel_futures=True)  # else Ctrl-C, or a damaged run, waits for all that remain


def _verify(run: tuple[Path, int | None]) -> Verification:
    path, episodes = run
    return verify(path, episodes=episodes)


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

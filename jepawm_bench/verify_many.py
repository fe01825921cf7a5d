"""Many run folders are verified, several at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jepawm_bench.threads import environment_of_workers
from jepawm_bench.verify import Verification, verify
from jepawm_envs.data.ordered import in_order

RUNS_A_WORKER = 8
"""A process takes seconds to start, as long as some runs take to verify."""
MOST = 60
"""Processes; Windows waits for at most 61."""


def verify_many(runs: Sequence[tuple[Path, int | None]], *, workers: int = 1) -> list[Verification]:
    """Verify runs, each as :func:`jepawm_bench.verify.verify` does; nothing found depends on ``workers``.

    Args:
        runs: folders, and how many episodes of each to replay; all where None.
        workers: processes at most, with one thread each.

    Raises:
        UsageError, DamagedRun: as ``verify`` does, for the first such folder.
        DataError: if a process died.
    """
    hands = max(1, min(workers, len(runs) // RUNS_A_WORKER, MOST))
    with environment_of_workers():
        return list(in_order(_Verify(runs), range(len(runs)), hands))


@dataclass(frozen=True)
class _Verify:
    """Verifies the run with a number."""

    runs: Sequence[tuple[Path, int | None]]

    def __call__(self, number: int) -> Verification:
        path, episodes = self.runs[number]
        return verify(path, episodes=episodes)

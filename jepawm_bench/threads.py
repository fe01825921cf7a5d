"""One thread a process: the same numbers for every worker count, and no fight over cores."""

from __future__ import annotations

import os

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


def limit_threads() -> None:
    """Limit this process; has an effect only before numpy and torch are loaded."""
    os.environ.update(ONE_THREAD)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

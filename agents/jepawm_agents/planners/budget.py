"""How much a search may spend: candidates an iteration, and time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch


def within(sizes: Sequence[int], limit: int | None) -> list[int]:
    """Candidates an iteration, cut so that their sum stays within ``limit``; the last may be a partial one."""
    if limit is None:
        return list(sizes)
    kept: list[int] = []
    for size in sizes:
        size = min(size, limit - sum(kept))
        if size == 0:
            break
        kept.append(size)
    return kept


def rounds(sizes: Sequence[int], max_seconds: float | None, device: torch.device) -> Iterator[tuple[int, int]]:
    """Iterations and their candidates until all are made or the time is over; the first is always made.

    With ``max_seconds`` the number of iterations, and so the plan, depends on machine and load. The clock is read
    before every iteration; for that alone a GPU is waited for.
    """
    started = time.monotonic()
    for iteration, size in enumerate(sizes):
        if iteration and max_seconds is not None:
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if time.monotonic() - started >= max_seconds:
                return
        yield iteration, size

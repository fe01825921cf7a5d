"""Batches made in threads while another one is trained on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Batch = TypeVar("Batch")


class Ahead(Generic[Batch]):
    """A function of the step number that is computed for the next steps already.

    The results are those of ``make``, whatever the number of threads. Reading, decompression and torch's operators
    let the other threads run.

    Args:
        make: the batch of step k; it must depend on k alone.
        threads: at least one; as many batches again are kept ready.
        stop: number of steps; none is made beyond.
    """

    def __init__(self, make: Callable[[int], Batch], *, threads: int, stop: int):
        self._make, self._stop, self._depth = make, stop, 2 * threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
        self._waiting: dict[int, Future[Batch]] = {}

    def __call__(self, step: int) -> Batch:
        """The batch of step k; asked for in any order, fast in this one."""
        for number in [number for number in self._waiting if number < step]:
            self._waiting.pop(number).cancel()
        for number in range(step, max(step + 1, min(self._stop, step + 1 + self._depth))):
            if number not in self._waiting:
                self._waiting[number] = self._pool.submit(self._make, number)
        return self._waiting.pop(step).result()

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

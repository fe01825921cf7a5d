"""Batches made in threads while another one is trained on."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Batch = TypeVar("Batch")


class Ahead(Generic[Key, Batch]):
    """A function that is computed for the keys to come already, such as the batches of the next steps.

    The results are those of ``make``, whatever the number of threads. Reading, decompression and torch's operators
    let the other threads run.

    Args:
        make: the batch of a key; it must depend on the key alone.
        after: the key that is asked for next, or None at the end.
        threads: at least one; twice as many batches are kept ready.
    """

    def __init__(self, make: Callable[[Key], Batch], after: Callable[[Key], Key | None], *, threads: int):
        self._make, self._after, self._depth = make, after, 2 * threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
        self._waiting: dict[Key, Future[Batch]] = {}

    def __call__(self, key: Key) -> Batch:
        """The batch of a key; keys may come in any order, but fast are those that were foreseen."""
        wanted = self._waiting.pop(key, None) or self._pool.submit(self._make, key)
        foreseen: dict[Key, Future[Batch]] = {}
        following = self._after(key)
        while following is not None and len(foreseen) < self._depth:
            foreseen[following] = self._waiting.pop(following, None) or self._pool.submit(self._make, following)
            following = self._after(following)
        for unused in self._waiting.values():
            unused.cancel()
        self._waiting = foreseen
        return wanted.result()

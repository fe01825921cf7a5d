"""Doing numbered work in several processes and getting the results in order, so that nobody sees how many there are."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from jepawm_envs.errors import DataError

AHEAD = 3
"""Pieces of work that a worker may be ahead of whoever takes the results."""

Result = TypeVar("Result")


def in_order(work: Callable[[int], Result], numbers: Iterable[int], workers: int) -> Generator[Result]:
    """The results of ``work`` for each number, in the order of the numbers.

    Args:
        work: sent to every worker once; what it opens, it should open when first called.
        numbers: what to work on.
        workers: processes; with 1 this one works.

    Raises:
        DataError: if a process died.
    """
    if workers == 1:
        yield from map(work, numbers)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _enter, (work,))
    waiting: deque[Future[Any]] = deque()
    try:
        for number in numbers:
            with _interrupts_ignored():
                waiting.append(pool.submit(_work_on, number))
            if len(waiting) >= workers * AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise DataError(
            "A worker process died (out of memory, or a crash in compiled code). What was finished is kept; "
            "run the same command again, with fewer --workers."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """For the moment in which a worker is started.

    It inherits this: Ctrl-C reaches the whole group and must not stop one that is still loading; the parent decides.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


_work: Callable[[int], Any] | None = None
"""Of a worker process."""


def _enter(work: Callable[[int], Any]) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for systems on which it is not inherited
    _work = work


def _work_on(number: int) -> Any:
    assert _work is not None
    return _work(number)

"""Termination as Ctrl-C: those that manage machines send SIGTERM, and what a sweep has begun must end with it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """While it is entered, SIGTERM raises ``KeyboardInterrupt``, once; more of them change nothing.

    Does nothing outside the main thread, where Python cannot handle signals.

    Raises:
        KeyboardInterrupt: on SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, _interrupt)}
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So shells start what runs in the background. Processes inherit what is ignored, and would not hear the
        # SIGINT that a sweep tells them with; what is handled they begin without.
        before[signal.SIGINT] = signal.signal(signal.SIGINT, _ignore)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, _ignore)  # a second one must not stop the telling of those that run
    raise KeyboardInterrupt


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing, in this process alone."""

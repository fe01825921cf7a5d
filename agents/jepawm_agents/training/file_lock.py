"""One process at a time at a file that several trainings share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jepawm_agents.errors import AgentError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: files are not locked there
    fcntl = None

LOG = logging.getLogger(__name__)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for the same file, and keep others waiting.

    The kernel frees the lock of a killed process. The lock's file stays: removing it would let two in at once.

    Args:
        path: of the file; ``.lock`` is put in the place of its suffix.

    Raises:
        AgentError: if the folder cannot be written, or its disk knows no locks.
    """
    if fcntl is None:
        yield
        return
    lock = path.with_suffix(".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a")
    except OSError as problem:
        raise _unlockable(lock, problem) from None
    with file:
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                LOG.warning("Waiting for another process that writes %s.", path)
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as problem:
            raise _unlockable(lock, problem) from None
        yield


def _unlockable(lock: Path, problem: OSError) -> AgentError:
    return AgentError(f"{lock} cannot be locked ({problem.strerror}); choose another folder.")

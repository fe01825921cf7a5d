"""One process at a time in a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jepawm_bench.errors import UsageError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: folders are not locked there
    fcntl = None

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder``/.lock; the folder is made, and removed again if it is left empty.

    The kernel frees the lock of a killed process; the file that stays behind then hinders nobody.

    Raises:
        UsageError: when another process holds it, or the folder cannot be written.
    """
    if fcntl is None:
        yield
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        file = _acquire(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written ({error.strerror}); choose another folder with --out.") from error
    if file is None:
        raise UsageError(f"{folder} is being written by another process; wait for it, or choose another with --out.")
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        os.close(file)
        with suppress(OSError):  # not empty, as it should be
            for path in made:
                path.rmdir()


def _acquire(folder: Path) -> int | None:
    """A descriptor of the lock file, locked; None when somebody else has it."""
    assert fcntl is not None
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # the folder went away in between
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_ino == os.stat(folder / LOCK).st_ino:
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except FileNotFoundError:  # the holder removed the file before we had it
            pass
        os.close(file)

"""What can go wrong in the harness, each a plain sentence with the exit code it means."""

from __future__ import annotations


class BenchError(Exception):
    """Base of this package's errors; the message says what, where and what to do."""

    exit_code = 1


class UsageError(BenchError, ValueError):
    """A request that cannot be meant: an unknown name, a value out of range, an occupied folder."""

    exit_code = 2


class MissingExtra(BenchError):
    """Something optional that is not installed; the message holds the pip line."""

    @classmethod
    def needed_by(cls, what: str, extra: str, missing: str | None = None) -> MissingExtra:
        """The error for ``what`` (a subject with a capital letter) that lacks an extra, or one module of it."""
        because = f" ({missing} is not installed)" if missing else ""
        return cls(f'{what} needs more packages{because}. Install them: pip install "jepawm-bench[{extra}]"')


class AgentFailed(BenchError):
    """An agent that could not be made, raised an exception, or answered nonsense."""

    def __init__(self, message: str, trace: str = ""):
        super().__init__(message)
        self.trace = trace
        """The agent's traceback, kept for ``error.log``; never printed."""


class DamagedRun(BenchError):
    """A run folder whose files are torn, missing or contradict each other."""


class DamagedManifest(BenchError):
    """A task manifest that is not what its hash says."""

"""What can go wrong with an environment, each a plain sentence."""

from __future__ import annotations

from collections.abc import Collection


class EnvError(Exception):
    """Base of this package's errors; the message says what, where and what to do."""


class InvalidAction(EnvError, ValueError):
    """An action of the wrong shape or with values that are not numbers."""


class InvalidState(EnvError, ValueError):
    """A start or goal state that the environment cannot be in."""


class InvalidOption(EnvError, ValueError):
    """An unknown or impossible argument of an environment or data set."""


class DataError(EnvError):
    """A data set that is missing, damaged or of another format."""


def choose(name: str, value: object, choices: Collection[str]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        InvalidOption: naming the argument, its value and the choices.
    """
    if value not in choices:
        raise InvalidOption(f"{name}={value!r} is not known; choose one of {', '.join(choices)}.")

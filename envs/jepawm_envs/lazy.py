"""Observations whose images are drawn when somebody reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


class Lazy:
    """A value that is computed at its first reading."""

    __slots__ = ("compute",)

    def __init__(self, compute: Callable[[], Any]):
        self.compute = compute


class LazyDict(dict):
    """A dictionary in which :class:`Lazy` values turn into real ones when read.

    A planning agent looks once a plan, so most frames are never drawn. Copies, ``dict(obs)``, pickles and
    comparisons see real values.
    """

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if isinstance(value, Lazy):
            value = value.compute()
            super().__setitem__(key, value)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """The value of ``key``, or ``default``."""
        return self[key] if key in self else default  # noqa: SIM401, this is that method

    def __iter__(self) -> Iterator[str]:  # also keeps dict(obs) off the fast path that would copy Lazy objects
        return super().__iter__()

    def values(self) -> list[Any]:  # type: ignore[override]
        """All values, computed."""
        return [self[key] for key in self]

    def items(self) -> list[tuple[str, Any]]:  # type: ignore[override]
        """All pairs, computed."""
        return [(key, self[key]) for key in self]

    def pop(self, key: str, *default: Any) -> Any:
        """Remove ``key`` and return its value."""
        if key in self:
            self[key]
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        """Remove the last pair and return it, computed."""
        key = next(reversed(self))
        return key, self.pop(key)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of ``key``, set to ``default`` if there is none."""
        super().setdefault(key, default)
        return self[key]

    def copy(self) -> dict[str, Any]:
        """A plain dictionary."""
        return dict(self.items())

    def __eq__(self, other: object) -> bool:
        return self.copy() == (other.copy() if isinstance(other, LazyDict) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __repr__(self) -> str:
        return repr(self.copy())

    def __reduce__(self):
        return LazyDict, (self.copy(),)

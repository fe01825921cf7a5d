"""Turning an unknown name into a helpful sentence."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from jepawm_bench.errors import UsageError


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """An error that names the nearest known names, or all of them.

    Args:
        kind: what the name should have been, ``agent``.
        name: what was asked for.
        known: the names there are.
    """
    names = sorted(known)
    lower = {candidate.lower(): candidate for candidate in names}
    near = [lower[match] for match in get_close_matches(name.lower(), list(lower), n=3, cutoff=0.5)]
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    else:
        hint = f"There are: {', '.join(names)}." if names else "There are none."
    return UsageError(f"Unknown {kind} {name!r}. {hint}")

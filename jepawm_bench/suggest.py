"""Turning an unknown name into a helpful sentence."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

from jepawm_bench.errors import UsageError

SURELY_BETTER = 0.1
"""Lead of the nearest name at which the others are not worth naming; many names share their beginning."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """An error that names the nearest known names, or all of them.

    Args:
        kind: what the name should have been, ``agent``.
        name: what was asked for.
        known: the names there are.
    """
    names = sorted(known)
    lower = {candidate.lower(): candidate for candidate in names}
    matches = get_close_matches(name.lower(), list(lower), n=3, cutoff=0.5)
    likeness = [SequenceMatcher(None, match, name.lower()).ratio() for match in matches]
    near = [lower[match] for match, ratio in zip(matches, likeness, strict=True) if ratio > likeness[0] - SURELY_BETTER]
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    else:
        hint = f"There are: {', '.join(names)}." if names else "There are none."
    return UsageError(f"Unknown {kind} {name!r}. {hint}")

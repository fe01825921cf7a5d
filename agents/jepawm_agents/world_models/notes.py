"""What a file of weights says of how it came about, without saying where things lie on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

PLACES = ("path", "validation", "weights", "cache_folder")
"""Settings of a recipe that may be paths."""


def without_places(notes: Any, key: str = "") -> Any:
    """Notes in which every path has become the bare name of its file or folder: files of weights travel.

    Words such as ``auto`` and ``random`` stay.

    Args:
        notes: tables, lists and plain values.
        key: of the table in which they are.
    """
    if isinstance(notes, Mapping):
        return {name: without_places(value, name) for name, value in notes.items()}
    if isinstance(notes, list | tuple):
        return [without_places(value, key) for value in notes]
    if isinstance(notes, str) and (key in PLACES or _is_place(notes)):
        return PureWindowsPath(notes).name if "\\" in notes else Path(notes).name
    return notes


def _is_place(text: str) -> bool:
    return text.startswith("~") or Path(text).is_absolute() or PureWindowsPath(text).is_absolute()

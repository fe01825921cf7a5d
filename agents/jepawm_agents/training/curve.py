"""The curve of a stage: a row wherever figures were taken, kept as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CLOCK = ("step", "seconds")


def write_curve(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write all rows; a figure that a row does not have is left empty."""
    names = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(names), restval="")
        writer.writeheader()
        writer.writerows(rows)


def latest(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The figures of the last row, without its clock."""
    row: Mapping[str, Any] = rows[-1] if rows else {}
    return {name: value for name, value in row.items() if name not in CLOCK}

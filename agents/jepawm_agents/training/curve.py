"""The curve of a stage, kept as CSV: the loss every ``log_every`` steps, and further figures where they were taken."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from jepawm_bench.files import write_atomic

CLOCK = ("step", "seconds")


def write_curve(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write all rows; a figure that a row does not have is left empty."""
    names = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(names), restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


def latest(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The last value of every figure, without the clock."""
    return {name: value for row in rows for name, value in row.items() if name not in CLOCK}

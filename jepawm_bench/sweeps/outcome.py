"""What came out of a sweep, a row a cell."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OF_A_RUN = ("n", "success_rate", "ci_low", "ci_high", "success_any_rate", "median_final_distance", "plan_seconds_mean")
TABLE = "table.csv"


def figures_of(folder: Path) -> dict[str, Any]:
    """Figures of one cell: of a run those of its summary, of a training the last row of its last curve."""
    summary = folder / "summary.json"
    if summary.is_file():
        found = json.loads(summary.read_text())
        return {name: found.get(name) for name in OF_A_RUN}
    curves = sorted(folder.glob("*.csv"), key=lambda path: path.stat().st_mtime)
    if not curves:
        return {}
    with curves[-1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    return dict(rows[-1]) if rows else {}


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write rows of unequal columns as CSV; the names of all columns."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return columns

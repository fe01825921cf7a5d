"""Put tables of ``leaderboards/`` into the README: the shipped agents' headline rows, and Wall with fewer columns.

``python docs/readme_table.py`` writes, ``--check`` exits 1 if the README differs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from jepawm_bench.leaderboard import REFERENCE, Row, measured_rows, read_runs, reference_rows, tables, trainings
from jepawm_bench.leaderboard_page import ALIGN, COLUMNS, markdown_cells, table, trials

ROOT = Path(__file__).resolve().parent.parent
BOARD = ROOT / "leaderboards"
SLOT = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
HEADLINES = (
    "wall/paper",
    "point-maze/paper",
    "push-t/paper",
    "two-rooms/paper",
    "metaworld/paper/reach",
    "metaworld/paper/reach-wall",
)
"""Folders below ``leaderboards``, in the order of the table."""
WALL_COLUMNS = ("agent", "kind", "n", "success %", "95 % interval", "strict %", "plan s/episode")
MAIN = ("default", "compact")
"""Variants that a bare name means; others are trainings with other seeds, which the headline sums up."""


def paper_rows(folder: str) -> list[Row]:
    """Measured and published rows of protocol ``paper``, best first."""
    measured = measured_rows(read_runs(BOARD / folder))
    published = reference_rows(BOARD / "reference" / "published.csv")
    return tables([*measured, *published])[measured[0].env, "paper"]


def wall() -> str:
    """Every agent on Wall, one training each."""
    places = [COLUMNS.index(column) for column in WALL_COLUMNS]
    rows = [row for row in paper_rows("wall/paper") if row.kind == REFERENCE or row.variant in MAIN]
    body = [[printed[place] for place in places] for printed in (markdown_cells(row, None) for row in rows)]
    return table(WALL_COLUMNS, [ALIGN[place] for place in places], body)


def headline() -> str:
    """One row for every shipped agent on every environment."""
    body = []
    for folder in HEADLINES:
        rows = paper_rows(folder)
        for row in rows:
            if row.kind == "agent" and row.variant in MAIN:
                env = row.env.removeprefix("JepaWM/")
                body.append([env, row.agent, trials(row), f"{row.success:.1f}", row.spread, *_beside(row, rows)])
    heading = ("environment", "agent", "n", "success %", "95 % interval", "trainings", "published %", "straight line %")
    return table(heading, ("---", "---", "--:", "--:", "---", "---", "--:", "--:"), body)


def _beside(row: Row, rows: Sequence[Row]) -> list[str]:
    """Other trainings of the agent, the best published figure of the same method, the floor."""
    group = next((group for group in trainings(rows) if row in group), [row])
    published = [other for other in rows if other.kind == REFERENCE and row.agent.startswith(_family(other.agent))]
    floor = next(other for other in rows if other.agent == "straight_line")
    return [
        ", ".join(f"{other.success:.1f}" for other in group) if len(group) > 1 else "one",
        f"{published[0].success:.1f} {published[0].spread}" if published else "",
        f"{floor.success:.1f}",
    ]


def _family(published: str) -> str:
    """How the names of our agents of a published method begin."""
    return published.lower().replace("-", "_") + "_"


TABLES = {"wall": wall, "headline": headline}


def filled(readme: str) -> str:
    """The README with the tables in their slots."""
    return SLOT.sub(lambda match: f"{match.group(1)}{TABLES[match.group(2)]()}\n{match.group(3)}", readme)


if __name__ == "__main__":
    path = ROOT / "README.md"
    before = path.read_text()
    after = filled(before)
    if "--check" in sys.argv[1:]:
        sys.exit(0 if after == before else "README.md: the table differs; run python docs/readme_table.py")
    path.write_text(after)

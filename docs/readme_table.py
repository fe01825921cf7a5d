"""Put tables of ``leaderboards/`` into the README: the shipped agents' headline rows, and Wall with fewer columns.

``python docs/readme_table.py`` writes, ``--check`` exits 1 if the README differs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from jepawm_bench.leaderboard import REFERENCE, Row, measured_rows, read_runs, reference_rows, trainings
from jepawm_bench.leaderboard_page import number, table, trials

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
MAIN = ("default", "compact")
"""Variants that a bare name means; others are trainings with other seeds, which the headline sums up."""


def paper_rows(folder: str) -> list[Row]:
    """Measured and published rows of protocol ``paper``, best first."""
    rows = measured_rows(read_runs(BOARD / folder))
    published = reference_rows(BOARD / "reference" / "published.csv")
    rows += [row for row in published if (row.env, row.protocol) == (rows[0].env, "paper")]
    return sorted(rows, key=lambda row: (-row.success, row.agent, row.variant))


def wall() -> str:
    """Every agent on Wall, one training each."""
    body = [
        [
            f"*{row.agent}*" if row.kind == REFERENCE else row.agent,
            row.kind,
            trials(row),
            f"{row.success:.1f}",
            row.spread,
            number(row.strict, 1),
            number(row.plan_seconds, 2),
        ]
        for row in paper_rows("wall/paper")
        if row.kind == REFERENCE or row.variant in MAIN
    ]
    heading = ("agent", "kind", "n", "success %", "95 % interval", "strict %", "plan s/episode")
    return table(heading, ("---", "---", "--:", "--:", "---", "--:", "--:"), body)


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
    family = row.agent.rsplit("_", 1)[0].replace("eb_jepa_two", "eb_jepa")
    published = [other for other in rows if other.kind == REFERENCE and _family(other.agent) == family]
    floor = next(other for other in rows if other.agent == "straight_line")
    return [
        ", ".join(f"{other.success:.1f}" for other in group) if len(group) > 1 else "one",
        f"{published[0].success:.1f} {published[0].spread}" if published else "",
        f"{floor.success:.1f}",
    ]


def _family(published: str) -> str:
    return published.lower().replace("-", "_")


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

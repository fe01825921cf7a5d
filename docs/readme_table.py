"""Put the paper-protocol table of ``leaderboards/wall.md`` into the README, fewer columns.

``python docs/readme_table.py`` writes, ``--check`` exits 1 if the README differs.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ("agent", "kind", "n", "success %", "95 % interval", "strict %", "plan s/episode")
SLOT = re.compile(r"(<!-- table: wall paper -->\n).*?(<!-- end of table -->)", re.DOTALL)


def short_table(page: str, protocol: str) -> str:
    """The table of one protocol of a leaderboard page, reduced to :data:`COLUMNS`."""
    section = page.split(f"## Protocol `{protocol}`")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    places = [rows[0].index(column) for column in COLUMNS]
    return "".join("| " + " | ".join(row[place] for place in places) + " |\n" for row in rows)


def filled(readme: str) -> str:
    """The README with the table in its slot."""
    table = short_table((ROOT / "leaderboards" / "wall.md").read_text(), "paper")
    return SLOT.sub(lambda match: match.group(1) + table + match.group(2), readme)


if __name__ == "__main__":
    path = ROOT / "README.md"
    before = path.read_text()
    after = filled(before)
    if "--check" in sys.argv[1:]:
        sys.exit(0 if after == before else "README.md: the table differs; run python docs/readme_table.py")
    path.write_text(after)

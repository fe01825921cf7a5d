"""The generated page of one environment: ``leaderboards/<env>.md``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jepawm_bench.leaderboard import REFERENCE, Row, ranks
from jepawm_bench.protocols import find_protocol, short_name

COLUMNS = (
    "rank", "agent", "variant", "kind", "n", "success %", "95 % interval", "any time %", "strict %",
    "median distance", "plan s/episode", "seeds",
)  # fmt: skip
ALIGN = ("--:", "---", "---", "---", "--:", "--:", "---", "--:", "--:", "--:", "--:", "---", "---")


def cells(row: Row, rank: int | None) -> list[str]:
    """What is printed of a row, in the order of :data:`COLUMNS`."""
    return [
        "" if rank is None else str(rank),
        row.agent,
        row.variant,
        row.kind,
        _trials(row),
        f"{row.success:.1f}",
        row.spread,
        _number(row.any_time, 1),
        _number(row.strict, 1),
        _number(row.distance, 2),
        _number(row.plan_seconds, 2),
        ", ".join(map(str, row.seeds)),
    ]


def page(env_id: str, by_protocol: dict[str, list[Row]], root: Path) -> str:
    """The Markdown text.

    Args:
        env_id: whose page it is.
        by_protocol: rows of each table, best first.
        root: the folder the page lies in, for links.
    """
    parts = [
        f"# {env_id}",
        f"Generated from the run folders in `{short_name(env_id)}/` by `jepawm-bench leaderboard --write`; "
        "CI checks that it is current. Intervals are Wilson's, over the distinct tasks of the row; floors, ceilings, "
        "published figures and rows with fewer episodes than the protocol's (partial) are not ranked. Published "
        "figures: success in percent ± the paper's standard deviation over epochs and seeds, read from "
        "`reference/published.csv`.",
    ]
    for protocol, rows in by_protocol.items():
        parts += [f"## Protocol `{protocol}`", *_summary(env_id, protocol), _table(rows, root), _commands(rows)]
    return "\n\n".join(parts) + "\n"


def _summary(env_id: str, protocol: str) -> list[str]:
    name = protocol.partition(" ")[0]
    return [find_protocol(name, env_id).summary]


def _table(rows: Sequence[Row], root: Path) -> str:
    lines = [(*COLUMNS, "runs"), ALIGN]
    for row, rank in zip(rows, ranks(rows), strict=True):
        printed = cells(row, rank)
        if row.kind == REFERENCE:
            printed[1] = f"*{row.agent}*"
        links = ", ".join(
            f"[seed {seed}]({path.relative_to(root).as_posix()})"
            for seed, path in zip(row.seeds, row.runs, strict=True)
        )
        lines.append((*printed, links))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _commands(rows: Sequence[Row]) -> str:
    commands = [command for row in rows for command in row.commands]
    return "\n".join(["```sh", *commands, "```"])


def _trials(row: Row) -> str:
    """``200``, ``200 x 3`` where three seeds played the same tasks, ``20 (partial)``."""
    text = str(row.n) if row.repeats == 1 else f"{row.n} x {row.repeats}"
    return f"{text} (partial)" if row.partial else text


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"

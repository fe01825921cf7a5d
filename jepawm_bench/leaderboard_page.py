"""The generated page of one environment: ``leaderboards/<env>.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from jepawm_bench.leaderboard import REFERENCE, Row, ranks, trainings
from jepawm_bench.protocols import find_protocol, short_name
from jepawm_bench.statistics import stratified_bootstrap

COLUMNS = (
    "rank", "agent", "variant", "kind", "n", "success %", "95 % interval", "any time %", "strict %",
    "median distance", "evaluations", "plan s/episode", "seeds",
)  # fmt: skip
ALIGN = ("--:", "---", "---", "---", "--:", "--:", "---", "--:", "--:", "--:", "--:", "--:", "---", "---")


def cells(row: Row, rank: int | None) -> list[str]:
    """What is printed of a row, in the order of :data:`COLUMNS`."""
    return [
        "" if rank is None else str(rank),
        row.agent,
        row.variant,
        row.kind,
        trials(row),
        f"{row.success:.1f}",
        row.spread,
        number(row.any_time, 1),
        number(row.strict, 1),
        number(row.distance, 2),
        number(row.evaluations, 0),
        number(row.plan_seconds, 2),
        ", ".join(map(str, row.seeds)),
    ]


def markdown_cells(row: Row, rank: int | None) -> list[str]:
    """:func:`cells` with published agents in italics."""
    printed = cells(row, rank)
    if row.kind == REFERENCE:
        printed[1] = f"*{row.agent}*"
    return printed


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
        "`reference/published.csv`. Evaluations: candidate action sequences scored in an episode, mean.",
    ]
    for protocol, rows in by_protocol.items():
        parts += [f"## Protocol `{protocol}`", *_summary(env_id, protocol), _table(rows, root)]
        parts += [*_trainings(rows), commands(rows)]
    return "\n\n".join(parts) + "\n"


def family_page(name: str, tables: Mapping[tuple[str, str], list[Row]], root: Path) -> str:
    """The Markdown text of a benchmark of many environments.

    Args:
        name: of the benchmark.
        tables: rows by (environment, protocol), best first.
        root: the folder the page lies in, for links.
    """
    parts = [
        f"# {name.capitalize()}",
        f"Generated from the run folders in `{name}/` by `jepawm-bench leaderboard --write`; CI checks that it is "
        "current. Success in percent at the end of an episode / at any time in it, in brackets the number of tasks "
        "where it is less than the protocol's. The last line is the mean of the first figure over environments, each "
        "with the same weight, with the 95 % interval of a bootstrap stratified by environment. Evaluations: candidate "
        "action sequences scored in an episode, mean.",
    ]
    for protocol in dict.fromkeys(protocol for _, protocol in tables):
        by_env = {env: rows for (env, other), rows in tables.items() if other == protocol}
        parts += [f"## Protocol `{protocol}`", *_summary(next(iter(by_env)), protocol), _matrix(by_env)]
    for (env, protocol), rows in tables.items():
        if any(row.kind in ("agent", REFERENCE) for row in rows):
            parts += [f"## {env}, protocol `{protocol}`", _table(rows, root), *_trainings(rows)]
    parts += ["## Commands", "One of every agent; change `--env` for the others.", commands(_one_each(tables))]
    return "\n\n".join(parts) + "\n"


def _matrix(by_env: Mapping[str, list[Row]]) -> str:
    """Environments down, agents across."""
    agents = sorted(
        {(row.kind, row.agent, row.variant) for rows in by_env.values() for row in rows if row.kind != REFERENCE},
        key=lambda agent: (("agent", "ceiling", "floor").index(agent[0]), *agent[1:]),
    )
    columns = [
        {env: row for env, rows in by_env.items() for row in rows if (row.kind, row.agent, row.variant) == agent}
        for agent in agents
    ]
    lines = [[env, *(_success(column.get(env)) for column in columns)] for env in sorted(by_env)]
    lines.append([f"mean of {len(by_env)}", *(_mean(column, len(by_env)) for column in columns)])
    lines.append(["evaluations an episode", *(_evaluations(column) for column in columns)])
    return table(["environment", *(_title(agent) for agent in agents)], ["---", *("--:" for _ in agents)], lines)


def _title(agent: tuple[str, str, str]) -> str:
    kind, name, variant = agent
    shown = name if variant == "default" else f"{name}@{variant}"
    return shown if kind == "agent" else f"{shown} ({kind})"


def _success(row: Row | None) -> str:
    if row is None:
        return ""
    any_time = "" if row.any_time is None else f" / {row.any_time:.1f}"
    return f"{row.success:.1f}{any_time} ({row.n})" if row.partial else f"{row.success:.1f}{any_time}"


def _mean(column: Mapping[str, Row], environments: int) -> str:
    """The mean over environments with its interval; how many there are where some are missing."""
    rows = list(column.values())
    sizes = np.cumsum([len(row.outcomes) for row in rows])[:-1]

    def mean(outcomes: NDArray[np.float64]) -> float:
        return float(np.mean([part.mean() for part in np.split(outcomes, sizes)]))

    outcomes = np.concatenate([row.outcomes for row in rows])
    strata = [index for index, row in enumerate(rows) for _ in row.outcomes]
    low, high = stratified_bootstrap(outcomes, strata, np.random.default_rng(0), statistic=mean)
    missing = "" if len(column) == environments else f", {len(column)} environments"
    return f"{100 * mean(outcomes):.1f} ({100 * low:.1f} to {100 * high:.1f}{missing})"


def _evaluations(column: Mapping[str, Row]) -> str:
    return number(float(np.mean([row.evaluations or 0.0 for row in column.values()])), 0)


def _one_each(tables: Mapping[tuple[str, str], list[Row]]) -> list[Row]:
    """The first row of every agent and protocol."""
    first: dict[tuple[str, str, str], Row] = {}
    for (_, protocol), rows in sorted(tables.items()):
        for row in rows:
            if row.commands:
                first.setdefault((protocol, row.agent, row.variant), row)
    return list(first.values())


def _summary(env_id: str, protocol: str) -> list[str]:
    name = protocol.partition(" ")[0]
    return [find_protocol(name, env_id).summary]


def _table(rows: Sequence[Row], root: Path) -> str:
    body = [[*markdown_cells(row, rank), links(row, root)] for row, rank in zip(rows, ranks(rows), strict=True)]
    return table((*COLUMNS, "runs"), ALIGN, body)


def _trainings(rows: Sequence[Row]) -> list[str]:
    """Agents that were trained several times, with the spread that the seed of training makes."""
    body = []
    for group in trainings(rows):
        success = [row.success for row in group]
        spread = f"{fmean(success):.1f} ± {stdev(success):.1f}"
        ends = f"{min(success):.1f} to {max(success):.1f}"
        body.append([group[0].agent, str(len(group)), spread, ends, ", ".join(sorted(row.variant for row in group))])
    if not body:
        return []
    heading = ("agent", "trainings", "success %", "lowest to highest", "variants")
    caption = "Over seeds of training, mean ± standard deviation; the tasks are the same."
    return [caption, table(heading, ("---", "--:", "--:", "--:", "---"), body)]


def table(heading: Sequence[str], align: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, align, *body))


def links(row: Row, root: Path) -> str:
    """The run folders of a row, as a page in ``root`` links to them."""
    return ", ".join(
        f"[seed {seed}]({path.relative_to(root).as_posix()})" for seed, path in zip(row.seeds, row.runs, strict=True)
    )


def commands(rows: Sequence[Row]) -> str:
    """The commands that repeat the runs of the rows, as a block."""
    return "\n".join(["```sh", *(command for row in rows for command in row.commands), "```"])


def trials(row: Row) -> str:
    """``200``, ``200 x 3`` where three seeds played the same tasks, ``20 (partial)``."""
    text = str(row.n) if row.repeats == 1 else f"{row.n} x {row.repeats}"
    return f"{text} (partial)" if row.partial else text


def number(value: float | None, digits: int) -> str:
    """A figure of a table, empty where there is none."""
    return "" if value is None else f"{value:.{digits}f}"

"""Leaderboards: run folders in, ranked rows out. Every figure is computed from episode records."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TypeVar

from jepawm_bench.canonical import canonical_json
from jepawm_bench.errors import DamagedRun, UsageError
from jepawm_bench.protocols import find_protocol
from jepawm_bench.results import EpisodeRecord
from jepawm_bench.statistics import wilson
from jepawm_bench.verify import Claims, read_claims

T = TypeVar("T")

REFERENCE = "published"
"""Kind of the rows that come from papers."""


@dataclass(frozen=True)
class Row:
    """One line of a table: an agent, all its seeds together, or a published figure."""

    env: str
    protocol: str
    """Name, and the split where it is not the test split."""
    agent: str
    variant: str
    """Variant and overridden settings; for a published figure planner and source."""
    kind: str
    """``agent``, ``floor``, ``ceiling`` or ``published``. Only agents are ranked."""
    n: int
    """Distinct tasks."""
    success: float
    """Percent."""
    spread: str
    """Wilson interval at 95 % with one trial a task, or what the paper gives."""
    any_time: float | None = None
    strict: float | None = None
    """Percent by the strictest predicate at the end; None where there is only one predicate."""
    distance: float | None = None
    """Median final distance."""
    evaluations: float | None = None
    """Mean number of candidate action sequences that an episode's plans scored."""
    plan_seconds: float | None = None
    seeds: tuple[int, ...] = ()
    runs: tuple[Path, ...] = ()
    commands: tuple[str, ...] = ()
    repeats: int = 1
    """Times each task was played, where the seeds share the tasks."""
    outcomes: tuple[float, ...] = ()
    """Success of every distinct task, 0 to 1."""
    unranked: bool = False
    """Whether the agent says that it is not what its name promises, such as one with a random encoder."""
    partial: bool = False
    """Whether there are fewer episodes than the protocol asks for; such a row is not ranked."""
    recipe: str = ""
    """What rows share that differ in their trained weights alone: settings without ``weights``, seeds, episodes. Empty
    where the command chose the weights, of which nobody knows the training."""


def read_runs(folder: Path) -> list[tuple[Path, Claims]]:
    """Every finished run below a folder, sorted by path.

    Raises:
        UsageError: when there is no such folder.
        DamagedRun: when one cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give one that holds run folders.")
    return [(path.parent, read_claims(path.parent)) for path in sorted(folder.rglob("summary.json"))]


def measured_rows(runs: Sequence[tuple[Path, Claims]]) -> list[Row]:
    """One row for each agent, variant, weights, settings, number of episodes and protocol, seeds pooled.

    A task that several seeds played counts once, with the mean of its outcomes: the seeds of a frozen list share
    all tasks, and the published seed rule gives some tasks to several seeds.

    Raises:
        UsageError: when a seed appears twice in a row.
    """
    groups: dict[tuple[str, ...], list[tuple[Path, Claims]]] = {}
    for path, claims in runs:
        spec = claims.spec
        label = f"{claims.label} (unranked)" if claims.unranked else claims.label
        shown = (spec.env, _protocol(claims), spec.agent, label)
        hidden = (str(claims.identity.get("weights_sha256")), canonical_json(spec.settings), str(spec.episodes))
        groups.setdefault((*shown, *hidden), []).append((path, claims))
    return [_row(key, sorted(group, key=lambda run: run[1].spec.seed)) for key, group in groups.items()]


def reference_rows(file: Path) -> list[Row]:
    """The published figures; none when there is no such file.

    Raises:
        DamagedRun: when a column is missing or a figure is no number.
    """

    def row(line: Mapping[str, str]) -> Row:
        return Row(
            env=line["env"],
            protocol=line["protocol"],
            agent=line["agent"],
            variant=f"{line['planner']}; {line['source']}",
            kind=REFERENCE,
            n=int(line["episodes"]),
            success=float(line["success_percent"]),
            spread=f"± {float(line['std']):.1f}",
        )

    return read_published(file, "published figures", row)


def read_published(file: Path, content: str, read: Callable[[Mapping[str, str]], T]) -> list[T]:
    """What ``read`` makes of every line of a table (CSV); none when there is no such file.

    Raises:
        DamagedRun: when a column is missing or a figure is no number; it names the ``content``.
    """
    if not file.is_file():
        return []
    with open(file, encoding="utf-8", newline="") as lines:
        try:
            return [read(line) for line in csv.DictReader(lines)]
        except (KeyError, ValueError, TypeError) as error:
            raise DamagedRun(f"{file} is not a table of {content} ({error}).") from error


def tables(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by (environment, protocol), best first; tables with published rows alone are left out."""
    keys = sorted({(row.env, row.protocol) for row in rows if row.kind != REFERENCE})
    return {
        key: sorted(
            (row for row in rows if (row.env, row.protocol) == key),
            key=lambda row: (-row.success, row.agent, row.variant),
        )
        for key in keys
    }


def ranks(rows: Sequence[Row]) -> list[int | None]:
    """Place of each row among the agents; equal rates share a place."""
    return [
        1 + sum(_ranked(other) and other.success > row.success for other in rows) if _ranked(row) else None
        for row in rows
    ]


def trainings(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one table that are several trainings of one agent: every setting equal but the weights."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if _ranked(row) and row.recipe:
            groups.setdefault((row.agent, row.recipe), []).append(row)
    return [group for group in groups.values() if len(group) > 1]


def _ranked(row: Row) -> bool:
    return row.kind == "agent" and not row.partial and not row.unranked


def _protocol(claims: Claims) -> str:
    split = claims.spec.split
    return claims.spec.protocol if split in (None, "test") else f"{claims.spec.protocol} ({split})"


def _row(key: tuple[str, ...], runs: Sequence[tuple[Path, Claims]]) -> Row:
    env, protocol, agent, label = key[:4]
    seeds = tuple(claims.spec.seed for _, claims in runs)
    if len(set(seeds)) != len(seeds):
        raise UsageError(
            f"Two runs of {agent}@{label} on {env}, {protocol}, have the same seed: "
            f"{', '.join(str(path) for path, _ in runs)}. Keep one of them."
        )
    records: list[EpisodeRecord] = [record for _, claims in runs for record in claims.records]
    names, spec = list(records[0].predicates), runs[0][1].spec
    rules = find_protocol(spec.protocol, spec.env)
    success = by_task(records, lambda record: record.success)
    low, high = wilson(sum(success), len(success))
    strict = by_task(records, lambda record: record.predicates[names[-1]].final) if len(names) > 1 else None
    return Row(
        env=env,
        protocol=protocol,
        agent=agent,
        variant=label,
        kind=spec.kind,
        n=len(success),
        success=100 * fmean(success),
        spread=f"{100 * low:.1f} to {100 * high:.1f}",
        any_time=100 * fmean(by_task(records, lambda record: record.success_any)),
        strict=100 * fmean(strict) if strict is not None else None,
        distance=median(record.final_distance for record in records),
        evaluations=fmean(record.model_evaluations for record in records),
        plan_seconds=fmean(record.plan_seconds for record in records),
        seeds=seeds,
        runs=tuple(path for path, _ in runs),
        commands=tuple(claims.spec.command for _, claims in runs),
        repeats=len(runs) if rules.frozen else 1,
        outcomes=tuple(success),
        unranked=any(claims.unranked for _, claims in runs),
        partial=spec.episodes < rules.episodes,
        recipe="" if spec.weights else canonical_json([{**spec.settings, "weights": None}, seeds, spec.episodes]),
    )


def by_task(records: Sequence[EpisodeRecord], outcome: Callable[[EpisodeRecord], bool]) -> list[float]:
    """The share of a task's episodes with an outcome, for every distinct task (start and goal)."""
    groups: dict[tuple[tuple[float, ...], ...], list[bool]] = {}
    for record in records:
        groups.setdefault((record.init_state, record.goal_state), []).append(outcome(record))
    return [fmean(outcomes) for outcomes in groups.values()]

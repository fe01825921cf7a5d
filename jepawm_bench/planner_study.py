"""The planner study: the same agents with other planners and budgets, apart from the ranked tables.

Its runs lie in ``<environment>/planners/`` of a leaderboards folder and fill the page ``planners.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jepawm_bench.errors import UsageError
from jepawm_bench.leaderboard import Row, measured_rows, read_published
from jepawm_bench.settings import flatten
from jepawm_bench.verify import Claims

FOLDER = "planners"
"""Name of the folder, one an environment, that holds the runs of the study."""
BUDGET = "max_evaluations"
"""The planner setting that makes compute equal."""

Run = tuple[Path, Claims]


class Group(NamedTuple):
    """What rows must share to be comparable."""

    env: str
    protocol: str
    agent: str
    variant: str
    weights: str | None
    """SHA-256 of the agent's weights; None for an agent without."""

    @property
    def player(self) -> str:
        """Who plans, and with which weights: ``jepa_wm_wall@compact, weights=1a2b3c4d``."""
        weights = f", weights={self.weights[:8]}" if self.weights else ""
        return f"{self.agent}@{self.variant}{weights}"


@dataclass(frozen=True)
class PlannerRow:
    """A planner with one setting, all its seeds together."""

    row: Row
    variant: str
    """Of the agent, without what was overridden."""
    planner: str
    budget: str
    """``max_evaluations=1000`` where one was set, else empty."""
    changes: str
    """What else was overridden, such as ``population_decay=1.0``; empty for the planner's own settings."""
    objective: str | None
    """Name of the agent's objective, if it has one."""
    weights: str | None = None
    """SHA-256 of the agent's weights, if it has some."""

    @property
    def setting(self) -> str:
        """All that was overridden, or ``default``."""
        return ", ".join(filter(None, (self.budget, self.changes))) or "default"


@dataclass(frozen=True)
class Published:
    """A row of a paper's planner table."""

    env: str
    protocol: str
    agent: str
    planner: str
    """The name that this suite has for what the paper's planner does."""
    title: str
    """The paper's name of planner and objective."""
    objective: str
    success: float
    """Percent."""
    std: float
    evaluations: int
    """Counted as this suite does: one a candidate, two a gradient step."""
    source: str


def split_runs(runs: Sequence[Run], root: Path) -> tuple[list[Run], list[Run]]:
    """The runs of the ranked tables, and those of the study."""
    study = [run for run in runs if FOLDER in run[0].relative_to(root).parts[:-1]]
    return [run for run in runs if run not in study], study


def planner_rows(runs: Sequence[Run]) -> list[PlannerRow]:
    """One row for each environment, protocol, agent, planner and setting, best first.

    Raises:
        UsageError: for a run that its agent does not rank or whose agent has no planner, or a seed that appears twice
            in a row.
    """
    claims = dict(runs)
    rows = [_planner_row(row, claims[row.runs[0]]) for row in measured_rows(runs)]
    return sorted(rows, key=lambda entry: (-entry.row.success, entry.row.agent, entry.planner, entry.setting))


def groups(rows: Sequence[PlannerRow]) -> dict[Group, list[PlannerRow]]:
    """Rows by environment, protocol, agent, variant and weights; only rows of one group are comparable."""
    found: dict[Group, list[PlannerRow]] = {}
    for entry in sorted(rows, key=lambda entry: tuple(part or "" for part in _group(entry))):
        found.setdefault(_group(entry), []).append(entry)
    return found


def equal_budgets(rows: Sequence[PlannerRow]) -> list[int]:
    """The numbers of evaluations an episode that two planners or more have spent, ascending."""
    planners: dict[float, set[str]] = {}
    for entry in rows:
        planners.setdefault(entry.row.evaluations or 0.0, set()).add(entry.planner)
    return sorted(int(spent) for spent, names in planners.items() if len(names) > 1 and spent == int(spent))


def published_planners(file: Path) -> list[Published]:
    """The planner tables of papers; none when there is no such file.

    Raises:
        DamagedRun: when a column is missing or a figure is no number.
    """

    def row(line: Mapping[str, str]) -> Published:
        return Published(
            env=line["env"],
            protocol=line["protocol"],
            agent=line["agent"],
            planner=line["name_here"],
            title=line["planner"],
            objective=line["objective"],
            success=float(line["success_percent"]),
            std=float(line["std"]),
            evaluations=int(line["evaluations"]),
            source=line["source"],
        )

    return read_published(file, "published planners", row)


def _planner_row(row: Row, claims: Claims) -> PlannerRow:
    settings = claims.spec.settings
    if claims.unranked:
        raise UsageError(
            f"{row.runs[0]} lies among the runs of the planner study, but its agent says that it is no result to rank: "
            f"{claims.unranked.rstrip('.')}. Move it out of the leaderboards folder."
        )
    if "name" not in settings.get("planner", {}):
        raise UsageError(
            f"{row.runs[0]} lies among the runs of the planner study, but {row.agent} has no planner; "
            "move it into the folder of its protocol."
        )
    changed = {key.removeprefix("planner."): value for key, value in flatten(claims.spec.overrides).items()}
    changed.pop("name", None)
    budget = changed.pop(BUDGET, None)
    return PlannerRow(
        row=row,
        variant=claims.spec.variant,
        planner=settings["planner"]["name"],
        budget="" if budget is None else f"{BUDGET}={budget}",
        changes=", ".join(f"{key}={value}" for key, value in changed.items()),
        objective=settings.get("objective", {}).get("name"),
        weights=claims.identity.get("weights_sha256"),
    )


def _group(entry: PlannerRow) -> Group:
    return Group(entry.row.env, entry.row.protocol, entry.row.agent, entry.variant, entry.weights)

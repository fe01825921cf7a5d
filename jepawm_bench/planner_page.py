"""The generated page of the planner study: ``leaderboards/planners.md``."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from jepawm_bench.leaderboard_page import commands, links, number, table, trials
from jepawm_bench.planner_study import PlannerRow, Published, equal_budgets, groups
from jepawm_bench.protocols import find_protocol

T = TypeVar("T", bound=Hashable)

COLUMNS = (
    "planner", "setting", "n", "success %", "95 % interval", "evaluations", "plan s/episode", "median distance",
)  # fmt: skip
ALIGN = ("---", "---", "--:", "--:", "---", "--:", "--:", "--:")

INTRODUCTION = (
    "Generated from the run folders in `<environment>/planners/` by `jepawm-bench leaderboard --write`; CI checks that "
    "it is current. One agent plays the same tasks with each planner, at the planner's own settings and at others; "
    "what a setting means stands in [docs/planners.md](../docs/planners.md). Intervals are Wilson's, at 95 %, over "
    "distinct tasks. Evaluations: candidate action sequences scored in an episode, mean; a gradient step counts two, "
    "since the way back through the model costs about what the way forward does. Seconds are of the clock, on one core "
    "of the machine that the run folder names; what else it had to do is in them, so compare compute by evaluations."
)


def cells(entry: PlannerRow) -> list[str]:
    """What is printed of a row, in the order of :data:`COLUMNS`."""
    row = entry.row
    return [
        entry.planner,
        entry.setting,
        trials(row),
        number(row.success, 1),
        row.spread,
        number(row.evaluations, 0),
        number(row.plan_seconds, 2),
        number(row.distance, 2),
    ]


def planner_page(rows: Sequence[PlannerRow], published: Sequence[Published], root: Path) -> str:
    """The Markdown text.

    Args:
        rows: of all environments and agents, best first.
        published: planner tables of papers.
        root: the folder the page lies in, for links.
    """
    parts = ["# Planners", INTRODUCTION]
    for key, group in groups(rows).items():
        parts += [
            f"## {key.env}, protocol `{key.protocol}`, {key.player}",
            find_protocol(key.protocol.partition(" ")[0], key.env).summary,
            _every_setting(group, root),
            *_equal_compute(group),
            *_as_published([one for one in published if (one.env, one.protocol) == key[:2]], group),
            "### Commands",
            commands([entry.row for entry in group]),
        ]
    return "\n\n".join(parts) + "\n"


def _every_setting(rows: Sequence[PlannerRow], root: Path) -> str:
    return table((*COLUMNS, "runs"), (*ALIGN, "---"), [[*cells(entry), links(entry.row, root)] for entry in rows])


def _equal_compute(rows: Sequence[PlannerRow]) -> list[str]:
    """Planners down, evaluations an episode across; nothing where no two planners spent the same."""
    budgets = equal_budgets(rows)
    if not budgets:
        return []
    spent = [entry for entry in rows if entry.row.evaluations in budgets]
    lines = {
        (entry.planner, entry.changes): {
            int(other.row.evaluations or 0): other
            for other in reversed(spent)  # of several that spent the same, the best
            if (other.planner, other.changes) == (entry.planner, entry.changes)
        }
        for entry in spent
    }
    body = [
        [planner, changes or "default", *(_rate(found.get(budget)) for budget in budgets)]
        for (planner, changes), found in sorted(lines.items())
    ]
    heading = ("planner", "other settings", *(f"{budget:,} evaluations" for budget in budgets))
    return [
        "### Equal compute",
        "Success in percent, with its interval, of the rows above that spent the same number of evaluations.",
        table(heading, ("---", "---", *("--:" for _ in budgets)), body),
    ]


def _as_published(published: Sequence[Published], rows: Sequence[PlannerRow]) -> list[str]:
    """Published planners down, their agents and ours across; nothing where nothing is published."""
    if not published:
        return []
    agents = _unique(one.agent for one in published)
    body = []
    for title, objective in _unique((one.title, one.objective) for one in published):
        found = {one.agent: one for one in published if (one.title, one.objective) == (title, objective)}
        some = next(iter(found.values()))
        here = [entry for entry in rows if (entry.planner, entry.objective) == (some.planner, some.objective)]
        own = next((entry for entry in here if entry.setting == "default"), None)
        rates = [f"{found[agent].success:.1f} ± {found[agent].std:.1f}" if agent in found else "" for agent in agents]
        body.append([title, objective, f"{some.evaluations:,}", *rates, some.planner, _rate(own)])
    sources = ", ".join(_unique(one.source for one in published))
    heading = ("planner", "objective", "evaluations", *(f"*{agent}*" for agent in agents), "here", "success here")
    align = ("---", "---", "--:", *("--:" for _ in agents), "---", "--:")
    return [
        "### As published",
        f"{sources}: success in percent ± standard deviation over epochs and seeds, with larger models and encoders; "
        "evaluations as counted here. The published Adam never lets its optimizer step, so it is gradient descent, and "
        "stands beside `gd`; planner `adam` of this suite is a real one and has no published counterpart.",
        table(heading, align, body),
    ]


def _rate(entry: PlannerRow | None) -> str:
    return "" if entry is None else f"{entry.row.success:.1f} ({entry.row.spread})"


def _unique(values: Iterable[T]) -> list[T]:
    """In the order of their first appearance."""
    return list(dict.fromkeys(values))

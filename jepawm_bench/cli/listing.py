"""``jepawm-bench list``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from jepawm_bench.suggest import unknown

Rows = list[dict[str, Any]]


def list_(
    what: Annotated[str, typer.Argument(help="envs, agents, planners, protocols, datasets, recipes or ablations.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Show what there is."""
    if what not in LISTS:
        raise unknown("list", what, LISTS)
    rows = LISTS[what]()
    if as_json:
        typer.echo(json.dumps(rows))
        return 0
    from jepawm_bench.cli.tables import print_table

    if not rows:
        typer.echo(f"No installed package brings {what}.", err=True)
        return 0
    columns = list(dict.fromkeys(key for row in rows for key in row))
    print_table("", columns, [[_cell(row.get(key)) for key in columns] for row in rows])
    return 0


def _envs() -> Rows:
    from jepawm_envs.registration import ENVIRONMENTS

    return [
        {"id": record.id, "steps": record.max_episode_steps, "summary": record.summary}
        for record in ENVIRONMENTS.values()
    ]


def _agents() -> Rows:
    from jepawm_bench.registry import load_registry

    registry = load_registry()
    for owner, problem in registry.broken.items():
        typer.echo(f"The agents of {owner} cannot be read: {problem}.", err=True)
    return [
        {
            "name": card.name,
            "kind": card.kind,
            "variants": list(card.variants),
            "envs": list(card.envs),
            "description": card.description,
            "package": registry.owners[card.name],
        }
        for card in registry.cards.values()
    ]


def _protocols() -> Rows:
    from jepawm_bench.protocols import PROTOCOLS

    return [
        {
            "name": protocol.name,
            "env": protocol.env_id,
            "episodes": protocol.episodes,
            "steps": protocol.budget,
            "summary": protocol.summary,
        }
        for protocol in PROTOCOLS
    ]


def _plugged(group: str) -> Rows:
    from jepawm_bench.plugins import call_all

    rows: Rows = []
    for plugin in call_all(group):
        if plugin.problem:
            typer.echo(f"{plugin.name} of {plugin.distribution} cannot be read: {plugin.problem}.", err=True)
        else:
            rows += [dict(row) for row in plugin.value]
    return rows


def _ablations() -> Rows:
    return [{**row, "cells": list(row["cells"])} for row in _plugged("jepawm_bench.ablations")]


def _cell(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


LISTS: dict[str, Callable[[], Rows]] = {
    "envs": _envs,
    "agents": _agents,
    "planners": lambda: _plugged("jepawm_bench.planners"),
    "protocols": _protocols,
    "datasets": lambda: _plugged("jepawm_bench.datasets"),
    "recipes": lambda: _plugged("jepawm_bench.recipes"),
    "ablations": _ablations,
}

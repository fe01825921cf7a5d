"""Cards as the harness wants them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.resources import files

from jepawm_bench.agent import AgentCard


def all_cards() -> Iterator[AgentCard]:
    """Every card of this package, by name."""
    folder = files("jepawm_agents.cards")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            card = tomllib.loads(file.read_text())
            yield AgentCard(
                name=card["name"],
                factory=card["factory"],
                description=card["description"],
                envs=tuple(card["envs"]),
                default_env=card.get("default_env"),
                variants=card["variants"],
                kind=card.get("kind", "agent"),
                requires="agents",
            )

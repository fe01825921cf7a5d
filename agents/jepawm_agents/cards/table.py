"""Cards as the harness wants them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from jepawm_bench.agent import AgentCard
from jepawm_bench.settings import merge


def all_cards() -> Iterator[AgentCard]:
    """Every card of this package: those that play without a download first, then by name."""
    folder = files("jepawm_agents.cards")
    cards = [tomllib.loads(file.read_text()) for file in folder.iterdir() if file.name.endswith(".toml")]
    for card in sorted(cards, key=lambda card: (not _plays_at_once(card), card["name"])):
        yield AgentCard(
            name=card["name"],
            factory=card["factory"],
            description=card["description"],
            envs=tuple(card["envs"]),
            default_env=card.get("default_env"),
            variants={name: _variant(card, name) for name in card["variants"]},
            kind=card.get("kind", "agent"),
            requires="agents",
        )


def _variant(card: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A variant's settings on top of those of its ``base``: the same training with another seed names new weights."""
    own = dict(card["variants"][name])
    base = own.pop("base", None)
    return own if base is None else merge(_variant(card, base), own)


def _plays_at_once(card: Mapping[str, Any]) -> bool:
    """Whether nothing has to be fetched for the variant that the bare name means."""
    return "checkpoint" not in next(iter(card["variants"].values()))

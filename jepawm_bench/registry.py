"""The catalogue of agents: name -> card -> agent. Every agent, ours too, comes in by an entry point."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from jepawm_bench import plugins
from jepawm_bench.agent import Agent, AgentCard, AgentRequest
from jepawm_bench.errors import AgentFailed, BenchError, MissingExtra, UsageError
from jepawm_bench.suggest import unknown


@dataclass(frozen=True)
class Registry:
    """All cards by name, and the packages whose cards could not be read."""

    cards: dict[str, AgentCard]
    owners: dict[str, str]
    """Agent to the distribution that brings it."""
    broken: dict[str, str]
    """Distribution to what went wrong."""

    def card(self, name: str) -> AgentCard:
        """The card of ``name``.

        Raises:
            UsageError: with the nearest names.
        """
        if name in self.cards:
            return self.cards[name]
        error = unknown("agent", name, self.cards)
        if self.broken:
            details = "; ".join(f"{owner}: {problem}" for owner, problem in self.broken.items())
            error = UsageError(f"{error} Some packages could not be read ({details}).")
        raise error


def load_registry() -> Registry:
    """Read the cards of every installed package.

    Raises:
        UsageError: when two packages claim one name.
    """
    registry = Registry({}, {}, {})
    for plugin in plugins.call_all(plugins.AGENTS):
        problem = plugin.problem or _add(registry, plugin.value, plugin.distribution)
        if problem:
            registry.broken[plugin.distribution] = problem
    return registry


def _add(registry: Registry, cards: Any, owner: str) -> str | None:
    if not isinstance(cards, Iterable):
        return f"its entry point gave {type(cards).__name__} instead of cards"
    for card in cards:
        if not isinstance(card, AgentCard):
            return f"its entry point gave {type(card).__name__} instead of an AgentCard"
        if card.name in registry.cards:
            raise UsageError(
                f"Agent {card.name!r} comes from both {registry.owners[card.name]} and {owner}; uninstall one of them."
            )
        registry.cards[card.name] = card
        registry.owners[card.name] = owner
    return None


def make_agent(request: AgentRequest) -> Agent:
    """Import the card's factory and call it.

    Raises:
        MissingExtra: when a package is not installed.
        UsageError: when the factory refuses a setting (it raises a ValueError).
        AgentFailed: for anything else it raises.
    """
    name, extra = request.card.name, request.card.requires
    try:
        module, _, attribute = request.card.factory.partition(":")
        factory = importlib.import_module(module)
        for part in attribute.split("."):
            factory = getattr(factory, part)
        return cast(Any, factory)(request)
    except ModuleNotFoundError as error:
        if extra is None:
            raise AgentFailed(f"Agent {name!r} could not be made: {error}.", traceback.format_exc()) from error
        raise MissingExtra.needed_by(f"Agent {name!r}", extra, error.name) from error
    except BenchError:
        raise
    except ValueError as error:
        raise UsageError(f"Agent {name!r} could not be made: {error}") from error
    except Exception as error:  # whatever a stranger's factory raises
        raise AgentFailed(f"Agent {name!r} could not be made: {error}", traceback.format_exc()) from error

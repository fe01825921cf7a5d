"""A published world model by the name of its card, without environment, planner or harness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jepawm_agents.cards import all_cards
from jepawm_agents.checkpoints.published import Published, build_fresh, load_published
from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown
from jepawm_agents.world_models.jepa import JEPAWorldModel

VARIANT = "official"


def official_names() -> list[str]:
    """Names of the cards with a published checkpoint."""
    return sorted(card.name for card in all_cards() if VARIANT in card.variants)


def official_settings(name: str) -> dict[str, Any]:
    """What a card says of its published world model, the planner left out.

    Raises:
        ConfigError: for a name without a published checkpoint.
    """
    cards = {card.name: card for card in all_cards()}
    if name not in cards or VARIANT not in cards[name].variants:
        raise ConfigError(unknown("published world model", name, official_names()))
    settings = dict(cards[name].variants[VARIANT])
    for key in ("planner", "objective", "protocols"):
        settings.pop(key, None)
    return settings


def load_official(
    name: str, *, weights: str | Path | None = None, encoder_weights: str | Path = "auto", device: str = "cpu"
) -> Published:
    """Load a published world model.

    Args:
        name: of its card, such as ``jepa_wm_pusht``.
        weights: a file to use instead of the published one.
        encoder_weights: a file, ``auto`` or ``random``; see :func:`.encoder.load_encoder`.
        device: where the model goes.

    Raises:
        ConfigError: for an unknown name, or a package that is not installed.
        WeightsError: if a file cannot be had, is damaged, holds code, or belongs to another model.
    """
    settings = official_settings(name)
    settings["encoder"] = {**settings["encoder"], "weights": str(encoder_weights)}
    published = load_published(settings, None if weights is None else Path(weights))
    published.model.to(device)
    return published


def fresh_official(name: str, *, device: str = "cpu") -> JEPAWorldModel:
    """The same model with fresh weights, for training or for measuring.

    Raises:
        ConfigError: for an unknown name, or a package that is not installed.
    """
    return build_fresh(official_settings(name)).to(device)

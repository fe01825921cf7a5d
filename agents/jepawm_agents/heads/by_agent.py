"""Heads by the agent whose latents they read."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jepawm_agents.cards import all_cards
from jepawm_agents.checkpoints.by_name import VARIANT, load_official
from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.heads.base import ImageHead
from jepawm_agents.heads.files import describe_head, read_head
from jepawm_agents.heads.frozen_encoder import FrozenEncoder
from jepawm_agents.heads.published import load_image_decoder
from jepawm_agents.suggest import unknown
from jepawm_agents.world_models.encoders.base import PatchEncoder
from jepawm_agents.world_models.jepa import JEPAWorldModel
from jepawm_agents.world_models.weights import load_world_model

RECIPES = {"image": "compact/decoder", "state": "compact/state_decoder"}


class AgentModel(NamedTuple):
    """An agent's world model and the file it is in; None for a published one, which is in several."""

    model: JEPAWorldModel
    path: Path | None


def load_decoder(agent: str | JEPAWorldModel, weights: str | Path | None = None) -> ImageHead:
    """The image decoder for a world model's latents, encoded or imagined: ``decoder.decode(imagined.visual)``.

    Args:
        agent: name of an agent, ``name`` or ``name@variant``, or a world model.
        weights: a decoder's file; otherwise the published one of a published encoder, or what is shipped.

    Returns:
        A module whose ``decode`` takes tokens (..., P, D) to uint8 pictures (..., H, W, 3).

    Raises:
        ConfigError: for an unknown agent, one without a world model, or an encoder without a decoder.
        WeightsError: if a file cannot be had, is damaged, or belongs to another encoder.
    """
    model = agent if isinstance(agent, JEPAWorldModel) else world_model_of(agent).model
    if weights is None and isinstance(model.encoder, PatchEncoder):
        return load_image_decoder(model)
    return _load("image", model, weights)


def load_state_decoder(agent: str | JEPAWorldModel, weights: str | Path | None = None) -> Any:
    """The state decoder for a world model's latents: a module from tokens (..., P, D) to states (..., S).

    Args and errors are those of :func:`load_decoder`; no state decoders are published.
    """
    model = agent if isinstance(agent, JEPAWorldModel) else world_model_of(agent).model
    return _load("state", model, weights)


def world_model_of(agent: str) -> AgentModel:
    """The world model that an agent plays with.

    Args:
        agent: ``name`` or ``name@variant``; the card's first variant by default.

    Raises:
        ConfigError: for an unknown agent or one without a world model.
        WeightsError: if its files cannot be had or are damaged.
    """
    name, _, variant = agent.partition("@")
    cards = {card.name: card for card in all_cards()}
    if name not in cards:
        raise ConfigError(unknown("agent", name, cards))
    variant = variant or cards[name].default_variant
    if variant not in cards[name].variants:
        raise ConfigError(unknown(f"variant of {name}", variant, cards[name].variants))
    if variant == VARIANT:
        return AgentModel(load_official(name).model, None)
    shipped = cards[name].variants[variant].get("weights")
    if shipped is None:
        raise ConfigError(f"Agent {agent!r} has no world model with latents to decode.")
    path = _weights_folder() / shipped
    return AgentModel(load_world_model(path), path)


def _load(target: str, model: JEPAWorldModel, weights: str | Path | None) -> Any:
    encoder = FrozenEncoder.of(model).sha256()
    if weights is None:
        return read_head(_shipped(target, encoder), encoder)
    described = describe_head(Path(weights))
    if described.config.get("target") != target:
        raise WeightsError(f"{weights} is a head for {described.config.get('target')}, not for {target}.")
    return read_head(Path(weights), encoder)


def _shipped(target: str, encoder_sha256: str) -> Path:
    """The shipped head for an encoder; one file serves all agents that share it."""
    for path in sorted(_weights_folder().glob("*_decoder.safetensors")):
        described = describe_head(path)
        if described.config.get("target") == target and described.encoder_sha256 == encoder_sha256:
            return path
    raise ConfigError(
        f"No {target} decoder for the encoder {encoder_sha256[:12]} comes with the package; train one with "
        f"`jepawm-bench train --recipe {RECIPES[target]} --set model.agent=NAME` (or model.weights=PATH) and name its "
        "file."
    )


def _weights_folder() -> Path:
    return Path(str(files("jepawm_agents"))) / "weights"

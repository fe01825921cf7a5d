"""``encoder.weights = "shipped"``: the encoder that comes with a recipe's agent, taken as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from jepawm_agents.errors import ConfigError
from jepawm_agents.heads.by_agent import world_model_of
from jepawm_agents.training.recipes import load_recipe
from jepawm_agents.world_models.encoders.base import Encoder

SHIPPED = "shipped"


def shipped_encoder(plan: Mapping[str, Any]) -> Encoder:
    """The frozen encoder of the weights that ship with the recipe's agent.

    Raises:
        ConfigError: for an agent that is not the recipe's or has no shipped weights, or another ``encoder.model``.
    """
    own = load_recipe(plan["name"])["agent"]
    if plan["agent"] != own:
        raise ConfigError(
            f"encoder.weights={SHIPPED} takes the encoder of the recipe's own agent {own}, but agent={plan['agent']}; "
            "leave agent as it is, or encoder.weights empty."
        )
    with torch.random.fork_rng(devices=[]):  # building a model draws weights, even where they are then loaded
        model = world_model_of(own).model
    if model.config["encoder"] != plan["encoder"]["model"]:
        raise ConfigError(
            f"encoder.model={plan['encoder']['model']} is not the encoder that comes with {own}, which is "
            f"{model.config['encoder']}. Train one of your own with --set encoder.weights= (nothing behind the sign)."
        )
    return model.encoder


def refuse_without_effect(plan: Mapping[str, Any], table: str, keys: Sequence[str]) -> None:
    """Refuse changes to settings of how an encoder is made, where one is taken that is there already.

    Args:
        plan: the recipe.
        table: of the recipe.
        keys: settings in it that would be passed over without a word.

    Raises:
        ConfigError: naming those that are not as the recipe states them.
    """
    stated = load_recipe(plan["name"])[table]
    changed = [f"{table}.{key}" for key in keys if plan[table][key] != stated[key]]
    if changed:
        raise ConfigError(
            f"{', '.join(changed)} would have no effect: encoder.weights={plan['encoder']['weights']} takes an encoder "
            "as it is. Train one of your own with --set encoder.weights= (nothing behind the sign)."
        )

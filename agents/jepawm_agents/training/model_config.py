"""The description of the model that a recipe trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_config(plan: Mapping[str, Any], action_dim: int, proprio_dim: int) -> dict[str, Any]:
    """The description of a recipe's model, for :func:`jepawm_agents.world_models.weights.build`.

    Args:
        plan: the recipe.
        action_dim: numbers of a primitive action.
        proprio_dim: numbers of proprioception.
    """
    return {
        "encoder": plan["encoder"]["model"],
        "predictor": plan["model"]["predictor"],
        "action_dim": action_dim,
        "proprio_dim": proprio_dim,
        "frameskip": plan["model"]["frameskip"],
        "window": plan["model"]["window"],
    }

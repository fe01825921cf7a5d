"""What the agent tests share: small models and the reference's recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from jepawm_agents.world_models.jepa import JEPAWorldModel
from jepawm_agents.world_models.weights import build

ADALN: dict[str, Any] = {
    "family": "adaln",
    "width": 20,
    "proprio_width": 4,
    "depth": 2,
    "heads": 2,
    "mlp_ratio": 2.0,
}
DINO_WM: dict[str, Any] = {
    "family": "dino_wm",
    "action_width": 6,
    "proprio_width": 4,
    "depth": 2,
    "heads": 2,
    "head_dim": 8,
    "mlp_dim": 32,
    "frames": 4,
}
ACTION_TOKEN: dict[str, Any] = {"family": "action_token", "width": 24, "depth": 2, "heads": 2, "mlp_ratio": 2.0}
FEATURE_ROPE: dict[str, Any] = {
    "family": "feature_rope",
    "width": 20,
    "action_width": 4,
    "proprio_width": 4,
    "depth": 2,
    "heads": 2,
    "mlp_ratio": 2.0,
}
FAMILIES = {
    "adaln": ADALN,
    "dino_wm": DINO_WM,
    "action_token": ACTION_TOKEN,
    "feature_rope": FEATURE_ROPE,
    "gru": {"family": "gru"},
    "gated": {"family": "gated", "width": 12},
}
ONE_TOKEN = ("gru", "gated")
COMPACT: dict[str, Any] = {"family": "compact", "image_size": 16, "channels": [4, 8, 8], "mixing": 1, "latent_dim": 6}
IMPALA: dict[str, Any] = {"family": "impala", "image_size": 16, "channels": [4, 8, 8], "latent_dim": 6}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and exact comparisons need their number fixed.

    Of module scope, so that fixtures of that scope are made under it too.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def config() -> Callable[..., dict[str, Any]]:
    """``config(family)``: the description of a tiny world model, 16-pixel images and a 2x2 grid, or one token."""

    def describe(family: str = "adaln", **changes: Any) -> dict[str, Any]:
        return {
            "encoder": IMPALA if family in ONE_TOKEN else COMPACT,
            "predictor": {**FAMILIES[family], **changes},
            "action_dim": 2,
            "proprio_dim": 2,
            "frameskip": 5,
            "window": 2,
        }

    return describe


@pytest.fixture
def tiny_model(config) -> Callable[..., JEPAWorldModel]:
    """``tiny_model(family, seed=0)``: a world model with random weights, in evaluation mode."""

    def make(family: str = "adaln", seed: int = 0, **changes: Any) -> JEPAWorldModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(config(family, **changes)).eval().requires_grad_(False)

    return make

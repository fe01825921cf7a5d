"""What the agent tests share: small models and the reference's recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from jepawm_agents.world_models.base import Predictor
from jepawm_agents.world_models.jepa import JEPAWorldModel
from jepawm_agents.world_models.reference import from_reference
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
FAMILIES = {"adaln": ADALN, "dino_wm": DINO_WM}


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
    """``config(family)``: the description of a tiny world model, 16-pixel images and a 2x2 grid."""

    def describe(family: str = "adaln", **changes: Any) -> dict[str, Any]:
        return {
            "encoder": {"family": "compact", "image_size": 16, "channels": [4, 8, 8], "mixing": 1, "latent_dim": 6},
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


@pytest.fixture(params=["adaln_proprio_feature", "adaln_noprop", "dino_wm_proprio", "dino_wm_noprop"])
def recorded(request, golden) -> dict[str, torch.Tensor]:
    """The reference's record of one small predictor."""
    return {key: torch.from_numpy(value) for key, value in golden(f"models/{request.param}").items()}


@pytest.fixture
def recorded_predictor(recorded) -> Predictor:
    """That predictor, rebuilt here from its weights."""
    weights = {key.removeprefix("sd."): value for key, value in recorded.items() if key.startswith("sd.")}
    return from_reference(weights, grid_size=4, num_heads=2)

"""What the benchmarks share: models of the shipped sizes with random weights, and one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from jepawm_agents.training.recipes import load_recipe
from jepawm_agents.world_models.jepa import JEPAWorldModel
from jepawm_agents.world_models.weights import build

RECIPES = {"adaln": "compact/wall", "dino_wm": "compact/wall_dino_wm"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in a run, whose processes use one thread each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def compact_model() -> Callable[[str], JEPAWorldModel]:
    """``compact_model("adaln")``: the compact world model of a predictor family, as its recipe describes it."""

    def make(family: str) -> JEPAWorldModel:
        recipe = load_recipe(RECIPES[family])
        config = {"encoder": recipe["encoder"]["model"], **recipe["model"], "action_dim": 2, "proprio_dim": 2}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build(config).eval().requires_grad_(False)

    return make

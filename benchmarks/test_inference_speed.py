"""The plain and the prepared ways of imagining side by side: a predictor step, a CEM plan, an Adam plan.

Sizes are those of the published Push-T and DROID predictors and of the compact one of Wall; the full-size ones with
few candidates and one iteration, so that a round takes seconds. Encoders are left out: they run once a plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from jepawm_agents.cards import all_cards
from jepawm_agents.context import rollout_from_past
from jepawm_agents.objectives import make_objective
from jepawm_agents.planners import make_planner
from jepawm_agents.planners.noise import EpisodeNoise
from jepawm_agents.world_models.adaln import AdaLNPredictor
from jepawm_agents.world_models.embedding import StepEmbedding
from jepawm_agents.world_models.framewise import FramewisePredictor, Moments
from jepawm_agents.world_models.jepa import Latent

CARDS = {card.name: card for card in all_cards()}
PATHS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "fast": {},
    "bf16": {"dtype": torch.bfloat16},
    "fast_compiled": {"compiled": True},
    "bf16_compiled": {"dtype": torch.bfloat16, "compiled": True},
}
EAGER = ["plain", "fast", "bf16"]


@dataclass(frozen=True)
class Size:
    """A published predictor, and how much of a plan is timed."""

    latent_dim: int
    candidates: int
    horizon: int


SIZES = {"pusht": Size(384, 4, 6), "droid": Size(1024, 2, 2), "compact": Size(32, 300, 6)}
WINDOW = 2
every_model = pytest.mark.parametrize("name", list(SIZES))


@pytest.fixture(scope="module")
def predictor(compact_model) -> Callable[[str], AdaLNPredictor]:
    """``predictor("pusht")``: of that card's size with random weights, kept."""
    kept: dict[str, AdaLNPredictor] = {}

    def make(name: str) -> AdaLNPredictor:
        if name not in kept:
            with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                made = compact_model("adaln").predictor if name == "compact" else _published(name)
                kept[name] = made.eval().requires_grad_(False)
        return kept[name]

    return make


def _published(name: str) -> AdaLNPredictor:
    settings = CARDS[f"jepa_wm_{name}"].variants["official"]
    return AdaLNPredictor(
        grid_size=16,
        latent_dim=SIZES[name].latent_dim,
        action_dim=settings["action_dim"] * settings["frameskip"],
        proprio_dim=settings["proprio_dim"],
        **{key: value for key, value in settings["predictor"].items() if key != "family"},
    )


class Situation:
    """A predictor on one of the paths, a present and a goal."""

    def __init__(self, model: AdaLNPredictor, path: str):
        options = PATHS[path]
        self.model, self.fast = model, None if options is None else FramewisePredictor(model, **options)
        self.action_dim = model.action_encoder.in_features
        self.objective = make_objective("L2")
        with torch.inference_mode(False):  # also for the planner that differentiates
            random = torch.Generator().manual_seed(0)
            tokens = (1, model.grid_size**2, model.latent_dim)
            self.visual, self.goal = (torch.randn(tokens, generator=random) for _ in range(2))
            self.proprio = self._felt(random)

    def costs(self, actions: Tensor) -> Tensor:
        """Costs (1, N) of candidates (1, N, H, A), by the last imagined frame."""
        if self.fast is None:
            imagined = self.model.rollout(self.visual, self.proprio, actions, WINDOW)
        else:
            imagined = self.fast.rollout(self.visual, self.proprio, actions, WINDOW, last_only=True)
        return self.objective(imagined[0], None, self.goal, None)

    def step(self, past: Tensor, actions: Tensor) -> object:
        """One frame imagined from a full window of two, for candidates (1, N, 1, A)."""
        frames = [Latent(self.visual, self.proprio)] * WINDOW
        if self.fast is None:
            return rollout_from_past(self.model, frames, past, actions, WINDOW)
        felt = [] if self.proprio is None else [self.proprio] * WINDOW
        return self.fast.continue_from(Moments([self.visual] * WINDOW, felt, past), actions, WINDOW, last_only=True)

    def _felt(self, random: torch.Generator) -> Tensor | None:
        own = self.model.proprio_encoder
        return torch.randn(1, own.patch_embed.in_channels, generator=random) if isinstance(own, StepEmbedding) else None


@every_model
@pytest.mark.parametrize("path", EAGER)
def test_predictor_step_on_a_full_window(benchmark, predictor, name, path):
    situation = Situation(predictor(name), path)
    past = torch.zeros(1, WINDOW - 1, situation.action_dim)
    actions = torch.randn(1, SIZES[name].candidates, 1, situation.action_dim)
    benchmark.pedantic(situation.step, (past, actions), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize(
    ("name", "path"),
    [(name, path) for name in SIZES for path in PATHS if name == "pusht" or path in EAGER],
)
def test_cem_plan_of_one_iteration(benchmark, predictor, name, path):
    _plan(benchmark, predictor(name), path, "cem", SIZES[name].horizon, SIZES[name].candidates)


@every_model
@pytest.mark.parametrize("path", EAGER)
def test_adam_plan_of_one_iteration(benchmark, predictor, name, path):
    _plan(benchmark, predictor(name), path, "adam", SIZES[name].horizon, 1)


def _plan(benchmark, model: AdaLNPredictor, path: str, planner: str, horizon: int, candidates: int) -> None:
    situation = Situation(model, path)
    made = make_planner(
        planner,
        horizon=horizon,
        execution_horizon=horizon,
        num_samples=candidates,
        iterations=1,
        num_elites=min(2, candidates),
    )
    given = {"batch": 1, "action_dim": situation.action_dim, "noise": EpisodeNoise([(0, 0)], 0)}
    benchmark.pedantic(made.plan, (situation.costs,), given, rounds=3, warmup_rounds=1)

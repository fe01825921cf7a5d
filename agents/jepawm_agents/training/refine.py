"""EB-JEPA's second stage: a predictor alone, on latents that the finished encoder gives once.

The encoder does 95 % of the work of a step of the first stage, so the predictor sees few windows there, and short
ones. With latents at hand the same minutes hold some ten times as many steps, of rollouts long enough to learn what
planning asks: that errors do not grow, and where walls stop the dot. The predictor is that of the first stage, or
another one that begins anew. Not a part of the published training.

Walks are drawn and encoded when the first step asks for them: a stage that is finished needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown
from jepawm_agents.training.alarms import imagined_alarms, sound, spread
from jepawm_agents.training.data import step_generator
from jepawm_agents.training.encoder import device_of, encode_all
from jepawm_agents.training.loop import LoopSettings, Progress
from jepawm_agents.training.two_rooms import HELD_OUT, HELD_OUT_WINDOWS, TwoRoomsWindows
from jepawm_agents.world_models.base import Predictor
from jepawm_agents.world_models.jepa import JEPAWorldModel
from jepawm_agents.world_models.weights import build
from jepawm_envs.tworooms.drawing import draw_two_channels
from jepawm_envs.tworooms.trajectories import Trajectories

PORTION = 64
"""Walks whose pictures are in memory at once."""
WALKS = 2**30
"""Number of the first walk that is used whole: others than those of the first stage."""
HELD_OUT_WALKS = 128
SAME = "same"
"""The ``family`` that stands for the predictor of the first stage."""
FAMILIES = (SAME, "gru", "gated")
"""Predictors of one token without proprioception."""


class LatentWalks(NamedTuple):
    """N walks of T model steps, their pictures encoded."""

    latents: Tensor
    """(N, T + 1, D)."""
    actions: Tensor
    """(N, T, A), pixels."""


class Refinement(nn.Module):
    """A predictor and its error over K imagined steps from anywhere in a walk.

    Args:
        predictor: attached to the encoder that makes the latents.
        walks: makes ``count`` walks, numbered from ``first`` on, on the device of the predictor.
        settings: see :func:`stage`.
    """

    def __init__(self, predictor: Predictor, walks: Callable[[int, int], LatentWalks], settings: Mapping[str, Any]):
        super().__init__()
        self.predictor, self.settings, self._make = predictor, settings, walks

    @cached_property
    def walks(self) -> LatentWalks:
        """Those to train on."""
        return self._make(WALKS, self.settings["episodes"])

    @cached_property
    def held_out(self) -> LatentWalks:
        """Others."""
        return self._make(HELD_OUT + HELD_OUT_WINDOWS, HELD_OUT_WALKS)

    def loss_of_step(self, step: int) -> Tensor:
        """Mean squared error of the latents imagined from single frames, over all K steps."""
        span, random = self.settings["rollout_steps"], step_generator(self.settings["seed"], "refine", step)
        count, length = self.walks.actions.shape[:2]
        rows = torch.from_numpy(random.integers(count, size=self.settings["batch_size"]))[:, None]
        first = torch.from_numpy(random.integers(length - span + 1, size=self.settings["batch_size"]))[:, None]
        times = first + torch.arange(span + 1)
        latents, actions = self.walks.latents[rows, times], self.walks.actions[rows, times[:, :-1]]
        return F.mse_loss(self._imagine(latents, actions)[:, 1:], latents[:, 1:])

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Errors after one step, K, and the whole of held-out walks, beside copying and others' actions; alarms."""
        self.eval()
        latents, actions = self.held_out
        imagined, shuffled = self._imagine(latents, actions), self._imagine(latents, actions.roll(1, dims=0))
        figures = {"val_1": F.mse_loss(imagined[:, 1], latents[:, 1])}
        for steps in sorted({self.settings["rollout_steps"], actions.shape[1]}):
            target = latents[:, steps]
            figures[f"val_{steps}"] = F.mse_loss(imagined[:, steps], target)
            figures[f"val_shuffled_{steps}"] = F.mse_loss(shuffled[:, steps], target)
            figures[f"val_copy_{steps}"] = F.mse_loss(latents[:, 0], target)
        found = {name: float(value) for name, value in figures.items()}
        if self.settings["alarms"]:
            alarms = imagined_alarms(spread(imagined.flatten(0, 1)), spread(latents.flatten(0, 1)))
            found["alarm"] = sound("refine", alarms)
        self.train()
        return found

    def _imagine(self, latents: Tensor, actions: Tensor) -> Tensor:
        """(B, T + 1, D) from the first of latents (B, T + 1, D) and actions (B, T, A)."""
        return self.predictor.rollout(latents[:, :1], None, actions[:, None], window=1)[0][:, 0, :, 0]


def refined_model(model: JEPAWorldModel, plan: Mapping[str, Any]) -> JEPAWorldModel:
    """The model whose predictor the stage trains: the same, or its encoder with another predictor, fresh."""
    model.encoder.requires_grad_(False)
    if plan["refine"]["predictor"]["family"] == SAME:
        return model
    torch.manual_seed(plan["train"]["seed"])
    return build({**model.config, "predictor": plan["refine"]["predictor"]}, encoder=model.encoder)


def refinement(
    model: JEPAWorldModel, windows: TwoRoomsWindows, settings: Mapping[str, Any], progress: Progress
) -> Refinement:
    """The stage of table ``refine``; ``progress`` is told about the walks that are encoded, as stage ``latents``."""

    def walks(first: int, count: int) -> LatentWalks:
        return encoded(model, windows.whole_walks(first, count, settings["wander"]), windows, progress)

    return Refinement(model.predictor, walks, settings)


def training_walks(windows: TwoRoomsWindows, settings: Mapping[str, Any]) -> Trajectories:
    """The walks that the stage trains on, before they are encoded."""
    return windows.whole_walks(WALKS, settings["episodes"], settings["wander"])


@torch.no_grad()
def encoded(model: JEPAWorldModel, walks: Trajectories, windows: TwoRoomsWindows, progress: Progress) -> LatentWalks:
    """Latents of whole walks, on the encoder's device; their pictures are drawn a few at a time."""
    encoder: Any = model.encoder
    was_training, device, skip = encoder.training, device_of(encoder), windows.frameskip
    count, steps = len(walks.actions), walks.actions.shape[1] // skip
    latents = torch.empty(count, steps + 1, encoder.latent_dim, device=device)
    encoder.eval()
    for first in range(0, count, PORTION):
        states = walks.states[first : first + PORTION, : steps * skip + 1 : skip]
        pixels = torch.from_numpy(draw_two_channels(states, windows.data["image_size"]))
        seen = encode_all(encoder, pixels.flatten(0, 1))[:, 0].float()
        latents[first : first + PORTION] = model.predictor.normalise(seen).unflatten(0, states.shape[:2])
        progress("latents", first + len(states), count, {})
    encoder.train(was_training)
    actions = torch.from_numpy(walks.actions[:, : steps * skip].reshape(count, steps, -1))
    return LatentWalks(latents, actions.to(device))


def check_refinement(plan: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse a table ``refine`` that asks for something impossible; no steps mean no such stage.

    Args:
        plan: the recipe.
        config: description of the first stage's model.

    Raises:
        ConfigError: naming it.
    """
    settings = plan["refine"]
    if settings["steps"] == 0:
        return
    LoopSettings.of(stage(plan))
    for name in ("episodes", "batch_size", "rollout_steps"):
        if settings[name] < 1:
            raise ConfigError(f"refine.{name}={settings[name]} is not possible; it must be at least 1.")
    if not 0 <= settings["wander"] <= 1:
        raise ConfigError(f"refine.wander={settings['wander']} is not possible; it is a share of the walks, 0 to 1.")
    longest = plan["data"]["steps"] // plan["model"]["frameskip"]
    if settings["rollout_steps"] > longest:
        raise ConfigError(
            f"refine.rollout_steps={settings['rollout_steps']} is not possible: walks of data.steps="
            f"{plan['data']['steps']} have {longest} model steps."
        )
    _check_predictor(settings["predictor"], config)
    if plan["data"]["path"]:
        raise ConfigError("refine.steps needs walks made anew; leave data.path empty, or set refine.steps=0.")


def _check_predictor(predictor: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    if predictor["family"] not in FAMILIES:
        raise ConfigError(unknown("predictor family of a second stage", str(predictor["family"]), FAMILIES))
    if predictor["family"] == SAME:
        if len(predictor) > 1:
            raise ConfigError(f'refine.predictor={dict(predictor)} is not possible: family "{SAME}" keeps its sizes.')
        return
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            build({**config, "predictor": predictor})
    except ValueError as problem:
        raise ConfigError(f"refine.predictor={dict(predictor)} is not possible: {problem}") from None


def stage(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the stage: table ``refine`` of a recipe, and for what that does not name, table ``train``."""
    return {**plan["train"], **plan["refine"]}

"""Training a predictor on the latents of a frozen encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jepawm_agents.training.alarms import imagined_alarms, sound, spread
from jepawm_agents.training.data import Episodes, Windows, step_generator
from jepawm_agents.training.distances import weighted
from jepawm_agents.training.distributed import WHOLE, Share
from jepawm_agents.training.encoder import encode_all
from jepawm_agents.training.losses import world_model_loss
from jepawm_agents.training.train_settings import steps_of
from jepawm_agents.world_models.jepa import JEPAWorldModel

VALIDATION_HORIZON = 6

Batch = tuple[Tensor, Tensor, Tensor | None]
"""Latents (B, T, P, D), actions (B, T - 1, A), and proprioception (B, T, Q) or None."""


class PredictorTraining:
    """A world model whose predictor is trained, its data and its loss.

    Args:
        model: encoder (frozen), predictor and constants; the constants are fitted here.
        episodes: data.
        settings: table ``train`` of a recipe.
    """

    def __init__(self, model: JEPAWorldModel, episodes: Episodes, settings: Mapping[str, Any]):
        self.model, self.episodes, self.settings = model, episodes, settings
        self._distance = weighted(settings["loss"])
        normaliser = model.normaliser
        normaliser.fit(episodes.primitive_actions[episodes.train], episodes.proprio[episodes.train])
        primitive = episodes.actions.unflatten(-1, (episodes.frameskip, -1))
        self.windows = Windows(
            visual=encode_all(model.encoder, episodes.pixels.flatten(0, 1)).unflatten(0, episodes.pixels.shape[:2]),
            actions=normaliser.actions(primitive).flatten(-2),
            proprio=normaliser.proprio(episodes.proprio),
            frameskip=model.config["frameskip"] // episodes.frameskip,
        )

    @property
    def steps(self) -> int:
        """Training steps that the settings ask for."""
        span = (self.settings["frames"] - 1) * self.windows.frameskip
        starts = self.windows.actions.shape[1] - span + 1
        return steps_of(self.settings, len(self.episodes.train) * starts)

    def loss_of_step(self, step: int, share: Share = WHOLE) -> Tensor:
        """The loss on the windows of step k, or on a share of them."""
        random = step_generator(self.settings["seed"], "predictor", step)
        frames = self.settings["frames"]
        batch = self._draw(random, self.episodes.train, self.settings["batch_size"], frames, share)
        return self._loss(batch, cuts(self.settings["prefixes"], random, frames, self.settings["rollout_steps"]))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Error of imagined latents on held-out episodes beside two baselines that a model must beat.

        ``val_copy`` repeats the present; ``val_shuffled`` imagines with the actions of other episodes; ``val_loss``
        is the training loss. With alarms on, ``imagined_rank`` and ``true_rank`` are effective ranks of the furthest
        frame, and ``alarm`` is the number of signs of collapse.
        """
        model = self.model.eval()
        random = np.random.default_rng(0)
        horizon = min(VALIDATION_HORIZON, self.windows.actions.shape[1] // self.windows.frameskip)
        count = self.settings["validation_windows"]
        visual, action, proprio = self._draw(random, self.episodes.validation, count, horizon + 1)
        felt = None if proprio is None else proprio[:, 0]

        def imagine(actions: Tensor) -> Tensor:
            return model.predictor.rollout(visual[:, 0], felt, actions[:, None], window=model.window)[0][:, 0]

        def error(imagined: Tensor) -> Tensor:
            return (imagined - visual).square().mean(dim=(0, 2, 3))

        imagined = imagine(action)
        figures = {
            "val_1": float(error(imagined)[1]),
            f"val_{horizon}": float(error(imagined)[horizon]),
            f"val_shuffled_{horizon}": float(error(imagine(action.roll(1, dims=0)))[horizon]),
            f"val_copy_{horizon}": float((visual[:, 0] - visual[:, horizon]).square().mean()),
            "val_loss": self._validation_loss(count),
        }
        if self.settings["alarms"]:
            figures |= _compare(imagined[:, horizon], visual[:, horizon])
        model.train()
        return figures

    def _validation_loss(self, count: int) -> float:
        random = step_generator(0, "validation", 0)
        frames = self.settings["frames"]
        batch = self._draw(random, self.episodes.validation, count, frames)
        return float(self._loss(batch, cuts(self.settings["prefixes"], random, frames, self.settings["rollout_steps"])))

    def _draw(
        self, random: np.random.Generator, episodes: np.ndarray, batch: int, frames: int, share: Share = WHOLE
    ) -> Batch:
        """Windows on the model's device, as its predictor wants them."""
        visual, action, proprio = self.windows.draw(random, episodes, batch, frames, share)
        predictor, device = self.model.predictor, self.model.normaliser.action_mean.device
        felt = None if predictor.proprio_encoder is None else proprio.to(device)
        return predictor.normalise(visual.to(device)), action.to(device), felt

    def _loss(self, batch: Batch, places: Sequence[int]) -> Tensor:
        names = ("rollout_steps", "window", "stop_gradient", "true_proprio", "proprio_loss", "order_weights")
        return world_model_loss(
            self.model.predictor,
            *batch,
            cut=places,
            distance=self._distance,
            **{name: self.settings[name] for name in names},
        )


def cuts(prefixes: str, random: np.random.Generator, frames: int, rollout_steps: int) -> list[int]:
    """Last true frames before imagining, of those from which all steps have targets; ``prefixes`` chooses."""
    places = max(1, frames - rollout_steps)
    chosen = int(random.integers(0, places))  # drawn in any case: what follows does not depend on the choice
    return {"random": [chosen], "first": [0], "all": list(range(places))}[prefixes]


def _compare(imagined: Tensor, true: Tensor) -> dict[str, float]:
    """Spread of imagined latents (B, P, D) beside that of true ones, over all tokens."""
    found, wanted = (spread(latents.flatten(0, 1).float()) for latents in (imagined, true))
    alarms = sound("predictor", imagined_alarms(found, wanted))
    return {"imagined_rank": found.rank, "true_rank": wanted.rank, "alarm": alarms}

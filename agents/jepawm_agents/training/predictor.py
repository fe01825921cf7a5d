"""Training a predictor on the latents of a frozen encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jepawm_agents.training.data import Episodes, Windows, step_generator
from jepawm_agents.training.encoder import encode_all
from jepawm_agents.training.losses import world_model_loss
from jepawm_agents.world_models.jepa import JEPAWorldModel

VALIDATION_WINDOWS = 512
VALIDATION_HORIZON = 6


class PredictorTraining:
    """A world model whose predictor is trained, its data and its loss.

    Args:
        model: encoder (frozen), predictor and constants; the constants are fitted here.
        episodes: data.
        settings: table ``train`` of a recipe.
    """

    def __init__(self, model: JEPAWorldModel, episodes: Episodes, settings: Mapping[str, Any]):
        self.model, self.episodes, self.settings = model, episodes, settings
        normaliser = model.normaliser
        normaliser.fit(episodes.primitive_actions[episodes.train], episodes.proprio[episodes.train])
        primitive = episodes.actions.unflatten(-1, (episodes.frameskip, -1))
        self.windows = Windows(
            visual=encode_all(model.encoder, episodes.pixels.flatten(0, 1)).unflatten(0, episodes.pixels.shape[:2]),
            actions=normaliser.actions(primitive).flatten(-2),
            proprio=normaliser.proprio(episodes.proprio),
            frameskip=model.config["frameskip"] // episodes.frameskip,
        )

    def loss_of_step(self, step: int) -> Tensor:
        """The loss on the windows of step k."""
        random = step_generator(self.settings["seed"], "predictor", step)
        frames, rollout_steps = self.settings["frames"], self.settings["rollout_steps"]
        visual, action, proprio = self.windows.draw(random, self.episodes.train, self.settings["batch_size"], frames)
        return world_model_loss(
            self.model.predictor,
            visual,
            action,
            proprio if self.model.predictor.proprio_encoder is not None else None,
            rollout_steps=rollout_steps,
            cut=int(random.integers(0, max(1, frames - rollout_steps))),
            window=self.settings["window"],
            stop_gradient=self.settings["stop_gradient"],
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Error of imagined latents on held-out episodes beside two baselines that a model must beat.

        ``val_copy`` repeats the present; ``val_shuffled`` imagines with the actions of other episodes.
        """
        model = self.model.eval()
        random = np.random.default_rng(0)
        horizon = min(VALIDATION_HORIZON, self.windows.actions.shape[1] // self.windows.frameskip)
        visual, action, proprio = self.windows.draw(random, self.episodes.validation, VALIDATION_WINDOWS, horizon + 1)
        felt = proprio[:, 0] if model.predictor.proprio_encoder is not None else None

        def error(actions: Tensor) -> Tensor:
            imagined, _ = model.predictor.rollout(visual[:, 0], felt, actions[:, None], window=model.window)
            return (imagined[:, 0] - visual).square().mean(dim=(0, 2, 3))

        imagined = error(action)
        figures = {
            "val_1": float(imagined[1]),
            f"val_{horizon}": float(imagined[horizon]),
            f"val_shuffled_{horizon}": float(error(action.roll(1, dims=0))[horizon]),
            f"val_copy_{horizon}": float((visual[:, 0] - visual[:, horizon]).square().mean()),
        }
        model.train()
        return figures

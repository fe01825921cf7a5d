"""Training a predictor on the latents of a frozen encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jepawm_agents.training.ahead import Ahead
from jepawm_agents.training.data import ByFrame, Episodes, Windows, step_generator
from jepawm_agents.training.losses import world_model_loss
from jepawm_agents.world_models.jepa import JEPAWorldModel

VALIDATION_HORIZON = 6


class PredictorTraining:
    """A world model whose predictor is trained, its data and its loss.

    Args:
        model: encoder (frozen), predictor and constants.
        episodes: data.
        settings: table ``train`` of a recipe.
        visual: latents of all frames.
        fit: take the constants from the training episodes; else they stay as they are.
        loaders: threads that make the next batches, where latents are not in memory.
    """

    def __init__(
        self,
        model: JEPAWorldModel,
        episodes: Episodes,
        settings: Mapping[str, Any],
        visual: ByFrame,
        *,
        fit: bool = True,
        loaders: int = 1,
    ):
        self.model, self.episodes, self.settings = model, episodes, settings
        normaliser = model.normaliser
        if fit:
            normaliser.fit(episodes.real_actions(episodes.train), episodes.real_proprio(episodes.train))
        primitive = episodes.actions.unflatten(-1, (episodes.frameskip, -1))
        self.windows = Windows(
            visual=visual,
            actions=normaliser.actions(primitive).flatten(-2),
            proprio=normaliser.proprio(episodes.proprio),
            frameskip=model.config["frameskip"] // episodes.frameskip,
            lengths=episodes.lengths,
        )
        in_memory = isinstance(visual, Tensor)
        self._batch = self._draw if in_memory else Ahead(self._draw, threads=loaders, stop=settings["steps"])

    def _draw(self, step: int) -> tuple[Tensor, Tensor, Tensor, int]:
        """The windows of step k, and where imagining begins."""
        random = step_generator(self.settings["seed"], "predictor", step)
        frames, rollout_steps = self.settings["frames"], self.settings["rollout_steps"]
        windows = self.windows.draw(random, self.episodes.train, self.settings["batch_size"], frames)
        return *windows, int(random.integers(0, max(1, frames - rollout_steps)))

    def loss_of_step(self, step: int) -> Tensor:
        """The loss on the windows of step k."""
        visual, action, proprio, cut = self._batch(step)
        visual = self.model.predictor.normalise(visual)
        return world_model_loss(
            self.model.predictor,
            visual,
            action,
            proprio if self.model.predictor.proprio_encoder is not None else None,
            rollout_steps=self.settings["rollout_steps"],
            cut=cut,
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
        held_out, count = self.episodes.validation, self.settings["validation_windows"]
        horizon = min(VALIDATION_HORIZON, self.windows.horizon(held_out))
        visual, action, proprio = self.windows.draw(random, held_out, count, horizon + 1)
        visual = model.predictor.normalise(visual)
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

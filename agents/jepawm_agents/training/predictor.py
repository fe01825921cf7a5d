"""Training a predictor on the latents of a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jepawm_agents.training.ahead import Ahead
from jepawm_agents.training.alarms import imagined_alarms, sound, spread
from jepawm_agents.training.data import ByFrame, Episodes, Windows, dealt, step_generator
from jepawm_agents.training.distances import weighted
from jepawm_agents.training.distributed import WHOLE, Ranks, Share
from jepawm_agents.training.features import latents_in_memory
from jepawm_agents.training.losses import world_model_loss
from jepawm_agents.training.train_settings import steps_of
from jepawm_agents.world_models.jepa import JEPAWorldModel

VALIDATION_HORIZON = 6

Batch = tuple[Tensor, Tensor, Tensor | None]
"""Latents (B, T, P, D), actions (B, T - 1, A), and proprioception (B, T, Q) or None."""
Place = tuple[int, Share]
"""A training step, and the share of its batch."""


class PredictorTraining:
    """A world model whose predictor is trained, its data and its loss.

    Args:
        model: encoder (frozen), predictor and constants.
        episodes: data.
        settings: table ``train`` of a recipe.
        visual: latents of all frames; encoded here, into memory, when None.
        fit: take the constants from the training episodes; else they stay as they are.
        loaders: threads that make the next batches, where latents are not in memory.
        sampling: law of the training batches, of :data:`.data.SAMPLING`.
    """

    def __init__(
        self,
        model: JEPAWorldModel,
        episodes: Episodes,
        settings: Mapping[str, Any],
        visual: ByFrame | None = None,
        *,
        fit: bool = True,
        loaders: int = 1,
        sampling: str = "windows",
    ):
        self.model, self.episodes, self.settings, self._sampling = model, episodes, settings, sampling
        self._distance = weighted(settings["loss"])
        normaliser = model.normaliser
        if fit:
            normaliser.fit(episodes.real_actions(episodes.train), episodes.real_proprio(episodes.train))
        primitive = episodes.actions.unflatten(-1, (episodes.frameskip, -1))
        self.windows = Windows(
            visual=latents_in_memory(model.encoder, episodes) if visual is None else visual,
            actions=normaliser.actions(primitive).flatten(-2),
            proprio=normaliser.proprio(episodes.proprio),
            frameskip=model.config["frameskip"] // episodes.frameskip,
            lengths=episodes.lengths,
        )
        self._dealt = self.windows.long_enough(episodes.train, settings["frames"])
        """Training episodes that hold a window."""
        per_epoch = self.windows.per_epoch(episodes.train, settings["frames"])
        self.steps = steps_of(settings, len(self._dealt) if sampling == "episodes" else per_epoch)
        """Training steps that the settings ask for."""
        self._batch: Callable[[Place], tuple[Batch, list[int]]] = self._make
        if not isinstance(self.windows.visual, Tensor):
            self._batch = Ahead(self._make, self._next, threads=loaders)

    def loss_of_step(self, step: int, share: Share = WHOLE) -> Tensor:
        """The loss on the windows of step k, or on a share of them."""
        return self._loss(*self._batch((step, share)))

    def _make(self, place: Place) -> tuple[Batch, list[int]]:
        """Windows of a share of a step, and where imagining begins."""
        step, share = place
        random = step_generator(self.settings["seed"], "predictor", step)
        frames = self.settings["frames"]
        size = self.settings["batch_size"]
        if self._sampling == "episodes":
            episodes = dealt(self.settings["seed"], self._dealt, step * size, size)
            batch = self._prepared(*self.windows.draw_of_each(random, episodes, frames, share))
        else:
            batch = self._draw(random, self.episodes.train, size, frames, share)
        return batch, cuts(self.settings["prefixes"], random, frames, self.settings["rollout_steps"])

    def _next(self, place: Place) -> Place | None:
        """The share that this process learns after another one; see :class:`.learner.Learner`."""
        step, share = place
        ranks = Ranks.current()
        parts = share.count // ranks.size
        if (share.index + 1) % parts:
            return step, Share(share.index + 1, share.count)
        return (step + 1, Share(ranks.rank * parts, share.count)) if step + 1 < self.steps else None

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Error of imagined latents on held-out episodes beside two baselines that a model must beat.

        ``val_copy`` repeats the present; ``val_shuffled`` imagines with the actions of other episodes; ``val_loss``
        is the training loss. Where no episode is held out, the figures are of training episodes, and their names
        say so: ``train_copy``, and so on. With alarms on, ``imagined_rank`` and ``true_rank`` are effective ranks of
        the furthest frame, and ``alarm`` is the number of signs of collapse.
        """
        model = self.model.eval()
        random = np.random.default_rng(0)
        kind, episodes = self._judged()
        horizon = min(VALIDATION_HORIZON, self.windows.horizon(episodes))
        count = self.settings["validation_windows"]
        visual, action, proprio = self._draw(random, episodes, count, horizon + 1)
        felt = None if proprio is None else proprio[:, 0]

        def imagine(actions: Tensor) -> Tensor:
            return model.predictor.rollout(visual[:, 0], felt, actions[:, None], window=model.window)[0][:, 0]

        def error(imagined: Tensor) -> Tensor:
            return (imagined - visual).square().mean(dim=(0, 2, 3))

        imagined = imagine(action)
        figures = {
            f"{kind}_1": float(error(imagined)[1]),
            f"{kind}_{horizon}": float(error(imagined)[horizon]),
            f"{kind}_shuffled_{horizon}": float(error(imagine(action.roll(1, dims=0)))[horizon]),
            f"{kind}_copy_{horizon}": float((visual[:, 0] - visual[:, horizon]).square().mean()),
            f"{kind}_loss": self._validation_loss(count),
        }
        if self.settings["alarms"]:
            figures |= _compare(imagined[:, horizon], visual[:, horizon])
        model.train()
        return figures

    def _judged(self) -> tuple[str, np.ndarray]:
        """What the figures of validation are called, and the episodes they are taken on."""
        held_out = self.episodes.validation
        return ("val", held_out) if len(held_out) else ("train", self._dealt)

    def _validation_loss(self, count: int) -> float:
        random = step_generator(0, "validation", 0)
        frames = self.settings["frames"]
        batch = self._draw(random, self._judged()[1], count, frames)
        return float(self._loss(batch, cuts(self.settings["prefixes"], random, frames, self.settings["rollout_steps"])))

    def _draw(
        self, random: np.random.Generator, episodes: np.ndarray, batch: int, frames: int, share: Share = WHOLE
    ) -> Batch:
        """Random windows, all equally likely."""
        return self._prepared(*self.windows.draw(random, episodes, batch, frames, share))

    def _prepared(self, visual: Tensor, action: Tensor, proprio: Tensor) -> Batch:
        """Windows on the model's device, as its predictor wants them."""
        predictor, device = self.model.predictor, self.model.normaliser.action_mean.device
        felt = None if predictor.proprio_encoder is None else proprio.to(device)
        return predictor.normalise(visual.to(device)), action.to(device), felt

    def _loss(self, batch: Batch, places: Sequence[int]) -> Tensor:
        names = (
            "rollout_steps",
            "window",
            "stop_gradient",
            "true_proprio",
            "proprio_loss",
            "fixed_proprio",
            "order_weights",
        )
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

"""Pre-training the compact encoder: terms on pairs of neighbouring frames, without reconstruction.

Four terms need no labels. Two more, off unless a recipe gives them a weight, have what else a data set holds read
linearly from the latents: proprioception, which every agent senses, and the simulator's state, which is a label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.training.ahead import Ahead
from jepawm_agents.training.alarms import effective_rank as effective_rank
from jepawm_agents.training.alarms import encoder_alarms, sound, spread
from jepawm_agents.training.data import ByFrame, Episodes, step_generator
from jepawm_agents.training.frames_on_disk import FramesOnDisk
from jepawm_agents.training.losses import covariance, variance
from jepawm_agents.world_models.compact_encoder import CompactEncoder
from jepawm_agents.world_models.jepa import deviation

Pairs = tuple[Tensor, Tensor, dict[str, Tensor]]
"""Pixels, actions and truths of a batch, as :meth:`EncoderTraining.terms` takes them."""

HEAD_WIDTH = 256
PROBE_FRAMES = 4096
ENCODE_BATCH = 512


class EncoderTraining(nn.Module):
    """An encoder with its inverse-dynamics head, and their loss.

    Args:
        encoder: to be trained.
        episodes: data.
        settings: table ``encoder`` of a recipe.
        alarms: whether validation looks for signs of collapse.
        loaders: threads that read images, where these are on disk.
    """

    def __init__(
        self,
        encoder: CompactEncoder,
        episodes: Episodes,
        settings: Mapping[str, Any],
        *,
        alarms: bool = False,
        loaders: int = 1,
    ):
        super().__init__()
        self.alarms = alarms
        self.encoder, self.episodes, self.settings = encoder, episodes, settings
        features = encoder.latent_dim * encoder.grid_size**2
        actions = episodes.actions.shape[-1]
        self.head = nn.Sequential(nn.Linear(2 * features, HEAD_WIDTH), nn.GELU(), nn.Linear(HEAD_WIDTH, actions))
        self.action_std = deviation(episodes.real_steps(episodes.train))
        self._truths = {name: truth for name, truth in _truths(episodes, settings).items() if settings[name]}
        self.readings = nn.ModuleDict(
            {name: nn.Linear(features, truth.shape[-1]) for name, truth in self._truths.items()}
        )
        self._batch: Callable[[int], Pairs] = self._pairs
        if isinstance(episodes.pixels, FramesOnDisk):
            self._batch = Ahead(self._pairs, self._next_step, threads=loaders)

    def loss_of_step(self, step: int) -> Tensor:
        """The weighted terms on the pairs of step k."""
        terms = self.terms(*self._batch(step))
        return sum(self.settings[name] * value for name, value in terms.items())  # type: ignore[return-value]

    def terms(self, pixels: Tensor, actions: Tensor, truths: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The terms, by name.

        Args:
            pixels: (2 * B, H, W, C), B frames and then the frames after them.
            actions: (B, A) between them, environment units.
            truths: (2 * B, ...) what is to be read from the latents, by the names of :attr:`readings`.
        """
        device = device_of(self.encoder)
        z = self.encoder(pixels.to(device)).flatten(1)
        now, after = z.chunk(2)
        action = (actions / self.action_std).to(device)
        terms = {
            "similarity": F.mse_loss(now, after),
            "variance": (variance(now) + variance(after)) / 2,
            "covariance": (covariance(now) + covariance(after)) / 2,
            "inverse_dynamics": F.mse_loss(self.head(torch.cat([now, after], dim=1)), action),
        }
        read = {name: F.mse_loss(reading(z), truths[name].to(device)) for name, reading in self.readings.items()}
        return terms | read

    def _pairs(self, step: int) -> Pairs:
        random = step_generator(self.settings["seed"], "encoder", step)
        return self._read(*self.episodes.draw_steps(random, self.episodes.train, self.settings["batch_size"]))

    def _next_step(self, step: int) -> int | None:
        return step + 1 if step + 1 < self.settings["steps"] else None

    def _read(self, episode: Tensor, time: Tensor) -> Pairs:
        """Frames ``time`` and ``time + 1`` and what belongs to them, as :meth:`terms` takes them."""

        def both(values: ByFrame) -> Tensor:
            return torch.cat([values[episode, time], values[episode, time + 1]])

        truths = {name: both(truth) for name, truth in self._truths.items()}
        return both(self.episodes.pixels), self.episodes.actions[episode, time], truths

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Terms on held-out pairs, and alarms for collapse: effective rank, smallest deviation, linear probe."""
        random = np.random.default_rng(0)
        pairs = self._read(*self.episodes.draw_steps(random, self.episodes.validation, 1024))
        self.encoder.eval()
        figures = {f"val_{name}": float(value) for name, value in self.terms(*pairs).items()}
        halves = [self._frames(random, half) for half in np.array_split(self.episodes.validation, 2) if len(half)]
        self.encoder.train()
        z = torch.cat([latents for latents, _ in halves])
        found = spread(z)
        figures["effective_rank"] = found.rank
        figures["smallest_std"] = float(found.std.min())
        if len(halves) == 2:
            figures["probe_rmse"] = _probe(*halves)
        if self.alarms:
            figures["alarm"] = sound("encoder", encoder_alarms(found))
        return figures

    def _frames(self, random: np.random.Generator, episodes: np.ndarray) -> tuple[Tensor, Tensor]:
        """Latents (B, F) and proprioception (B, Q) of random frames of some episodes."""
        episode, time = self.episodes.draw_frames(random, episodes, PROBE_FRAMES // 2)
        latents = encode_all(self.encoder, self.episodes.pixels[episode, time]).flatten(1)
        return latents, self.episodes.proprio[episode, time]


@torch.no_grad()
def encode_all(encoder: nn.Module, pixels: Tensor) -> Tensor:
    """Latents (B, P, D) of many images (B, H, W, 3), a batch at a time, on the device of the images."""
    device = device_of(encoder)
    return torch.cat([encoder(part.to(device)).to(pixels.device) for part in pixels.split(ENCODE_BATCH)])


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are."""
    return next(module.parameters()).device


def _truths(episodes: Episodes, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Proprioception and the recipe's labels, (episodes, T + 1, ...) each, mean 0 and deviation 1 in training."""
    truths = {"proprio": episodes.proprio}
    if episodes.states is not None:
        angles = episodes.states[..., settings["state_angles"]]
        truths["state"] = torch.cat([episodes.states[..., settings["state_columns"]], angles.sin(), angles.cos()], -1)
    return {name: _standardised(truth, episodes) for name, truth in truths.items()}


def _standardised(values: Tensor, episodes: Episodes) -> Tensor:
    real = episodes.real_frames(values, episodes.train)
    return (values - real.mean(dim=0)) / deviation(real)


def _probe(fitted: tuple[Tensor, Tensor], read: tuple[Tensor, Tensor]) -> float:
    """Error of reading proprioception linearly from latents, in its units, on other episodes than those fitted on."""
    solution = torch.linalg.lstsq(_with_bias(fitted[0]), fitted[1].double(), driver="gelsd").solution
    return float((_with_bias(read[0]) @ solution - read[1]).square().mean().sqrt())


def _with_bias(z: Tensor) -> Tensor:
    return torch.cat([z, torch.ones(len(z), 1)], dim=1).double()

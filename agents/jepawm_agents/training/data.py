"""Episodes in memory, split into training and validation, and the windows models are trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepawm_agents.training.distributed import WHOLE, Share
from jepawm_envs.data import EpisodeStore

SPLIT_SEED = 234  # data seed of the published configurations


@dataclass(frozen=True)
class Episodes:
    """A data set in memory."""

    pixels: Tensor
    """(episodes, T + 1, H, W, 3) uint8."""
    actions: Tensor
    """(episodes, T, A) float32, environment units; the ``frameskip`` actions between two frames side by side."""
    proprio: Tensor
    """(episodes, T + 1, Q) float32."""
    train: np.ndarray
    """Indices of training episodes."""
    validation: np.ndarray
    """Indices of validation episodes."""
    sha256: str
    frameskip: int = 1
    """Environment steps between two frames."""

    @property
    def primitive_actions(self) -> Tensor:
        """(episodes, T * frameskip, A) float32, environment units."""
        return self.actions.unflatten(-1, (self.frameskip, -1)).flatten(1, 2)

    @classmethod
    def load(cls, store: EpisodeStore, validation_share: float) -> Episodes:
        """Read a whole data set and split it by episodes."""
        count = store.meta["episodes"]
        order = np.random.default_rng(SPLIT_SEED).permutation(count)
        held_out = max(1, round(count * validation_share))
        return cls(
            pixels=torch.from_numpy(np.stack([store.frames(episode) for episode in range(count)])),
            actions=torch.from_numpy(store.actions.astype(np.float32)),
            proprio=torch.from_numpy(store.proprio),
            train=np.sort(order[held_out:]),
            validation=np.sort(order[:held_out]),
            sha256=store.sha256(),
            frameskip=store.meta.get("frameskip", 1),
        )


@dataclass(frozen=True)
class Windows:
    """Encoded episodes, cut into windows of model steps."""

    visual: Tensor
    """(episodes, T + 1, P, D) latents of every frame."""
    actions: Tensor
    """(episodes, T, A) normalised actions between neighbouring frames."""
    proprio: Tensor
    """(episodes, T + 1, Q) normalised."""
    frameskip: int
    """Stored frames a model step takes."""

    def draw(
        self, random: np.random.Generator, episodes: np.ndarray, batch: int, frames: int, share: Share = WHOLE
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw random windows; of a share of the batch, the rest is drawn too, but not read.

        Returns:
            Latents (B, frames, P, D), actions (B, frames - 1, frameskip * A) with actions side by
            side, and proprioception (B, frames, Q).
        """
        span = (frames - 1) * self.frameskip
        if span > self.actions.shape[1]:
            raise ValueError(
                f"Windows of {frames} frames need episodes of {span} steps; these have {self.actions.shape[1]}."
            )
        own = share.of(batch)
        episode = torch.from_numpy(random.choice(episodes, size=batch))[own, None]
        start = torch.from_numpy(random.integers(0, self.actions.shape[1] - span + 1, size=batch))[own, None]
        frame = start + self.frameskip * torch.arange(frames)
        action = self.actions[episode, start + torch.arange(span)]
        return (
            self.visual[episode, frame],
            action.unflatten(1, (frames - 1, -1)).flatten(2),
            self.proprio[episode, frame],
        )


def step_generator(seed: int, stage: str, step: int) -> np.random.Generator:
    """The randomness of one training step: a function of its number, so that a resumed run draws the same."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*stage.encode(), step)))

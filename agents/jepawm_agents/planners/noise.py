"""Planner noise that depends on the episode alone, never on its neighbours in a batch.

The numbers are a function of (seed, episode, replan, iteration), drawn on the CPU by a counter-based generator,
so any batch size, number of workers, order or device sees the same candidates. One shared generator, the usual
way, flips outcomes when only the batch size changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

AFTERWARDS = 1_000_000_000
"""Iteration number of draws that come after all iterations; the ones that follow are free too."""


class EpisodeNoise:
    """Noise for a batch of episodes at one replanning.

    Args:
        keys: one (seed, episode) pair an episode of the batch.
        replan: how often this episode has been planned before.
        device: where the numbers go.
    """

    def __init__(self, keys: Sequence[tuple[int, int]], replan: int, device: torch.device | str = "cpu"):
        self.keys = tuple(keys)
        self.replan = replan
        self.device = device

    def normal(self, iteration: int, shape: tuple[int, ...]) -> Tensor:
        """Standard normals of ``shape``, whose first axis runs over the episodes, float32."""
        if shape[0] != len(self.keys):
            raise ValueError(f"Noise for {len(self.keys)} episodes was asked for {shape[0]}.")
        rows = [self._episode(seed, episode, iteration, shape[1:]) for seed, episode in self.keys]
        return torch.from_numpy(np.stack(rows)).to(self.device)

    def _episode(self, seed: int, episode: int, iteration: int, shape: tuple[int, ...]) -> np.ndarray:
        source = np.random.SeedSequence(seed, spawn_key=(episode, self.replan, iteration))
        return np.random.Generator(np.random.Philox(source)).standard_normal(shape, dtype=np.float32)

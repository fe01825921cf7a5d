"""Single frames with their latents and states, for heads: a head sees no more than one frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepawm_agents.errors import ConfigError
from jepawm_agents.heads.colours import as_rgb
from jepawm_agents.training.data import GIB, SPLIT_SEED
from jepawm_agents.training.joined_store import Store
from jepawm_agents.world_models.encoders.base import square

ENCODE_BATCH = 256
SOME = 512
SOME_BATCH = 64


class FrameBatch(NamedTuple):
    """B frames."""

    latents: Tensor
    """(B, P, D)."""
    images: Tensor
    """(B, 3, H, W) from 0 to 1, of the encoder's image size."""
    states: Tensor
    """(B, S) float32, environment units."""


class Frames:
    """All frames of a data set, those of some episodes held out.

    Args:
        store: of episodes of any length; it must stay open.
        encode: uint8 images (B, H, W, C) to tokens (B, P, D).
        image_size: side of the images that a batch shows; stored ones of another size are cut and resized as
            for the pretrained encoders.
        validation_share: of the episodes that are held out, at least one; the split is that of world models.
        states: whether states are wanted; else they have no entries (S = 0).
        memory: GiB; where images and latents take more, they are read and encoded anew for every batch.
        device: where the encoder is and batches go.
    """

    def __init__(
        self,
        store: Store,
        encode: Callable[[Tensor], Tensor],
        *,
        image_size: int,
        validation_share: float,
        states: bool = True,
        memory: float = float("inf"),
        device: torch.device | str = "cpu",
    ):
        self._store, self._encode, self._image_size, self._device = store, encode, image_size, device
        held_out = _held_out(len(store), validation_share)
        places = [(episode, time) for episode, steps in enumerate(store.lengths) for time in range(steps + 1)]
        self._places = np.array(places, dtype=np.int64)
        in_validation = np.isin(self._places[:, 0], held_out)
        self.train: NDArray[np.int64] = np.flatnonzero(~in_validation)
        """Numbers of the frames to train on."""
        self.validation: NDArray[np.int64] = np.flatnonzero(in_validation)
        """Numbers of the frames held out."""
        self.states = _states(store) if states else torch.zeros(len(self._places), 0)
        """(frames, S)."""
        self._pixels: Tensor | None = None
        self._latents: Tensor | None = None
        if self._bytes() <= memory * GIB:
            pixels = torch.from_numpy(np.concatenate([store.frames(episode) for episode in range(len(store))]))
            self._pixels = pixels
            self._latents = torch.cat([encode(part.to(device)).cpu() for part in pixels.split(ENCODE_BATCH)])

    def _bytes(self) -> int:
        """What images and latents of all frames take."""
        one = torch.from_numpy(self._store.frames(0, 0, 1))
        return len(self._places) * (one.nbytes + self._encode(one.to(self._device)).nbytes)

    def read(self, numbers: NDArray[np.int64]) -> FrameBatch:
        """Frames by number, (B,)."""
        chosen = torch.from_numpy(numbers)
        if self._pixels is not None and self._latents is not None:
            pixels, latents = self._pixels[chosen], self._latents[chosen]
        else:
            places = self._places[numbers].tolist()
            stored = [self._store.frames(episode, time, time + 1)[0] for episode, time in places]
            pixels = torch.from_numpy(np.stack(stored))
            latents = self._encode(pixels.to(self._device))
        images = square(as_rgb(pixels).permute(0, 3, 1, 2).float() / 255.0, self._image_size)
        return FrameBatch(*(part.to(self._device) for part in (latents, images, self.states[chosen])))

    def some(self, numbers: NDArray[np.int64]) -> Iterator[FrameBatch]:
        """Up to 512 of these frames, the same every time, spread evenly over them."""
        chosen = numbers[:: max(1, len(numbers) // SOME)][:SOME]
        for first in range(0, len(chosen), SOME_BATCH):
            yield self.read(chosen[first : first + SOME_BATCH])

    def some_images(self) -> Tensor:
        """Up to 512 training images, (N, 3, H, W)."""
        return torch.cat([batch.images for batch in self.some(self.train)])

    def mean_image(self) -> Tensor:
        """Mean of some training images, (3, H, W)."""
        return self.some_images().mean(dim=0)


def _states(store: Store) -> Tensor:
    """States of all frames, (frames, S)."""
    states = [store.array("states", episode).astype(np.float32) for episode in range(len(store))]
    sizes = sorted({values.shape[1] for values in states})
    if len(sizes) > 1:
        raise ConfigError(f"A state decoder needs states of one size; those of these environments have {sizes}.")
    return torch.from_numpy(np.concatenate(states))


def _held_out(episodes: int, share: float) -> NDArray[np.int64]:
    """As :meth:`.data.Episodes.load` splits, but one episode at least: a head is judged on it."""
    return np.random.default_rng(SPLIT_SEED).permutation(episodes)[: max(1, round(episodes * share))]

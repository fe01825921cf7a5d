"""Episodes, split into training and validation, and the windows models are trained on.

What is small is in memory: actions, proprioception, and images up to a limit. Larger image sets stay on disk
(:mod:`.frames_on_disk`), where single frames are read. Episodes may have different lengths; rows behind the end of a
short one are zero and never drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepawm_agents.training.distributed import WHOLE, Share
from jepawm_agents.training.frames_on_disk import FramesOnDisk
from jepawm_agents.training.joined_store import Store
from jepawm_envs.data import WindowIndex

SPLIT_SEED = 234  # data seed of the published configurations
SAMPLING = ("windows", "episodes")
"""Laws of the batches: all windows equally likely, or every episode once a pass, with one random window of it."""
GIB = 2**30
Numbers = NDArray[np.int64]


class ByFrame(Protocol):
    """Something a frame, in memory or not: ``values[episode, time]`` with tensors of numbers of one shape (...)."""

    def __getitem__(self, place: tuple[Tensor, Tensor], /) -> Tensor:
        """(..., *what belongs to a frame)."""
        ...


@dataclass(frozen=True)
class Episodes:
    """A data set; T is the length of its longest episode."""

    pixels: Tensor | FramesOnDisk
    """(episodes, T + 1, H, W, 3) uint8."""
    actions: Tensor
    """(episodes, T, A) float32, environment units; the ``frameskip`` actions between two frames side by side."""
    proprio: Tensor
    """(episodes, T + 1, Q) float32."""
    train: np.ndarray
    """Indices of training episodes."""
    validation: np.ndarray
    """Indices of validation episodes; there may be none."""
    sha256: str
    frameskip: int = 1
    """Environment steps between two frames."""
    lengths: Numbers | None = None
    """Rows of ``actions`` that belong to every episode; None: all."""
    states: Tensor | None = None
    """(episodes, T + 1, S) float32, of the simulator; None unless they were asked for."""

    @property
    def primitive_actions(self) -> Tensor:
        """(episodes, T * frameskip, A) float32, environment units."""
        return self.actions.unflatten(-1, (self.frameskip, -1)).flatten(1, 2)

    @classmethod
    def load(
        cls,
        store: Store,
        validation_share: float,
        memory: float = float("inf"),
        *,
        states: bool = False,
        validation: np.ndarray | None = None,
    ) -> Episodes:
        """Read a data set and split it by episodes.

        Args:
            store: to be read; it must stay open as long as the images are on disk.
            validation_share: share of the episodes that are held out, at least one; with 0 none is.
            memory: GiB; images that take more stay on disk.
            states: whether the simulator's states are read too.
            validation: the episodes that are held out instead of a share.
        """
        count, lengths = len(store), np.asarray(store.lengths, np.int64)
        if validation is None:
            order = np.random.default_rng(SPLIT_SEED).permutation(count)
            validation = order[: max(1, round(count * validation_share)) if validation_share else 0]
        size = count * (int(lengths.max()) + 1) * int(np.prod(store.frame_shape))
        if size <= memory * GIB:
            pixels = _stacked([torch.from_numpy(store.frames(episode)) for episode in range(count)])
        else:
            pixels = FramesOnDisk(store)
        return cls(
            pixels=pixels,
            actions=_stacked([_rows(store, "actions", episode) for episode in range(count)]),
            proprio=_stacked([_rows(store, "proprio", episode) for episode in range(count)]),
            train=np.setdiff1d(np.arange(count), validation),
            validation=np.sort(validation),
            sha256=store.sha256(),
            frameskip=store.meta.get("frameskip", 1),
            lengths=None if (lengths == lengths[0]).all() else lengths,
            states=_stacked([_rows(store, "states", episode) for episode in range(count)]) if states else None,
        )

    def real_steps(self, episodes: np.ndarray) -> Tensor:
        """Rows of :attr:`actions` of some episodes, one below the other, (N, A)."""
        return _real(self.actions, self._lengths(), episodes)

    def real_actions(self, episodes: np.ndarray) -> Tensor:
        """Primitive actions of some episodes, one below the other, (N, A)."""
        return _real(self.primitive_actions, self._lengths() * self.frameskip, episodes)

    def real_proprio(self, episodes: np.ndarray) -> Tensor:
        """Proprioception of all frames of some episodes, (N, Q)."""
        return self.real_frames(self.proprio, episodes)

    def real_frames(self, values: Tensor, episodes: np.ndarray) -> Tensor:
        """What belongs to the frames of some episodes, (N, ...) of values (all episodes, T + 1, ...)."""
        return _real(values, self._lengths() + 1, episodes)

    def draw_steps(self, random: np.random.Generator, episodes: np.ndarray, count: int) -> tuple[Tensor, Tensor]:
        """Episode and time of ``count`` actions, (count,) each; all are equally likely."""
        return self._draw(random, episodes, count, frames=2)

    def draw_frames(self, random: np.random.Generator, episodes: np.ndarray, count: int) -> tuple[Tensor, Tensor]:
        """Episode and time of ``count`` frames, (count,) each; all are equally likely."""
        return self._draw(random, episodes, count, frames=1)

    def _draw(
        self, random: np.random.Generator, episodes: np.ndarray, count: int, *, frames: int
    ) -> tuple[Tensor, Tensor]:
        """Episode and time of the first of ``frames`` neighbouring frames."""
        if self.lengths is None:  # other draws than an index makes, those of the shipped trainings
            episode = torch.from_numpy(random.choice(episodes, size=count))
            return episode, torch.from_numpy(random.integers(0, self.actions.shape[1] + 2 - frames, size=count))
        places = WindowIndex.of(self.lengths, frames, 1, episodes).draw(random, count)
        return torch.from_numpy(places[0]), torch.from_numpy(places[1])

    def frame_places(self, episodes: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Episode and time of every frame of some episodes, or of all, in order."""
        chosen = np.arange(len(self.actions)) if episodes is None else episodes
        frames = self._lengths()[chosen] + 1
        first = np.repeat(np.cumsum(frames) - frames, frames)
        time = np.arange(int(frames.sum())) - first
        return torch.from_numpy(np.repeat(chosen, frames)), torch.from_numpy(time)

    def _lengths(self) -> Numbers:
        return np.full(len(self.actions), self.actions.shape[1]) if self.lengths is None else self.lengths


@dataclass(frozen=True)
class Windows:
    """Encoded episodes, cut into windows of model steps."""

    visual: ByFrame
    """Latents of every frame: a tensor (episodes, T + 1, P, D), or what gives those asked for."""
    actions: Tensor
    """(episodes, T, A) normalised actions between neighbouring frames."""
    proprio: Tensor
    """(episodes, T + 1, Q) normalised."""
    frameskip: int
    """Stored frames a model step takes."""
    lengths: Numbers | None = None
    """As in :class:`Episodes`."""

    def draw(
        self, random: np.random.Generator, episodes: np.ndarray, batch: int, frames: int, share: Share = WHOLE
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw random windows, see :meth:`take`; of a share of the batch, the rest is drawn too, but not read."""
        episode, start = self.places(random, episodes, batch, frames)
        own = share.of(batch)
        return self.take(episode[own], start[own], frames)

    def places(
        self, random: np.random.Generator, episodes: np.ndarray, batch: int, frames: int
    ) -> tuple[Tensor, Tensor]:
        """Episode and first frame of random windows, (B,) each; all windows are equally likely.

        Raises:
            ValueError: if no episode is long enough.
        """
        span = (frames - 1) * self.frameskip
        if self.lengths is not None:
            places = WindowIndex.of(self.lengths, frames, self.frameskip, episodes).draw(random, batch)
            return torch.from_numpy(places[0]), torch.from_numpy(places[1])
        if span > self.actions.shape[1]:
            raise ValueError(
                f"Windows of {frames} frames need episodes of {span} steps; these have {self.actions.shape[1]}."
            )
        episode = torch.from_numpy(random.choice(episodes, size=batch))
        return episode, torch.from_numpy(random.integers(0, self.actions.shape[1] - span + 1, size=batch))

    def draw_of_each(
        self, random: np.random.Generator, episodes: Numbers, frames: int, share: Share = WHOLE
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw one random window of each of some episodes, which are :meth:`long_enough`; see :meth:`draw`."""
        starts = self._lengths()[episodes] - (frames - 1) * self.frameskip + 1
        start, own = torch.from_numpy(random.integers(0, starts)), share.of(len(episodes))
        return self.take(torch.from_numpy(episodes)[own], start[own], frames)

    def long_enough(self, episodes: np.ndarray, frames: int) -> Numbers:
        """Those of some episodes that hold a window.

        Raises:
            ValueError: if none does.
        """
        return WindowIndex.of(self._lengths(), frames, self.frameskip, episodes).episodes

    def take(self, episode: Tensor, start: Tensor, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Windows by episode and first frame, (B,) each.

        Returns:
            Latents (B, frames, P, D), actions (B, frames - 1, frameskip * A) with actions side by
            side, and proprioception (B, frames, Q).
        """
        episode, start = episode[:, None], start[:, None]
        frame = start + self.frameskip * torch.arange(frames)
        action = self.actions[episode, start + torch.arange((frames - 1) * self.frameskip)]
        return (
            self.visual[episode, frame],
            action.unflatten(1, (frames - 1, -1)).flatten(2),
            self.proprio[episode, frame],
        )

    def per_epoch(self, episodes: np.ndarray, frames: int) -> int:
        """Windows of some episodes that one epoch has, as published.

        The reference cuts ``frames * frameskip`` steps, the actions after the last frame included, so that an episode
        of T steps has T - frames * frameskip + 1 windows (jepa-wms ``traj_dset.py:84-152``): 31 in 50 steps of Wall
        and 80 in 99 of Metaworld. :meth:`draw` also takes the ``frameskip`` later starts, whose frames are there.

        Raises:
            ValueError: if no episode is long enough for a single window.
        """
        self.long_enough(episodes, frames)
        return int((self._lengths()[episodes] - frames * self.frameskip + 1).clip(min=0).sum())

    def horizon(self, episodes: np.ndarray) -> int:
        """Model steps that the shortest of some episodes holds, at least one."""
        shortest = self.actions.shape[1] if self.lengths is None else int(self.lengths[episodes].min())
        return max(1, shortest // self.frameskip)

    def _lengths(self) -> Numbers:
        return np.full(len(self.actions), self.actions.shape[1]) if self.lengths is None else self.lengths


def dealt(seed: int, episodes: Numbers, first: int, count: int) -> Numbers:
    """Some places of an endless deal of episodes: all of them once, in random order, then all again in another one.

    Differs from the reference, whose every pass leaves out the episodes of a last, incomplete batch (jepa-wms
    ``datasets/utils.py``, ``drop_last``): here the next pass fills it.

    Args:
        seed: of the orders.
        episodes: what is dealt, (E,).
        first: the first place asked for, from 0.
        count: how many places.

    Returns:
        (count,).
    """
    size = len(episodes)
    passes = range(first // size, -(-(first + count) // size))
    orders = [step_generator(seed, "episodes", number).permutation(episodes) for number in passes]
    return np.concatenate(orders)[first - passes.start * size :][:count]


def step_generator(seed: int, stage: str, step: int) -> np.random.Generator:
    """The randomness of one training step: a function of its number, so that a resumed run draws the same."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*stage.encode(), step)))


def in_portions(places: tuple[Tensor, Tensor], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Places of frames, ``size`` at a time."""
    yield from zip(places[0].split(size), places[1].split(size), strict=True)


def _rows(store: Store, name: str, episode: int) -> Tensor:
    return torch.from_numpy(store.array(name, episode).astype(np.float32))


def _stacked(parts: list[Tensor]) -> Tensor:
    """(episodes, longest, ...), zero behind the end of shorter ones."""
    if len({len(part) for part in parts}) == 1:
        return torch.stack(parts)
    stacked = parts[0].new_zeros((len(parts), max(map(len, parts)), *parts[0].shape[1:]))
    for row, part in zip(stacked, parts, strict=True):
        row[: len(part)] = part
    return stacked


def _real(values: Tensor, rows: Numbers, episodes: np.ndarray) -> Tensor:
    chosen = values[torch.from_numpy(episodes)]
    if (rows[episodes] == values.shape[1]).all():
        return chosen.flatten(0, 1)
    return torch.cat([row[:count] for row, count in zip(chosen, rows[episodes].tolist(), strict=True)])

"""Windows: a few frames out of an episode and the actions between them, drawn evenly from a whole data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jepawm_envs.data.store import EpisodeStore
from jepawm_envs.errors import InvalidOption


@dataclass(frozen=True)
class WindowIndex:
    """All windows of some episodes, numbered: every start in every episode, as published (stride 1).

    Fact: jepa-wms ``traj_dset.py:84-152`` takes every start and shuffles the windows; so a long episode is drawn
    from more often than a short one.
    """

    frames: int
    """Frames of a window, F."""
    frameskip: int
    """Primitive actions between two of them."""
    episodes: NDArray[np.int64]
    """Numbers of the episodes that are long enough."""
    firsts: NDArray[np.int64]
    """Number of each one's first window, and at the end the number of windows, (episodes + 1,)."""

    @classmethod
    def of(
        cls, lengths: ArrayLike, frames: int, frameskip: int, episodes: Sequence[int] | NDArray | None = None
    ) -> WindowIndex:
        """The windows of episodes with these numbers of actions.

        Args:
            lengths: actions of every episode of the data set.
            frames: F, at least 1.
            frameskip: at least 1.
            episodes: which to use; all when None.

        Raises:
            InvalidOption: when no episode is long enough.
        """
        if frames < 1 or frameskip < 1:
            raise InvalidOption(f"frames={frames} and frameskip={frameskip} must both be at least 1.")
        all_lengths = np.asarray(lengths, np.int64)
        chosen = np.arange(len(all_lengths)) if episodes is None else np.asarray(episodes, np.int64)
        starts = all_lengths[chosen] - (frames - 1) * frameskip + 1
        chosen, starts = chosen[starts > 0], starts[starts > 0]
        if not len(chosen):
            raise InvalidOption(
                f"Windows of {frames} frames every {frameskip} steps need episodes of {(frames - 1) * frameskip} "
                f"steps; the longest has {all_lengths.max(initial=0)}."
            )
        return cls(frames, frameskip, chosen, np.concatenate([[0], np.cumsum(starts)]))

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def locate(self, numbers: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Episode and first frame of windows by number."""
        wanted = np.asarray(numbers, np.int64)
        place = np.searchsorted(self.firsts, wanted, side="right") - 1
        return self.episodes[place], wanted - self.firsts[place]

    def draw(self, random: np.random.Generator, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Episodes and first frames of ``count`` windows, all equally likely, with repetition."""
        return self.locate(random.integers(len(self), size=count))


@dataclass(frozen=True)
class Batch:
    """B windows."""

    pixels: NDArray[np.uint8]
    """(B, F, H, W, C)."""
    actions: NDArray
    """(B, F - 1, frameskip * A): primitive actions side by side, in order of time (``traj_dset.py:133-152``)."""
    frame_arrays: dict[str, NDArray]
    """``states`` and ``proprio``, (B, F, ...)."""


def read_windows(store: EpisodeStore, episodes: ArrayLike, starts: ArrayLike, *, frames: int, frameskip: int) -> Batch:
    """Read windows; only their own frames are decoded.

    Args:
        store: to read from.
        episodes: (B,).
        starts: the first frame of each window, (B,).
        frames: F.
        frameskip: primitive actions between two frames.

    Raises:
        DataError: for a window that its episode has not.
    """
    span = (frames - 1) * frameskip
    pixels, actions = [], []
    arrays: dict[str, list[NDArray]] = {name: [] for name in ("states", "proprio")}
    for episode, start in zip(np.asarray(episodes).tolist(), np.asarray(starts).tolist(), strict=True):
        pixels.append(store.frames(episode, start, start + span + 1, frameskip))
        actions.append(store.array("actions", episode, start, start + span).reshape(frames - 1, -1))
        for name, values in arrays.items():
            values.append(store.array(name, episode, start, start + span + 1)[::frameskip])
    return Batch(np.stack(pixels), np.stack(actions), {name: np.stack(values) for name, values in arrays.items()})

"""Pictures of a data set: a sheet of frames, or a film of several episodes side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.data.store import EpisodeStore
from jepawm_envs.errors import InvalidOption

GAP = 2
GREY = 128
FRAME_MS, LAST_FRAME_MS = 100, 1000


def preview(path: str | Path, out: str | Path, *, episodes: int = 8, frames: int = 10) -> Path:
    """Write a picture of a data set.

    Args:
        path: of the data set.
        out: a ``.png`` file gets a contact sheet: an episode a row, its frames evenly spaced from first to last; a
            ``.gif`` film shows all frames of the episodes side by side, a shorter one waits at its end.
        episodes: how many, evenly spaced in the data set.
        frames: of a row of the sheet.

    Returns:
        The file.

    Raises:
        InvalidOption: for another kind of file, or counts below one.
        DataError: as :class:`EpisodeStore`.
    """
    from PIL import Image

    file = Path(out)
    if file.suffix not in (".png", ".gif"):
        raise InvalidOption(f"{file.name} is neither a sheet (.png) nor a film (.gif).")
    if min(episodes, frames) < 1:
        raise InvalidOption(f"episodes={episodes} and frames={frames} must both be at least 1.")
    with EpisodeStore(path) as store:
        chosen = _spread(len(store), episodes)
        pictures = [sheet(store, chosen, frames)] if file.suffix == ".png" else film(store, chosen)
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [Image.fromarray(picture) for picture in pictures]
    if file.suffix == ".png":
        images[0].save(file)
    else:
        durations = [FRAME_MS] * (len(images) - 1) + [LAST_FRAME_MS]
        images[0].save(file, save_all=True, append_images=images[1:], duration=durations, loop=0)
    return file


def sheet(store: EpisodeStore, episodes: list[int], frames: int) -> NDArray[np.uint8]:
    """A row an episode, ``frames`` frames each, grey lines between them, (H', W', 3)."""
    rows = []
    for episode in episodes:
        chosen = _spread(int(store.lengths[episode]) + 1, frames)
        row = [_rgb(store.frames(episode, frame, frame + 1)[0]) for frame in chosen]
        blank = np.full_like(row[0], GREY)
        rows.append(_joined(row + [blank] * (frames - len(row)), axis=1))
    return _joined(rows, axis=0)


def film(store: EpisodeStore, episodes: list[int]) -> list[NDArray[np.uint8]]:
    """Pictures (H', W', 3) of all episodes at once, in a grid about as wide as high."""
    longest = int(max(store.lengths[episode] for episode in episodes)) + 1
    across = int(np.ceil(np.sqrt(len(episodes))))
    pictures = []
    for time in range(longest):
        now = [min(time, int(store.lengths[episode])) for episode in episodes]
        tiles = [_rgb(store.frames(episode, at, at + 1)[0]) for episode, at in zip(episodes, now, strict=True)]
        tiles += [np.full_like(tiles[0], GREY)] * (-len(tiles) % across)
        rows = [_joined(tiles[first : first + across], axis=1) for first in range(0, len(tiles), across)]
        pictures.append(_joined(rows, axis=0))
    return pictures


def _spread(count: int, wanted: int) -> list[int]:
    """Up to ``wanted`` different numbers from 0 to ``count`` - 1, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(int)).tolist()


def _rgb(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame with any number of channels as red, green and blue: grey for one, the first three, black for none."""
    if frame.shape[-1] == 1:
        return np.repeat(frame, 3, axis=-1)
    missing = max(0, 3 - frame.shape[-1])
    return np.pad(frame[..., :3], ((0, 0), (0, 0), (0, missing)))


def _joined(pictures: list[NDArray[np.uint8]], axis: int) -> NDArray[np.uint8]:
    """Pictures beside or above each other, with a grey line between."""
    shape = list(pictures[0].shape)
    shape[axis] = GAP
    line = np.full(shape, GREY, np.uint8)
    parts = [part for picture in pictures for part in (picture, line)]
    return np.concatenate(parts[:-1], axis=axis)

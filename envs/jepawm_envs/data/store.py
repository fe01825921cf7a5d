"""Reading data sets, whichever format they are in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.data.episode import DamagedEpisode
from jepawm_envs.data.hdf5 import Hdf5Store
from jepawm_envs.data.native import NativeStore
from jepawm_envs.errors import DataError


class EpisodeStore:
    """A data set open for reading.

    Args:
        path: a native store (a folder) or an ``.h5`` file.

    Raises:
        DataError: if it is missing, unreadable, damaged, of another format or unfinished.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.exists():
            raise DataError(
                f"There is no data set at {self.path}; make one with `jepawm-bench data collect --out {self.path}`."
            )
        self._store = NativeStore(self.path) if self.path.is_dir() else Hdf5Store(self.path)
        self.meta: dict[str, Any] = self._store.meta
        self.lengths: NDArray[np.int64] = self._store.lengths
        """Actions of every episode, (episodes,)."""

    def __len__(self) -> int:
        return len(self.lengths)

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def __reduce__(self):
        return EpisodeStore, (self.path,)  # a process that is sent a store opens it anew

    @property
    def states(self) -> NDArray[np.float64]:
        """All states, (episodes, T + 1, S)."""
        return self._stacked("states")

    @property
    def actions(self) -> NDArray[np.float64]:
        """All actions, (episodes, T, A)."""
        return self._stacked("actions")

    @property
    def proprio(self) -> NDArray[np.float32]:
        """All proprioception, (episodes, T + 1, Q)."""
        return self._stacked("proprio")

    @property
    def arrays(self) -> dict[str, str]:
        """Names of the arrays, and whether each has a row per ``frames`` or per ``steps``."""
        return dict(self._store.arrays)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """(H, W, C)."""
        return self._store.frame_shape

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """Episodes that were left out in conversion: ``source`` and, under ``skipped``, why."""
        return list(self._store.skipped)

    def array(self, name: str, episode: int, start: int = 0, stop: int | None = None) -> NDArray:
        """Rows ``start`` to ``stop`` of one array of one episode.

        Raises:
            DataError: for an array or episode that the data set has not, rows that the episode has not, or damage.
        """
        self._check_episode(episode)
        if name not in self._store.arrays:
            raise DataError(f"{self.path} has no array {name!r}; it has {', '.join(self._store.arrays)}.")
        rows = int(self.lengths[episode]) + (self._store.arrays[name] == "frames")
        return self._store.array(name, episode, *self._range(episode, start, stop, rows))

    def frames(self, episode: int, start: int = 0, stop: int | None = None, step: int = 1) -> NDArray[np.uint8]:
        """Frames ``start`` to ``stop`` of one episode, every ``step``-th, (frames, H, W, C).

        Raises:
            DataError: for an episode or frames that are not there, a step below one, or damage.
        """
        self._check_episode(episode)
        if step < 1:
            raise DataError(f"Every {step}-th frame cannot be read of {self.path}; step is at least 1.")
        start, stop = self._range(episode, start, stop, int(self.lengths[episode]) + 1)
        return self._store.frames(episode, start, stop, step)

    def place(self, episode: int) -> str:
        """Where an episode lies, for messages."""
        return f"{self.path}::episode_{episode}"

    def checked(self, episode: int) -> tuple[dict[str, NDArray], NDArray[np.uint8]]:
        """All arrays by name and all frames of one episode, compared with its hashes, where the format has such.

        Raises:
            DamagedEpisode: if they are not what was written.
            DataError: for an episode that is not there.
        """
        self._check_episode(episode)
        try:
            arrays = {name: self.array(name, episode) for name in self.arrays}
            pixels = self.frames(episode)
        except (DataError, OSError) as problem:
            raise DamagedEpisode(self.place(episode), str(problem).rstrip(".")) from None
        if not self._store.is_as_written(episode, arrays, pixels):
            raise DamagedEpisode(self.place(episode), "its content is not what was written; make the data set again")
        return arrays, pixels

    def rows(self, name: str) -> NDArray:
        """The rows of one array of all episodes, one after the other; mapped where the format allows."""
        return self._store.whole(name)

    def notes(self, episode: int) -> dict[str, Any]:
        """Facts of one episode as a whole: its source, task, ...

        Raises:
            DataError: for an episode that is not there.
        """
        self._check_episode(episode)
        return self._store.notes(episode)

    def sha256(self) -> str:
        """Hash of the physical content (states and actions) and of what made it.

        Frames that were recorded, and so do not follow from the states, are part of it.
        """
        digest = hashlib.sha256(json.dumps(self.meta, sort_keys=True).encode())
        for name in ("states", "actions"):
            digest.update(np.ascontiguousarray(self.rows(name)).data)
        if self.meta.get("frames") == "recorded":
            digest.update("".join(self._store.frame_hashes()).encode())
        return digest.hexdigest()

    @property
    def hashed(self) -> bool:
        """Whether every episode has hashes; without, :meth:`verify` notices only what cannot be read."""
        return self._store.hashed

    def verify(self) -> list[int]:
        """Read everything; the numbers of the episodes that are not what was written, or cannot be read."""
        return self._store.verify()

    def close(self) -> None:
        """Close the files."""
        self._store.close()

    def _stacked(self, name: str) -> NDArray:
        """All episodes of one array, a copy in memory.

        Raises:
            DataError: when their lengths differ.
        """
        if (self.lengths != self.lengths[0]).any():
            raise DataError(
                f"The episodes of {self.path} have {self.lengths.min()} to {self.lengths.max()} steps and make no one "
                f"array; use array({name!r}, episode) or the windows of jepawm_envs.data.windows."
            )
        values = self.rows(name)
        return np.array(values).reshape(len(self), -1, *values.shape[1:])

    def _check_episode(self, episode: int) -> None:
        if not 0 <= episode < len(self):
            raise DataError(f"{self.path} has episodes 0 to {len(self) - 1}, not {episode}.")

    def _range(self, episode: int, start: int, stop: int | None, rows: int) -> tuple[int, int]:
        stop = rows if stop is None else stop
        if not 0 <= start <= stop <= rows:
            raise DataError(f"Episode {episode} of {self.path} has rows 0 to {rows}, not {start} to {stop}.")
        return start, stop


def info(path: str | Path) -> dict[str, Any]:
    """A summary of a data set for people and scripts.

    Raises:
        DataError: as :class:`EpisodeStore`.
    """
    with EpisodeStore(path) as store:
        summary = {
            **store.meta,
            "path": str(path),
            "frames": int((store.lengths + 1).sum()),
            "frame_shape": list(store.frame_shape),
            "shortest": int(store.lengths.min()),
            "longest": int(store.lengths.max()),
            "skipped": len(store.skipped),
            "bytes": _size(store.path),
        }
        for name in ("actions", "states"):
            values = store.rows(name)
            label = name.removesuffix("s")
            summary[f"{label}_mean"] = values.mean(axis=0).round(6).tolist()
            summary[f"{label}_std"] = values.std(axis=0).round(6).tolist()
        summary["sha256"] = store.sha256()
    return summary


def _size(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)

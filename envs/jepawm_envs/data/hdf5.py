"""The first format, ``jepawm-episodes/1``: one HDF5 file, episodes of equal length, frames in chunks of eight.

Kept because the shipped weights name the hash of such a file. :mod:`jepawm_envs.data.native` is faster to draw
windows from and takes episodes of any length.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from jepawm_envs.data.episode import Episode
from jepawm_envs.errors import DataError

FORMAT = "jepawm-episodes/1"
FRAMES_PER_CHUNK = 8
FLUSH_EVERY = 64
ARRAYS = {"states": "frames", "proprio": "frames", "actions": "steps"}
SUFFIXES = (".h5", ".hdf5")


class Hdf5Writer:
    """Writes a file, or continues an unfinished one; a finished one is only read, and others may read it too.

    Args:
        path: of the file.
        meta: what is collected; an existing file must hold the same.

    Raises:
        DataError: if the file holds something else or is damaged.
    """

    def __init__(self, path: Path, meta: Mapping[str, Any]):
        self.path, self.meta = path, dict(meta)
        self._file: h5py.File | None = None
        self.seen = 0
        if path.exists():
            self._begin("r")
            if not self.complete:
                self.close()
                self._begin("r+")

    @property
    def complete(self) -> bool:
        """Whether nothing is left to write."""
        return self.seen == self.meta["episodes"]

    def append(self, episode: Episode) -> None:
        """Write one episode.

        Raises:
            DataError: if it has another length than the others.
        """
        if episode.steps != self.meta["steps"]:
            raise DataError(
                f"Episode {self.seen} has {episode.steps} steps, and {self.path.name} only holds episodes of "
                f"{self.meta['steps']}; collect into a folder (an --out without suffix)."
            )
        file = self._file = self._file or _create(self.path, self.meta, episode)
        for name, values in {**episode.frame_arrays, **episode.step_arrays, "pixels": episode.pixels}.items():
            file[name][self.seen] = values  # type: ignore[index]
        self.seen += 1
        file.attrs["completed"] = self.seen
        if self.seen % FLUSH_EVERY == 0:
            file.flush()

    def finish(self) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; what was written stays."""
        if self._file is not None:
            self._file.close()

    def _begin(self, mode: str) -> None:
        """Open what is there; HDF5 locks a file that is open for writing against everybody."""
        self._file = _open(self.path, mode)
        self._check()
        self.seen = _completed(self._file)

    def _check(self) -> None:
        assert self._file is not None
        try:
            found = _read_meta(self._file, self.path)
            if found != self.meta:
                keys = [key for key in {**self.meta, **found} if found.get(key) != self.meta.get(key)]
                differing = ", ".join(f"{key}={found.get(key)!r}" for key in keys)
                raise DataError(f"{self.path} holds another data set ({differing}); choose another --out or delete it.")
        except DataError:
            self._file.close()
            raise


class Hdf5Store:
    """A finished file, open for reading; the interface of :class:`jepawm_envs.data.native.NativeStore`.

    Raises:
        DataError: if the file is missing, unreadable, of another format or unfinished.
    """

    arrays = ARRAYS
    skipped: tuple[dict[str, Any], ...] = ()
    hashed = False

    def __init__(self, path: Path):
        self.path, self._file = path, _open(path, "r")
        self.meta = _read_meta(self._file, path)
        done = _completed(self._file)
        if done < self.meta["episodes"]:
            self._file.close()
            raise DataError(
                f"{path} holds {done} of {self.meta['episodes']} episodes; run the same collect command again."
            )
        self.lengths = np.full(self.meta["episodes"], self.meta["steps"], np.int64)
        with self._reading("images"):
            self.frame_shape: tuple[int, ...] = self._file["pixels"].shape[2:]  # type: ignore[union-attr]

    def array(self, name: str, episode: int, start: int, stop: int) -> NDArray:
        """Rows ``start`` to ``stop`` of an array of one episode.

        Raises:
            DataError: if they cannot be read, here and in what follows.
        """
        with self._reading(f"{name} of episode {episode}"):
            return self._file[name][episode, start:stop]  # type: ignore[index]

    def whole(self, name: str) -> NDArray:
        """The rows of all episodes, one after the other."""
        with self._reading(name):
            values = self._file[name][:]  # type: ignore[index]
        return values.reshape(-1, *values.shape[2:])  # type: ignore[union-attr]

    def frames(self, episode: int, start: int, stop: int, step: int) -> NDArray[np.uint8]:
        """Frames ``start`` to ``stop``, every ``step``-th; all chunks of eight in between are decoded, once each."""
        with self._reading(f"frames of episode {episode}"):
            return self._file["pixels"][episode, start:stop][::step]  # type: ignore[index]

    def notes(self, episode: int) -> dict[str, Any]:
        """Nothing is noted in this format."""
        return {}

    def frame_hashes(self) -> Iterator[str]:
        """None in this format."""
        return iter(())

    def is_as_written(self, episode: int, arrays: Mapping[str, NDArray], pixels: NDArray[np.uint8]) -> bool:
        """Always true: this format has no hashes to compare with."""
        return True

    def verify(self) -> list[int]:
        """Read everything; the episodes that cannot be read. Nothing else is noticed: this format has no hashes."""
        return [episode for episode in range(self.meta["episodes"]) if not self._readable(episode)]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Turn what HDF5 raises at damage into a sentence."""
        try:
            yield
        except (OSError, KeyError) as problem:
            why = str(problem).strip("'\".")
            raise DataError(f"{self.path}: {what} cannot be read ({why}); collect the data set again.") from None

    def _readable(self, episode: int) -> bool:
        steps = int(self.lengths[episode])
        try:
            for name, rows in self.arrays.items():
                self.array(name, episode, 0, steps + (rows == "frames"))
            self.frames(episode, 0, steps + 1, 1)
        except DataError:
            return False
        return True


def _create(path: Path, meta: Mapping[str, Any], episode: Episode) -> h5py.File:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = h5py.File(path, "w")
    file.attrs["format"] = FORMAT
    file.attrs["meta"] = json.dumps(dict(meta))
    file.attrs["completed"] = 0
    for name, values in {**episode.frame_arrays, **episode.step_arrays, "pixels": episode.pixels}.items():
        pixels = name == "pixels"
        rows = min(FRAMES_PER_CHUNK, len(values)) if pixels else len(values)
        compression = {"compression": "gzip", "compression_opts": 1} if pixels else {}
        shape, chunks = (meta["episodes"], *values.shape), (1, rows, *values.shape[1:])
        file.create_dataset(name, shape, dtype=values.dtype, chunks=chunks, **compression)
    return file


def _open(path: Path, mode: str) -> h5py.File:
    try:
        return h5py.File(path, mode)
    except OSError as problem:
        raise DataError(f"{path} cannot be read as a data set ({problem}); delete it and collect again.") from None


def _read_meta(file: h5py.File, path: Path) -> dict[str, Any]:
    if file.attrs.get("format") != FORMAT:
        raise DataError(f"{path} is not a data set of format {FORMAT}.")
    try:
        return json.loads(str(file.attrs["meta"]))
    except (KeyError, ValueError):
        raise DataError(f"{path} is damaged: it does not say what it holds; delete it and collect again.") from None


def _completed(file: h5py.File) -> int:
    done: Any = file.attrs.get("completed", 0)
    return int(done)

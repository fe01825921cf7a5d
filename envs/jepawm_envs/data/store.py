"""One HDF5 file a data set: states, actions and frames of episodes of equal length.

HDF5 because frames compress well in chunks (white floors), any window of an episode is read without its
neighbours, and every language reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from jepawm_envs.errors import DataError

FORMAT = "jepawm-episodes/1"
FRAMES_PER_CHUNK = 8


class EpisodeStore:
    """A data set open for reading.

    Args:
        path: the ``.h5`` file.

    Raises:
        DataError: if the file is missing, unreadable, of another format or unfinished.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._file = open_store(self.path)
        self.meta: dict[str, Any] = read_meta(self._file, self.path)
        done = completed(self._file)
        if done < self.meta["episodes"]:
            self._file.close()
            raise DataError(
                f"{self.path} holds {done} of {self.meta['episodes']} episodes; run the same collect command again."
            )

    @property
    def states(self) -> NDArray[np.float64]:
        """All states, (episodes, T + 1, S)."""
        return self._file["states"][:]  # type: ignore[index]

    @property
    def actions(self) -> NDArray[np.float64]:
        """All actions, (episodes, T, A)."""
        return self._file["actions"][:]  # type: ignore[index]

    @property
    def proprio(self) -> NDArray[np.float32]:
        """All proprioception, (episodes, T + 1, Q)."""
        return self._file["proprio"][:]  # type: ignore[index]

    def frames(self, episode: int, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Frames ``start`` to ``stop`` of one episode, (frames, H, W, 3)."""
        return self._file["pixels"][episode, start:stop]  # type: ignore[index]

    def sha256(self) -> str:
        """Hash of the physical content (states and actions) and of what made it."""
        digest = hashlib.sha256(json.dumps(self.meta, sort_keys=True).encode())
        for array in (self.states, self.actions):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def create_store(path: Path, meta: Mapping[str, Any], shapes: Mapping[str, tuple[tuple[int, ...], str]]) -> h5py.File:
    """Create an empty data set; ``shapes`` maps array names to (shape without the episode axis, dtype)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = h5py.File(path, "w")
    file.attrs["format"] = FORMAT
    file.attrs["meta"] = json.dumps(dict(meta))
    file.attrs["completed"] = 0
    for name, (shape, dtype) in shapes.items():
        chunks = (1, min(FRAMES_PER_CHUNK, shape[0]), *shape[1:]) if name == "pixels" else (1, *shape)
        compression = {"compression": "gzip", "compression_opts": 1} if name == "pixels" else {}
        file.create_dataset(name, (meta["episodes"], *shape), dtype=dtype, chunks=chunks, **compression)
    return file


def open_store(path: Path, mode: str = "r") -> h5py.File:
    """Open a data set file.

    Raises:
        DataError: if it is missing or damaged.
    """
    if not path.is_file():
        raise DataError(f"There is no data set at {path}; make one with `jepawm-bench data collect --out {path}`.")
    try:
        return h5py.File(path, mode)
    except OSError as problem:
        raise DataError(f"{path} cannot be read as a data set ({problem}); delete it and collect again.") from None


def read_meta(file: h5py.File, path: Path) -> dict[str, Any]:
    """What made the data set.

    Raises:
        DataError: if the file is of another format.
    """
    if file.attrs.get("format") != FORMAT:
        raise DataError(f"{path} is not a data set of format {FORMAT}.")
    return json.loads(str(file.attrs["meta"]))


def completed(file: h5py.File) -> int:
    """How many episodes are written."""
    done: Any = file.attrs["completed"]
    return int(done)


def info(path: str | Path) -> dict[str, Any]:
    """A summary of a data set for people and scripts.

    Raises:
        DataError: as :class:`EpisodeStore`.
    """
    store = EpisodeStore(path)
    states, actions = store.states, store.actions
    summary = {
        **store.meta,
        "path": str(path),
        "frames": int(np.prod(states.shape[:2])),
        "bytes": store.path.stat().st_size,
        "action_mean": actions.mean(axis=(0, 1)).round(6).tolist(),
        "action_std": actions.std(axis=(0, 1)).round(6).tolist(),
        "state_mean": states.mean(axis=(0, 1)).round(6).tolist(),
        "state_std": states.std(axis=(0, 1)).round(6).tolist(),
        "sha256": store.sha256(),
    }
    store.close()
    return summary

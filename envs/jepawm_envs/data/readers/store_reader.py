"""Stores as a layout, so that one format can be turned into another."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jepawm_envs.data.episode import DamagedEpisode, Episode
from jepawm_envs.data.readers.base import Reader
from jepawm_envs.data.readers.images import fit
from jepawm_envs.data.store import EpisodeStore
from jepawm_envs.errors import DataError


class StoreReader(Reader):
    """A data set that this package wrote.

    Args:
        path: of an ``.h5`` file or a native store.
        image_size: resize to this many pixels; as stored when None.

    Raises:
        DataError: as :class:`EpisodeStore`.
    """

    layout: ClassVar[str] = "store"

    def __init__(self, path: Path, *, image_size: int | None = None):
        self.root, self._size, self._store = path, image_size, EpisodeStore(path)
        self.resizes = image_size is not None and self._store.frame_shape[:2] != (image_size, image_size)
        """Whether images are not those of the store."""

    def __len__(self) -> int:
        return len(self._store)

    @property
    def meta(self) -> dict[str, Any]:
        """What made the data set."""
        return self._store.meta

    def source(self, index: int) -> str:
        """Its place, or where it was first read."""
        return str(self._store.notes(index).get("source", ""))

    def read(self, index: int) -> Episode:
        """One episode."""
        store = self._store
        try:
            arrays = {name: store.array(name, index) for name in store.arrays}
            pixels = fit(store.frames(index), self._size)
        except (DataError, OSError) as problem:
            raise DamagedEpisode(f"{self.root}, episode {index}", str(problem).rstrip(".")) from None
        frames = {name: values for name, values in arrays.items() if store.arrays[name] == "frames"}
        steps = {name: values for name, values in arrays.items() if store.arrays[name] == "steps"}
        notes = {key: value for key, value in store.notes(index).items() if key != "source"}
        return Episode(pixels, frames, steps, self.source(index), notes)

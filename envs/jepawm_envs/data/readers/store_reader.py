"""Stores as a layout, so that one format can be turned into another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from jepawm_envs.data.episode import Episode
from jepawm_envs.data.readers.base import Reader
from jepawm_envs.data.readers.images import fit
from jepawm_envs.data.store import EpisodeStore


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
        """Its place in the store; where it was first read is the source of the episode itself."""
        return self._store.place(index)

    def read(self, index: int) -> Episode:
        """One episode, compared with its hashes, so that no damage is stored again as if it were data."""
        store = self._store
        arrays, pixels = store.checked(index)
        frames = {name: values for name, values in arrays.items() if store.arrays[name] == "frames"}
        steps = {name: values for name, values in arrays.items() if store.arrays[name] == "steps"}
        notes = store.notes(index)
        first_read = str(notes.pop("source", ""))
        episode = Episode(fit(pixels, self._size), frames, steps, self.source(index), notes)
        episode.check()  # here, where it is known by its place
        return replace(episode, source=first_read)

"""Several data sets as one, such as those of many tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepawm_agents.errors import ConfigError
from jepawm_envs.data import EpisodeStore


class JoinedStore:
    """The episodes of several stores, one after the other; the part of :class:`EpisodeStore` that training uses.

    Args:
        stores: open ones.

    Raises:
        ConfigError: if their images, actions, proprioception or frameskip differ in size.
    """

    def __init__(self, stores: Sequence[EpisodeStore]):
        self.stores = list(stores)
        first = self.stores[0]
        for store in self.stores[1:]:
            if _sizes(store) != _sizes(first):
                raise ConfigError(
                    f"{first.path} and {store.path} cannot be trained on together: images, actions, proprioception "
                    f"and frameskip have sizes {_sizes(first)} and {_sizes(store)}."
                )
        self.lengths = np.concatenate([store.lengths for store in self.stores])
        self.frame_shape, self.meta = first.frame_shape, {"frameskip": first.meta.get("frameskip", 1)}
        self._firsts = np.cumsum([0, *map(len, self.stores)])

    def __len__(self) -> int:
        return len(self.lengths)

    def array(self, name: str, episode: int) -> NDArray[Any]:
        """One array of one episode."""
        store, number = self._locate(episode)
        return store.array(name, number)

    def frames(self, episode: int, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Frames of one episode, (frames, H, W, C)."""
        store, number = self._locate(episode)
        return store.frames(number, start, stop)

    def sha256(self) -> str:
        """Hash of the hashes."""
        return hashlib.sha256("".join(store.sha256() for store in self.stores).encode()).hexdigest()

    def close(self) -> None:
        """Close all."""
        for store in self.stores:
            store.close()

    def _locate(self, episode: int) -> tuple[EpisodeStore, int]:
        place = int(np.searchsorted(self._firsts, episode, side="right")) - 1
        return self.stores[place], episode - int(self._firsts[place])


def _sizes(store: EpisodeStore) -> tuple[Any, ...]:
    arrays = (store.array(name, 0).shape[1] for name in ("actions", "proprio"))
    return (store.frame_shape, *arrays, store.meta.get("frameskip", 1))


Store = EpisodeStore | JoinedStore

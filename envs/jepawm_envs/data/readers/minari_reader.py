"""Minari data sets (https://minari.farama.org) that have images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.data.episode import DamagedEpisode, Episode, damage_in
from jepawm_envs.data.minari_files import exported, folder_of, notes_of, open_minari
from jepawm_envs.data.readers.base import Reader
from jepawm_envs.data.readers.images import as_bytes, fit
from jepawm_envs.errors import DataError


class MinariReader(Reader):
    """A Minari data set whose observations are a dictionary with images.

    Notes, further arrays and the environment are read where :func:`jepawm_envs.data.export_minari` wrote them. Minari
    keeps no checksum of its episodes: one that is cut short or lacks a part is noticed, a changed value is not.

    Args:
        path: its identifier, or the folder that holds it.
        pixels: key of the images, (T + 1, H, W, C).
        states: key of the states.
        proprio: key of the proprioception; the states when the data set has none of this name.
        image_size: resize to this many pixels; as stored when None.

    Raises:
        DataError: if it is missing, or its observations have no such keys.
    """

    layout: ClassVar[str] = "minari"

    def __init__(
        self,
        path: Path,
        *,
        pixels: str = "pixels",
        states: str = "state",
        proprio: str = "proprio",
        image_size: int | None = None,
    ):
        self._size, self._data = image_size, open_minari(path)
        self.root = folder_of(self._data)
        self._exported = exported(self._data)
        self.env: str | None = self._exported.get("env")  # type: ignore[misc]  of this data set, not of the layout
        found = list(getattr(self._data.observation_space, "spaces", {}))
        missing = [key for key in (pixels, states) if key not in found]
        if missing:
            raise DataError(
                f"The observations of {path} have no {', '.join(missing)}; they have {', '.join(found) or 'no keys'}. "
                "Name the right keys with the options pixels and states."
            )
        self._keys = pixels, states, proprio if proprio in found else states

    def __len__(self) -> int:
        return int(self._data.total_episodes)

    def source(self, index: int) -> str:
        """Its number in the data set."""
        return f"{self.root}::episode_{index}"

    def read(self, index: int) -> Episode:
        """One episode."""
        source, (pixels, states, proprio) = self.source(index), self._keys
        with damage_in(source):
            found: Any = next(iter(self._data.iterate_episodes([index])))
            seen: dict[str, NDArray] = {key: np.asarray(found.observations[key]) for key in self._keys}
            if seen[pixels].ndim != 4:
                raise DamagedEpisode(source, f"its {pixels} have shape {seen[pixels].shape}")
            frames = {"states": _rows(seen[states]), "proprio": _rows(seen[proprio]).astype(np.float32)}
            steps = {"actions": _rows(np.asarray(found.actions)), "rewards": np.asarray(found.rewards, np.float64)}
            self._add_exported(found.infos, frames, steps)
            notes = notes_of(self._data, index) if self._exported else {}
            return Episode(fit(as_bytes(source, seen[pixels]), self._size), frames, steps, source, notes)

    def _add_exported(self, infos: Any, frames: dict[str, NDArray], steps: dict[str, NDArray]) -> None:
        """Add the arrays that an export has besides Minari's own, and take away rewards that nobody recorded."""
        arrays: dict[str, str] = self._exported.get("arrays", {"rewards": "steps"})
        for name, rows in arrays.items():
            own = frames if rows == "frames" else steps
            if name not in own:
                own[name] = np.asarray(infos[name])
        if "rewards" not in arrays:
            del steps["rewards"]


def _rows(values: NDArray) -> NDArray[np.float64]:
    return values.astype(np.float64).reshape(len(values), -1)

"""The three data sets of DINO-WM (https://osf.io/bmw48): ``pusht_noise``, ``point_maze`` and ``wall_single``.

Facts: dino_wm ``datasets/{pusht,point_maze,wall}_dset.py``, the same files in jepa-wms ``pusht_dset.py``,
``point_maze_dset.py``, ``wall_dset.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.data.episode import DamagedEpisode, Episode, aligned
from jepawm_envs.data.readers.base import Reader, existing_folder
from jepawm_envs.data.readers.images import as_bytes, fit, read_film
from jepawm_envs.data.readers.pickles import load_pickle
from jepawm_envs.data.readers.torch_files import load_tensor, load_torch
from jepawm_envs.errors import DataError, InvalidOption

PUSHT_ACTION_SCALE = 100.0
"""Recorded actions are in pixels, the environment's in hundreds of them (``pusht_dset.py``)."""


class PushTReader(Reader):
    """``pusht_noise/{train,val}``: states, velocities, relative or absolute actions, films.

    A state is agent x, y, block x, y, angle, agent velocity x, y; proprioception is agent position and velocity.

    Args:
        path: the folder, or the one of a split inside it.
        split: ``train`` or ``val``; the first when None. Only for a folder that holds splits.
        actions: ``rel``, as the environment takes them, or ``abs``.
        image_size: resize to this many pixels; as recorded when None.

    Raises:
        DataError: if a file of the whole data set is missing or damaged, or they contradict each other.
        InvalidOption: for other actions, or a split of a folder that holds none.
    """

    layout: ClassVar[str] = "pusht_noise"
    env: ClassVar[str | None] = "JepaWM/PushT-v0"

    def __init__(self, path: Path, *, split: str | None = None, actions: str = "rel", image_size: int | None = None):
        if actions not in ("rel", "abs"):
            raise InvalidOption(f"actions={actions!r} is not known; choose rel or abs.")
        self.root, self._size = _split_folder(path, split), image_size
        self._lengths = _lengths(load_pickle(self.root / "seq_lengths.pkl"), self.root / "seq_lengths.pkl")
        positions = _rows(self.root / "states.pth", 5)
        velocities = _rows(self.root / "velocities.pth", 2)
        self._actions = _rows(self.root / f"{actions}_actions.pth", 2)
        parts = {"states.pth": positions, "velocities.pth": velocities}
        others = {f"{actions}_actions.pth": self._actions, "seq_lengths.pkl": self._lengths}
        _agree(self.root, "episodes", {name: len(part) for name, part in {**parts, **others}.items()})
        _agree(self.root, "steps an episode", {name: part.shape[1] for name, part in parts.items()})
        self._shapes = _shapes(self.root / "shapes.pkl", len(positions))
        self._states = np.concatenate([positions, velocities], axis=-1).astype(np.float64)

    def __len__(self) -> int:
        return len(self._lengths)

    def source(self, index: int) -> str:
        """The film."""
        return str(self.root / "obses" / f"episode_{index:03d}.mp4")

    def read(self, index: int) -> Episode:
        """One episode, cut to its length."""
        source, length = self.source(index), int(self._lengths[index])
        recorded = min(self._states.shape[1], self._actions.shape[1])
        if not 0 < length <= recorded:
            raise DamagedEpisode(source, f"its length {length} is not possible, {recorded} are recorded")
        states = self._states[index, :length]
        actions = self._actions[index, :length].astype(np.float64) / PUSHT_ACTION_SCALE
        film = read_film(source, Path(source), size=self._size).frames[:length]
        proprio = states[:, [0, 1, 5, 6]].astype(np.float32)
        pixels, frames, steps = aligned(source, film, {"states": states, "proprio": proprio}, {"actions": actions})
        return Episode(pixels, frames, steps, source, {"shape": str(self._shapes[index])})


class _TensorReader(Reader):
    """States and actions of all episodes as tensors, images as tensors too, one file an episode."""

    state_size: ClassVar[int]
    """Numbers of a state."""

    def __init__(self, path: Path, image_size: int | None):
        self.root, self._size = existing_folder(path), image_size
        self._states = _rows(path / "states.pth", self.state_size).astype(np.float64)
        self._actions = _rows(path / "actions.pth", 2).astype(np.float64)
        _agree(path, "episodes", {"states.pth": len(self._states), "actions.pth": len(self._actions)})

    def __len__(self) -> int:
        return len(self._actions)

    def source(self, index: int) -> str:
        """The file of its images."""
        return str(self.root / "obses" / f"episode_{index:03d}.pth")


class PointMazeReader(_TensorReader):
    """``point_maze``: states, actions and lengths as tensors, images (T, H, W, 3) one file an episode.

    Proprioception is the whole state: x, y and their velocities.

    Args:
        path: the folder.
        image_size: resize to this many pixels; as recorded when None.

    Raises:
        DataError: if a file of the whole data set is missing or damaged, or they contradict each other.
    """

    layout: ClassVar[str] = "point_maze"
    env: ClassVar[str | None] = "JepaWM/PointMaze-v0"
    state_size: ClassVar[int] = 4

    def __init__(self, path: Path, *, image_size: int | None = None):
        super().__init__(path, image_size)
        lengths = path / "seq_lengths.pth"
        self._lengths = _lengths(load_tensor(lengths, 1).tolist(), lengths)
        _agree(path, "episodes", {"states.pth": len(self), lengths.name: len(self._lengths)})

    def read(self, index: int) -> Episode:
        """One episode, cut to its length."""
        source, length = self.source(index), int(self._lengths[index])
        images = _images(source, channels_at=-1)
        shortest = min(self._states.shape[1], self._actions.shape[1], len(images))
        if not 0 < length <= shortest:
            raise DamagedEpisode(source, f"its length {length} is not possible, {shortest} are recorded")
        states, actions = self._states[index, :length], self._actions[index, :length]
        frames = {"states": states, "proprio": states.astype(np.float32)}
        pixels, frames, steps = aligned(source, fit(images[:length], self._size), frames, {"actions": actions})
        return Episode(pixels, frames, steps, source)


class WallReader(_TensorReader):
    """``wall_single``: episodes of one length, images (T, 3, H, W) one file an episode, where wall and door are.

    Proprioception is the whole state, x and y. There are as many steps as actions; what was recorded after the frame
    that the last of them leads to is left out (differs from the reference, which leaves that frame out too).

    Args:
        path: the folder.
        image_size: resize to this many pixels; as recorded when None.

    Raises:
        DataError: if a file of the whole data set is missing or damaged, or they contradict each other.
    """

    layout: ClassVar[str] = "wall_single"
    env: ClassVar[str | None] = "JepaWM/Wall-v0"
    state_size: ClassVar[int] = 2

    def __init__(self, path: Path, *, image_size: int | None = None):
        super().__init__(path, image_size)
        self._frames = self._actions.shape[1] + 1
        if self._states.shape[1] < self._frames - 1:
            raise DataError(
                f"{path / 'states.pth'} has {self._states.shape[1]} states an episode, too few for the "
                f"{self._frames - 1} actions of actions.pth; download both again."
            )
        self._places = {name: _first_rows(path / f"{name}_locations.pth", len(self)) for name in ("door", "wall")}

    def read(self, index: int) -> Episode:
        """One episode, cut to its actions."""
        source, states = self.source(index), self._states[index, : self._frames]
        images = fit(np.moveaxis(_images(source, channels_at=1)[: self._frames], 1, -1), self._size)
        frames = {"states": states, "proprio": states.astype(np.float32)}
        pixels, frames, steps = aligned(source, images, frames, {"actions": self._actions[index]})
        return Episode(pixels, frames, steps, source, {name: rows[index] for name, rows in self._places.items()})


def _images(source: str, channels_at: int) -> NDArray[np.uint8]:
    try:
        images = load_tensor(Path(source), 4)
    except DataError as problem:
        raise DamagedEpisode(source, str(problem).rstrip(".")) from None
    if images.shape[channels_at] != 3:
        raise DamagedEpisode(source, f"its images have shape {images.shape}")
    return as_bytes(source, images)


def _split_folder(path: Path, split: str | None) -> Path:
    """The folder with the tensors: the one that is given, or a split inside it."""
    if not (existing_folder(path) / "states.pth").exists():
        return existing_folder(path / (split or "train"))
    if split is not None:
        raise InvalidOption(
            f"split={split!r} is not possible: {path} holds no splits, but states itself. Leave it out, or give the "
            "folder that holds the splits."
        )
    return path


def _rows(path: Path, width: int) -> NDArray:
    """A tensor (episodes, steps, ``width``)."""
    values = load_tensor(path, 3)
    if values.shape[2] != width:
        raise DataError(f"{path} has rows of {values.shape[2]} numbers instead of {width}; it is of another data set.")
    return values


def _lengths(values: object, path: Path) -> NDArray[np.int64]:
    if not isinstance(values, list) or not all(isinstance(value, int) for value in values):
        raise DataError(f"{path} does not hold a list of lengths.")
    try:
        return np.array(values, np.int64)
    except OverflowError:
        raise DataError(f"{path} holds a length beyond 64 bits, so it is damaged; download it again.") from None


def _shapes(path: Path, count: int) -> list[str]:
    """The block of each episode; a T where nothing is said (``pusht_dset.py``)."""
    if not path.exists():
        return ["T"] * count
    values = load_pickle(path)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values) or len(values) != count:
        raise DataError(f"{path} does not hold a list with the name of a shape for each of the {count} episodes.")
    return values


def _agree(folder: Path, what: str, counts: Mapping[str, int]) -> None:
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} in {name}" for name, count in counts.items())
        raise DataError(f"The files in {folder} are of different data sets; {what}: {listed}.")


def _first_rows(path: Path, count: int) -> list[list[float]]:
    """What is noted of each episode's layout, taken from its first step (``wall_dset.py``), (episodes, numbers)."""
    values = load_torch(path)
    if not isinstance(values, np.ndarray) or values.ndim < 1 or len(values) != count or 0 in values.shape[1:]:
        raise DataError(f"{path} does not hold a row for each of the {count} episodes.")
    rows = values[:, 0] if values.ndim > 1 else values
    return [np.atleast_1d(row).astype(float).tolist() for row in rows]

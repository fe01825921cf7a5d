"""Real and simulated Franka arms: DROID as published, the Franka recordings, and RoboCasa teleoperation.

Facts: jepa-wms ``droid_dset.py`` and ``robocasa_dset.py``. States of all three are hand position (metres), its
rotation as extrinsic xyz Euler angles (radians), and how far the gripper is closed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from jepawm_envs.data.episode import DamagedEpisode, Episode, aligned, damage_in
from jepawm_envs.data.poses import euler_of_quaternion, poses_to_actions
from jepawm_envs.data.readers.base import Reader, existing_folder
from jepawm_envs.data.readers.images import as_bytes, checked_fps, fit, read_film, stride
from jepawm_envs.errors import DataError, InvalidOption

FRANKA_FPS = 30.0
ARM_ACTIONS = 7
ONE_MISSING = 1
"""Recordings may lack the last pose or image. Counted before frames are left out, after which more would not be
noticed."""


class DroidReader(Reader):
    """DROID: a manifest of episode folders with ``trajectory.h5``, metadata and films.

    Camera poses and depth stay where they are. Actions are differences of the poses that are kept, so that they fit
    whatever ``fps`` is. Poses after the last frame of the film are left out (``loadvideo_decord``).

    Args:
        path: ``droid_paths.csv``, lines of ``<episode folder> <number>``; folders may be relative to it.
        camera: key of the metadata that names the film.
        fps: keep about so many frames a second, 4 in the published training; all when None.
        image_size: resize to this many pixels; as recorded when None.

    Raises:
        DataError: if the manifest is missing, no text or names no episode.
        InvalidOption: for an ``fps`` that is not positive.
    """

    layout: ClassVar[str] = "droid"
    env: ClassVar[str | None] = "JepaWM/Droid-v0"

    def __init__(
        self, path: Path, *, camera: str = "left_mp4_path", fps: float | None = None, image_size: int | None = None
    ):
        if not path.is_file():
            raise DataError(f"There is no manifest {path}; give the CSV file that lists the episode folders.")
        self.root, self._camera, self._size = path.parent, camera, image_size
        self._fps = None if fps is None else checked_fps(fps)
        lines = [line.split() for line in _text(path).splitlines() if line.strip()]
        if not lines or any(len(line) != 2 for line in lines):
            raise DataError(f'{path} does not consist of lines "<episode folder> <number>".')
        self._folders = [self.root / folder for folder, _ in lines]

    def __len__(self) -> int:
        return len(self._folders)

    def source(self, index: int) -> str:
        """The episode's folder."""
        return str(self._folders[index])

    def read(self, index: int) -> Episode:
        """One episode."""
        folder, source = self._folders[index], self.source(index)
        if not folder.is_dir():
            raise DamagedEpisode(source, "the folder is missing")
        film = read_film(source, self._film(folder), size=self._size, fps=self._fps)
        with damage_in(source), h5py.File(folder / "trajectory.h5") as file:
            poses = _poses(source, file, "observation/robot_state")
        if len(poses) < film.recorded - ONE_MISSING:
            raise _too_few(source, film.recorded, len(poses))
        return _pose_episode(source, film.frames, poses[: film.recorded : film.step], {"camera": self._camera})

    def _film(self, folder: Path) -> Path:
        """The film of the camera, which the metadata name by a path of the machine that recorded it."""
        notes = sorted(folder.glob("*.json"))
        if not notes:
            raise DamagedEpisode(str(folder), "it has no metadata (*.json)")
        with damage_in(folder):
            metadata = json.loads(notes[0].read_text())
            if self._camera not in metadata:
                raise DamagedEpisode(str(folder), f"its metadata {notes[0].name} do not name {self._camera}")
            name = str(metadata[self._camera]).rpartition("recordings/MP4/")[2]
        return folder / "recordings" / "MP4" / Path(name).name


class FrankaReader(Reader):
    """The Franka recordings of JEPA-WMs: ``episode.h5`` files with poses and images.

    Images after the last pose are left out (``loadvideo_hf``).

    Args:
        path: a folder with ``episode.h5`` anywhere below it.
        camera: of the images.
        fps: keep about so many frames a second; all 30 when None.
        image_size: resize to this many pixels; as recorded when None.

    Raises:
        DataError: if there is no such file.
    """

    layout: ClassVar[str] = "franka"
    env: ClassVar[str | None] = "JepaWM/Droid-v0"

    def __init__(
        self,
        path: Path,
        *,
        camera: str = "exterior_image_2_left",
        fps: float | None = None,
        image_size: int | None = None,
    ):
        self.root, self._camera, self._size = existing_folder(path), camera, image_size
        self._step = 1 if fps is None else stride(FRANKA_FPS, fps)
        self._files = sorted(path.rglob("episode.h5"))
        if not self._files:
            raise DataError(f"There is no episode.h5 below {path}.")

    def __len__(self) -> int:
        return len(self._files)

    def source(self, index: int) -> str:
        """The file."""
        return str(self._files[index])

    def read(self, index: int) -> Episode:
        """One file."""
        source = self.source(index)
        with damage_in(source), h5py.File(self._files[index]) as file:
            poses = _poses(source, file, "episode_data/observation")
            images = _array(source, file, f"episode_data/observation/{self._camera}", 4)
            if len(images) < len(poses) - ONE_MISSING:
                raise _too_few(source, len(images), len(poses))
            pixels = fit(as_bytes(source, images[: len(poses) : self._step]), self._size)
        return _pose_episode(source, pixels, poses[:: self._step], {"camera": self._camera})


class RoboCasaReader(Reader):
    """RoboCasa teleoperation: HDF5 files with ``data/demo_<k>``.

    States are the pose of the hand; the simulator's own states differ in size from kitchen to kitchen and stay in
    the file, as does the scene. ``segment`` is 0 while reaching, 1 picking, 2 placing, where that is recorded.

    Args:
        path: a file, or a folder with files of ``pattern`` anywhere below it.
        camera: of the images; those of cameras on the right are turned upside down and left to right
            (``robocasa_dset.py:460-461``).
        pattern: of file names; ``*im128*.hdf5`` in the official release.
        quaternion: order of the recorded quaternions. ``wxyz`` is what the reference takes them for
            (``robocasa_dset.py:375-381``), so what its models have seen; robosuite documents ``xyzw``.
        image_size: resize to this many pixels; as recorded when None.

    Raises:
        DataError: if there is no such file, or one is damaged.
        InvalidOption: for another order.
    """

    layout: ClassVar[str] = "robocasa"

    def __init__(
        self,
        path: Path,
        *,
        camera: str = "robot0_leftview",
        pattern: str = "*im256.hdf5",
        quaternion: str = "wxyz",
        image_size: int | None = None,
    ):
        if quaternion not in ("wxyz", "xyzw"):
            raise InvalidOption(f"quaternion={quaternion!r} is not known; choose wxyz or xyzw.")
        files = [path] if path.is_file() else sorted(path.rglob(pattern))
        if not files:
            raise DataError(f"There is no file {pattern} below {path}.")
        self.root, self._size = (path.parent if path.is_file() else path), image_size
        self._camera, self._order = camera, quaternion
        self._demos = [(file, name) for file in files for name in _demos(file)]

    def __len__(self) -> int:
        return len(self._demos)

    def source(self, index: int) -> str:
        """File and demonstration."""
        file, name = self._demos[index]
        return f"{file}::data/{name}"

    def read(self, index: int) -> Episode:
        """One demonstration."""
        source = self.source(index)
        file, name = self._demos[index]
        with damage_in(source), h5py.File(file) as opened:
            demo: Any = opened[f"data/{name}"]
            states = self._states(source, demo)
            images = as_bytes(source, _array(source, demo, f"obs/{self._camera}_image", 4))
            if "right" in self._camera:
                images = images[:, ::-1, ::-1]
            frames = {"states": states, "proprio": states.astype(np.float32)}
            if "meta_data_info/current_task_segment" in demo:
                frames["segment"] = np.asarray(demo["meta_data_info/current_task_segment"], np.int64).reshape(-1)
            steps = {"actions": _array(source, demo, "actions", 2)[:, :ARM_ACTIONS]}
            if "rewards" in demo:
                steps["rewards"] = _array(source, demo, "rewards", 1)
            language = json.loads(demo.attrs.get("ep_meta", "{}")).get("lang")
        pixels, frames, steps = aligned(source, fit(images, self._size), frames, steps)
        return Episode(pixels, frames, steps, source, {"instruction": language} if language else {})

    def _states(self, source: str, demo: Any) -> NDArray[np.float64]:
        position, quaternion, fingers = (
            _array(source, demo, f"obs/robot0_{name}", 2) for name in ("eef_pos", "eef_quat", "gripper_qpos")
        )
        if self._order == "xyzw":
            quaternion = np.roll(quaternion, 1, axis=-1)
        gripper = fingers[:, :1] - fingers[:, 1:2]
        return np.concatenate([position, euler_of_quaternion(quaternion), gripper], axis=-1)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise DataError(f"{path} is no text in UTF-8 ({problem}); give the CSV file, or save it in UTF-8.") from None


def _too_few(source: str, images: int, poses: int) -> DamagedEpisode:
    return DamagedEpisode(source, f"it has {images} images and {poses} poses")


def _pose_episode(source: str, pixels: NDArray[np.uint8], poses: NDArray[np.float64], notes: dict[str, Any]) -> Episode:
    frames = {"states": poses, "proprio": poses.astype(np.float32)}
    pixels, frames, _ = aligned(source, pixels, frames, {})
    return Episode(pixels, frames, {"actions": poses_to_actions(frames["states"])}, source, notes)


def _poses(source: str, file: Any, group: str) -> NDArray[np.float64]:
    """Hand poses and gripper, (T, 7)."""
    cartesian = _array(source, file, f"{group}/cartesian_position", 2)
    gripper = np.asarray(file[f"{group}/gripper_position"], np.float64).reshape(-1, 1)
    if cartesian.shape[1] != 6 or len(cartesian) != len(gripper):
        raise DamagedEpisode(source, f"its poses have shape {cartesian.shape} and its gripper {gripper.shape}")
    return np.concatenate([cartesian, gripper], axis=-1)


def _array(source: str, group: Any, name: str, dims: int) -> NDArray:
    if name not in group:
        raise DamagedEpisode(source, f"it has no {name}")
    values = np.asarray(group[name])
    if values.ndim != dims:
        raise DamagedEpisode(source, f"{name} has shape {values.shape}")
    return values if dims == 4 else values.astype(np.float64)


def _demos(file: Path) -> list[str]:
    """Names of the demonstrations of a file, in the order of their numbers."""
    try:
        with h5py.File(file) as opened:
            names = [str(name) for name in opened["data"]]  # type: ignore[union-attr]
            return sorted(names, key=lambda name: int(name.removeprefix("demo_")))
    except (OSError, KeyError, ValueError) as problem:
        raise DataError(f"{file} is no RoboCasa file, or is damaged ({problem}).") from None

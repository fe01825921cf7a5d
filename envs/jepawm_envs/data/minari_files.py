"""Giving data sets to Minari (https://minari.farama.org), and opening those that it has.

Observations become a dictionary of ``pixels``, ``state`` and ``proprio``; images are stored as they are, without
Minari's JPEG. Rewards are those recorded; data without rewards get zeros, which the description says. Further arrays
become ``infos``, notes and source of an episode its metadata (``notes``, JSON), environment and names of the arrays
metadata of the data set (``jepawm_bench``). Lost are what was left out and why, and the hashes: Minari keeps no
checksum, so damage after the export may go unnoticed. The export itself compares every episode with its hashes.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jepawm_envs.data.store import EpisodeStore
from jepawm_envs.errors import DataError

OURS = "jepawm_bench"
"""Key of the metadata of a data set that :func:`export_minari` wrote: ``env``, and ``arrays`` with their rows."""
OBSERVATIONS = {"states": "state", "proprio": "proprio"}
NOTES = "notes"


def export_minari(store: EpisodeStore, name: str, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write a data set into Minari's folder (``~/.minari/datasets``, or ``MINARI_DATASETS_PATH``).

    Args:
        store: what to write.
        name: its identifier there, such as ``wall/random-walks-v0``.
        progress: called with (episodes done, episodes).

    Returns:
        The folder of the new data set.

    Raises:
        DataError: if Minari is not installed, has a data set of this name, or refuses it.
        DamagedEpisode: if one is not what was written; then nothing is exported.
    """
    minari = _minari()
    from gymnasium.spaces import Box, Dict

    images = Box(0, 255, store.frame_shape, np.uint8)
    state, proprio, action = (
        Box(-np.inf, np.inf, store.rows(array).shape[1:], store.rows(array).dtype.type)
        for array in ("states", "proprio", "actions")
    )
    rewards = "recorded" if "rewards" in store.arrays else "none were recorded: all are zero"
    with _writing(name) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that no author, code and environment are given
        data = minari.create_dataset_from_buffers(
            name,
            _buffers(store, progress),
            observation_space=Dict({"pixels": images, "state": state, "proprio": proprio}),
            action_space=action,
            description=f"From jepawm-bench, data sha256 {store.sha256()}; rewards: {rewards}. {store.meta}",
            jpeg_encoding=False,
        )
        data.storage.update_metadata({OURS: {"env": store.meta.get("env"), "arrays": store.arrays}})
        data.storage.update_episode_metadata({NOTES: json.dumps(store.notes(one))} for one in range(len(store)))
    return folder


def exported(data: Any) -> dict[str, Any]:
    """What :func:`export_minari` noted of an open data set: ``env`` and ``arrays``; nothing of those of others."""
    found = data.storage.metadata.get(OURS)
    return found if isinstance(found, dict) else {}


def folder_of(data: Any) -> Path:
    """Where an open data set lies."""
    return Path(data.storage.data_path).parent


def notes_of(data: Any, episode: int) -> dict[str, Any]:
    """The notes of an episode that :func:`export_minari` wrote, without its first source."""
    (metadata,) = data.storage.get_episode_metadata([episode])
    notes = json.loads(metadata.get(NOTES, "{}"))
    return {key: value for key, value in notes.items() if key != "source"}


@contextmanager
def _writing(name: str) -> Iterator[Path]:
    """The folder of a new data set, taken away again if it is not finished.

    Raises:
        DataError: if there is one of this name, or Minari refuses it.
    """
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage.datasets_root_dir import get_dataset_path

    try:
        parse_dataset_id(name)
    except ValueError as problem:
        raise DataError(f"Minari cannot write {name!r}: {problem}") from None
    folder = get_dataset_path(name)
    if folder.exists():
        raise DataError(f"Minari has a data set {name!r} already, in {folder}; choose another name.")
    try:
        yield folder
    except BaseException as problem:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(problem, DataError) or not isinstance(problem, Exception):
            raise
        raise DataError(f"Minari cannot write {name!r}: {problem}") from problem


def open_minari(path: Path) -> Any:
    """A data set by identifier, or by the folder that holds it.

    Raises:
        DataError: if Minari is not installed or cannot open it.
    """
    minari = _minari()
    try:
        return minari.MinariDataset(path / "data") if (path / "data").is_dir() else minari.load_dataset(str(path))
    except Exception as problem:  # missing, damaged, of another version: Minari has no family of errors
        raise DataError(f"Minari cannot open {path}: {problem}") from None


def _buffers(store: EpisodeStore, progress: Callable[[int, int], None] | None) -> Iterator[Any]:
    """The episodes, one at a time."""
    from minari.data_collector import EpisodeBuffer

    for episode, steps in enumerate(store.lengths.tolist()):
        arrays, pixels = store.checked(episode)
        observed = {key: arrays.pop(name) for name, key in OBSERVATIONS.items()}
        yield EpisodeBuffer(
            id=episode,
            observations={"pixels": pixels, **observed},
            actions=arrays.pop("actions"),  # type: ignore[arg-type]
            rewards=arrays.pop("rewards", np.zeros(steps)).tolist(),
            terminations=[False] * steps,
            truncations=[False] * (steps - 1) + [True],
            infos=arrays or None,
        )
        if progress is not None:
            progress(episode + 1, len(store))


def _minari() -> Any:
    try:
        import minari
    except ModuleNotFoundError:
        raise DataError('This needs Minari. Install it: pip install "jepawm-bench[data]"') from None
    return minari

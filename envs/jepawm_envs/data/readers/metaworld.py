"""The Metaworld data of JEPA-WMs (https://huggingface.co/datasets/facebook/jepa-wms): Parquet with films inside.

Facts: jepa-wms ``metaworld_hf_dset.py``. One row an episode: ``task``, ``video`` (the bytes of an MP4 film), 100
``states`` of 39 numbers, 99 ``actions`` of 4, 99 ``rewards``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jepawm_envs.data.episode import DamagedEpisode, Episode, aligned, damage_in
from jepawm_envs.data.readers.base import Reader
from jepawm_envs.data.readers.images import read_film
from jepawm_envs.errors import DataError

COLUMNS = ("task", "video", "states", "actions", "rewards")
PROPRIO = slice(0, 4)


class MetaworldReader(Reader):
    """Parquet files of episodes; proprioception is hand and gripper, the first four numbers of a state.

    Args:
        path: a file, or a folder with ``*.parquet`` anywhere below it.
        task: keep only the episodes of this task; all when None.
        image_size: resize to this many pixels; as recorded when None.

    Raises:
        DataError: if there is no such file, one is damaged or lacks a column, or no episode has the task.
    """

    layout: ClassVar[str] = "metaworld"

    def __init__(self, path: Path, *, task: str | None = None, image_size: int | None = None):
        files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
        if not files:
            raise DataError(f"There is no Parquet file in {path}.")
        self.root, self._size = (path.parent if path.is_file() else path), image_size
        self._rows: list[tuple[Path, int, int]] = []
        tasks: set[str] = set()
        for file in files:
            for place, found in _tasks(file):
                tasks.add(found)
                if task is None or found == task:
                    self._rows.append((file, *place))
        if not self._rows:
            raise DataError(f"No episode in {path} is of task {task!r}; it has {', '.join(sorted(tasks)) or 'none'}.")
        self._cached: tuple[Any, Any] = (None, None)

    def __len__(self) -> int:
        return len(self._rows)

    def source(self, index: int) -> str:
        """File, row group and row in it."""
        file, group, row = self._rows[index]
        return f"{file}::{group}/{row}"

    def read(self, index: int) -> Episode:
        """One row."""
        source = self.source(index)
        file, group, row = self._rows[index]
        with damage_in(source):
            values = {name: column[row].as_py() for name, column in self._group(file, group).items()}
            if any(value is None for value in values.values()):
                raise DamagedEpisode(source, "a value of it is missing")
            states, actions = (np.array(values[name], np.float64) for name in ("states", "actions"))
            rewards = np.array(values["rewards"], np.float64).reshape(-1)
            if states.ndim != 2 or actions.ndim != 2:
                raise DamagedEpisode(source, f"its states have shape {states.shape}, its actions {actions.shape}")
            video = values["video"]["bytes"] if isinstance(values["video"], dict) else values["video"]
            film = read_film(source, bytes(video), size=self._size).frames
        frames = {"states": states, "proprio": states[:, PROPRIO].astype(np.float32)}
        pixels, frames, steps = aligned(source, film, frames, {"actions": actions, "rewards": rewards})
        return Episode(pixels, frames, steps, source, {"task": values["task"]})

    def _group(self, file: Path, group: int) -> dict[str, Any]:
        """The columns of a row group; the last one is kept, as episodes are read in order."""
        if self._cached[0] != (file, group):
            with _parquet(file) as opened:
                table = opened.read_row_group(group, columns=list(COLUMNS))
            self._cached = (file, group), {name: table.column(name) for name in COLUMNS}
        return self._cached[1]


def _tasks(file: Path) -> list[tuple[tuple[int, int], str]]:
    """Row group, row and task of every episode of a file."""
    try:
        with _parquet(file) as opened:
            missing = sorted(set(COLUMNS) - set(opened.schema_arrow.names))
            if missing:
                raise DataError(f"{file} lacks the columns {', '.join(missing)}.")
            return [
                ((group, row), task)
                for group in range(opened.num_row_groups)
                for row, task in enumerate(opened.read_row_group(group, columns=["task"]).column("task").to_pylist())
            ]
    except (OSError, ValueError) as problem:  # pyarrow's errors are of these
        raise DataError(f"{file} cannot be read as Parquet ({problem}); download it again.") from None


def _parquet(file: Path) -> Any:
    try:
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise DataError('Reading Parquet needs PyArrow. Install it: pip install "jepawm-bench[data]"') from None
    return parquet.ParquetFile(file)

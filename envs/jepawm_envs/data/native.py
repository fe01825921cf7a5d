"""The native store: a folder of memory-mapped ``.npy`` files and a journal, format ``jepawm-store/1``.

| file | holds |
|---|---|
| ``store.json`` | format, what was asked for, of which source, codec, names, shapes and types, whether it is complete |
| ``journal.jsonl`` | a line an episode: length, hash, source, notes; or why one was left out |
| ``states.npy``, ``actions.npy``, ... | rows of all episodes, one after the other |
| ``frames.npy`` | the encoded frames of all episodes, bytes |
| ``frame_ends.npy`` | where each frame ends in there |

Why these and not one of the known containers: a training sample is a few frames out of the middle of an episode of
any length. ``.npy`` is as well kept as NumPy itself, is mapped into memory by everybody's ``numpy.load``, so that
processes share one copy in the page cache and a window costs no more than its own frames, and grows in place. HDF5
and Zarr decode chunks of neighbours, Parquet and Arrow decode rows of whole episodes or need another dependency,
films decode from the last key frame.

An interrupted writer continues: an episode counts when its line is in the journal, which is written last.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.data.codecs import Codec, find_codec
from jepawm_envs.data.episode import DamagedEpisode, Episode
from jepawm_envs.data.growing import GrowingArray, map_array, stored_rows
from jepawm_envs.errors import DataError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: nothing guards against two writers there
    fcntl = None

FORMAT = "jepawm-store/1"
HEAD, JOURNAL = "store.json", "journal.jsonl"
FRAMES, ENDS = "frames.npy", "frame_ends.npy"
SOURCE = "source_sha256"
"""Key of the head, beside the request: which source it was is no part of the hash of the data."""
REQUIRED = ("request", "codec", "complete")
REQUIRED_AT_THE_END = ("episodes", "arrays", "frame_shape")
LINE = ("frames", "bytes", "frames_sha256", "arrays_sha256", "source", "notes")


def is_native(path: Path) -> bool:
    """Whether a path is a folder with a native store."""
    return (path / HEAD).is_file()


@dataclass(frozen=True)
class EncodedEpisode:
    """An episode whose frames are encoded: what a worker sends to the process that writes, a fraction of the images."""

    frames: list[bytes]
    """Each by itself."""
    frames_sha256: str
    frame_shape: tuple[int, ...]
    """(H, W, C)."""
    frame_arrays: Mapping[str, NDArray]
    step_arrays: Mapping[str, NDArray]
    source: str
    notes: Mapping[str, Any]

    @property
    def arrays(self) -> dict[str, NDArray]:
        """All arrays by name."""
        return {**self.frame_arrays, **self.step_arrays}


def encode(episode: Episode, codec: Codec) -> EncodedEpisode:
    """Check an episode and encode its frames.

    Raises:
        DamagedEpisode: if it contradicts itself.
    """
    episode.check()
    frames = [codec.encode(frame) for frame in episode.pixels]
    return EncodedEpisode(
        frames=frames,
        frames_sha256=frames_hash(episode.pixels, frames, codec),
        frame_shape=episode.pixels.shape[1:],
        frame_arrays=episode.frame_arrays,
        step_arrays=episode.step_arrays,
        source=episode.source,
        notes=episode.notes,
    )


class NativeWriter:
    """Writes a store, or continues an unfinished one.

    Args:
        path: of the folder.
        request: what was asked for, JSON values; an existing store that holds an episode, or has left one out, must
            have been asked for the same.
        codec: of :mod:`jepawm_envs.data.codecs`.
        source: what tells the data set that is converted from others (:mod:`jepawm_envs.data.fingerprint`); an
            existing store must be of the same, where it says so.

    Raises:
        DataError: if the folder holds something else, or another process writes there.
    """

    def __init__(self, path: Path, request: Mapping[str, Any], codec: str, source: str | None = None):
        self.path, self.codec = path, find_codec(codec)
        self._head: dict[str, Any] = {"format": FORMAT, "request": dict(request), "codec": codec, "complete": False}
        self._head |= {} if source is None else {SOURCE: source}
        if is_native(path):
            _read_head(path)  # refuses another format before a file is opened for writing
        else:
            _refuse_foreign(path)
            path.mkdir(parents=True, exist_ok=True)
            self._save_head()
        self._files: dict[str, GrowingArray] = {}
        self.left_out: dict[int, dict[str, Any]] = {}
        """Episodes left out by whoever wrote before, by number: ``source`` and, under ``skipped``, why."""
        self.seen = 0
        """Episodes that need not be given again, kept and left out."""
        self._journal = _exclusive(path / JOURNAL)
        try:
            self._resume()
        except BaseException:
            self.close()
            raise

    @property
    def complete(self) -> bool:
        """Whether nothing is left to write."""
        return bool(self._head["complete"])

    def append(self, episode: Episode | EncodedEpisode) -> None:
        """Write one episode.

        Args:
            episode: to be stored; encoded with this store's codec if it is encoded.

        Raises:
            DamagedEpisode: if it contradicts itself, or its shapes are not those of the episodes before.
        """
        new = encode(episode, self.codec) if isinstance(episode, Episode) else episode
        if not self._files:
            self._describe(new)
        self._check_shapes(new)
        for name, values in new.arrays.items():
            self._files[name].append(values)
        start = self._files[FRAMES].rows
        self._files[FRAMES].append(b"".join(new.frames))
        self._files[ENDS].append(start + np.cumsum([len(frame) for frame in new.frames]))
        for file in self._files.values():
            file.flush()
        dtypes = {name: spec["dtype"] for name, spec in self._head["arrays"].items()}
        line = {
            "frames": len(new.frames),
            "bytes": self._files[FRAMES].rows,
            "frames_sha256": new.frames_sha256,
            "arrays_sha256": arrays_hash(new.arrays, dtypes),
            "source": new.source,
            "notes": dict(new.notes),
        }
        self._commit(line)

    def skip(self, source: str, why: str) -> None:
        """Note an episode that is left out."""
        self._commit({"skipped": why, "source": source})

    def finish(self) -> None:
        """Close the store; from now on it can be read.

        Raises:
            DataError: if it holds no episode.
        """
        kept = [line for line in read_journal(self.path) if "skipped" not in line]
        if not kept:
            raise DataError(f"{self.path} holds no episode: all of them were left out; see {self.path / JOURNAL}.")
        paths = [file.path for file in self._files.values()]
        self.close()
        for path in paths:
            _to_disk(path)
        _to_disk(self.path / JOURNAL)
        self._head |= {"complete": True, "episodes": len(kept)}
        self._save_head()

    def close(self) -> None:
        """Let go of the files; the store stays unfinished unless :meth:`finish` was called."""
        for file in self._files.values():
            file.close()
        self._files = {}
        self._journal.close()

    def _resume(self) -> None:
        """Go back to the end of the last whole episode; start anew where there is none."""
        lines: Sequence[dict[str, Any]] = read_journal(self.path)
        found = _read_head(self.path)
        if lines or found["complete"]:
            self._head = _continued(self.path, found, self._head)
        else:
            _clear(self.path, found)
            self._save_head()
        if not self.complete:
            if "arrays" in self._head:
                lines = _committed(self.path, self._head, lines)
                self._open_files([line for line in lines if "skipped" not in line])
            self._rewrite_journal(lines)
        self.seen = len(lines)
        self.left_out = {number: line for number, line in enumerate(lines) if "skipped" in line}

    def _describe(self, episode: EncodedEpisode) -> None:
        """Fix names, shapes and types by the first episode."""
        rows = {"frames": episode.frame_arrays, "steps": episode.step_arrays}
        self._head["arrays"] = {
            name: {"rows": kind, "shape": list(values.shape[1:]), "dtype": values.dtype.str}
            for kind, arrays in rows.items()
            for name, values in arrays.items()
        }
        self._head["frame_shape"] = list(episode.frame_shape)
        self._save_head()
        self._open_files([])

    def _open_files(self, kept: Sequence[Mapping[str, Any]]) -> None:
        for name, shape, dtype, rows in _expected(self._head, kept):
            self._files[name] = GrowingArray(self.path / _file_name(name), shape, dtype, rows)

    def _check_shapes(self, episode: EncodedEpisode) -> None:
        found = {name: list(values.shape[1:]) for name, values in episode.arrays.items()}
        found[FRAMES] = list(episode.frame_shape)
        wanted = {name: spec["shape"] for name, spec in self._head["arrays"].items()}
        wanted[FRAMES] = self._head["frame_shape"]
        for name in wanted.keys() | found.keys():
            if wanted.get(name) != found.get(name):
                what = "images" if name == FRAMES else name
                raise DamagedEpisode(
                    episode.source,
                    f"its {what} have shape {found.get(name)}, but {wanted.get(name)} in the episodes before",
                )

    def _commit(self, line: Mapping[str, Any]) -> None:
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()
        self.seen += 1

    def _rewrite_journal(self, lines: Sequence[Mapping[str, Any]]) -> None:
        self._journal.truncate(0)
        self._journal.write("".join(json.dumps(line) + "\n" for line in lines))
        self._journal.flush()

    def _save_head(self) -> None:
        temporary = self.path / f".{HEAD}.tmp"
        temporary.write_text(json.dumps(self._head, indent=1) + "\n")
        _to_disk(temporary)
        os.replace(temporary, self.path / HEAD)


class NativeStore:
    """A finished store, open for reading; arrays and frames are mapped, not loaded.

    Args:
        path: of the folder.

    Raises:
        DataError: if it is damaged, unfinished, or of another version.
    """

    hashed = True
    """Whether every episode has hashes, so that every change of it is noticed."""

    def __init__(self, path: Path):
        self.path, head = path, _read_head(path)
        lines = read_journal(path)
        self._kept = [line for line in lines if "skipped" not in line]
        self.skipped = [line for line in lines if "skipped" in line]
        """Episodes that were left out: ``source`` and, under ``skipped``, why."""
        if not head["complete"]:
            raise DataError(_unfinished(path, head, lines))
        if len(self._kept) != head["episodes"]:
            raise DataError(f"{path / JOURNAL} is damaged: it lists {len(self._kept)} of {head['episodes']} episodes.")
        self.meta: dict[str, Any] = {**head["request"], "episodes": head["episodes"]}
        self.codec, self.frame_shape = find_codec(head["codec"]), tuple(head["frame_shape"])
        self.arrays: dict[str, str] = {name: spec["rows"] for name, spec in head["arrays"].items()}
        """Names of arrays, and whether each has a row per ``frames`` or per ``steps``."""
        self._dtypes = {name: spec["dtype"] for name, spec in head["arrays"].items()}
        self._maps = {spec[0]: _mapped(path, *spec) for spec in _expected(head, self._kept, tuple(self.arrays))}
        frames = np.array([line["frames"] for line in self._kept], np.int64)
        self.lengths = frames - 1
        self._first_frame = np.concatenate([[0], np.cumsum(frames)])
        self._first_step = np.concatenate([[0], np.cumsum(self.lengths)])
        self._frames, self._ends = self._map_frames(head)

    def array(self, name: str, episode: int, start: int, stop: int) -> NDArray:
        """Rows ``start`` to ``stop`` of an array of one episode."""
        first = self._first(name)[episode]
        return np.array(self._maps[name][first + start : first + stop])

    def whole(self, name: str) -> NDArray:
        """The rows of all episodes, one after the other."""
        return self._maps[name]

    def frames(self, episode: int, start: int, stop: int, step: int) -> NDArray[np.uint8]:
        """Frames ``start`` to ``stop``, every ``step``-th; nothing else is decoded."""
        numbers = self._first_frame[episode] + np.arange(start, stop, step)
        images = np.empty((len(numbers), *self.frame_shape), np.uint8)
        for place, number in enumerate(numbers):
            try:
                images[place] = self.codec.decode(self._encoded(int(number)), self.frame_shape)
            except Exception as problem:
                where = f"{self.path}, episode {episode}, frame {start + place * step}"
                raise DataError(f"{where}: damaged ({problem}); convert or collect the data set again.") from None
        return images

    def notes(self, episode: int) -> dict[str, Any]:
        """What is noted of an episode as a whole, and its source."""
        line = self._kept[episode]
        return {**line["notes"], **({"source": line["source"]} if line["source"] else {})}

    def frame_hashes(self) -> Iterator[str]:
        """The hash of the frames of every episode, as noted when it was written."""
        return (line["frames_sha256"] for line in self._kept)

    def is_as_written(self, episode: int, arrays: Mapping[str, NDArray], pixels: NDArray[np.uint8]) -> bool:
        """Whether the arrays and frames that were read of an episode are those that its hashes are of.

        Args:
            episode: its number.
            arrays: all of them, by name.
            pixels: all frames; not looked at where the codec is lossy, as then the stored bytes are hashed.
        """
        line, first = self._kept[episode], int(self._first_frame[episode])
        frames = range(0) if self.codec.lossless else range(first, first + line["frames"])
        encoded = [bytes(self._encoded(frame)) for frame in frames]
        return (
            arrays_hash(arrays, self._dtypes) == line["arrays_sha256"]
            and frames_hash(pixels, encoded, self.codec) == line["frames_sha256"]
        )

    def verify(self) -> list[int]:
        """Read everything; the episodes whose content is not what was written."""
        return [episode for episode in range(len(self._kept)) if not self._intact(episode)]

    def close(self) -> None:
        """Let go of the files."""
        self._maps, self._frames = {}, np.empty(0, np.uint8)

    def _first(self, name: str) -> NDArray[np.int64]:
        return self._first_frame if self.arrays[name] == "frames" else self._first_step

    def _encoded(self, number: int) -> memoryview:
        start = int(self._ends[number - 1]) if number else 0
        return memoryview(self._frames[start : int(self._ends[number])])  # type: ignore[arg-type]

    def _map_frames(self, head: Mapping[str, Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        found = {spec[0]: _mapped(self.path, *spec) for spec in _expected(head, self._kept, (FRAMES, ENDS))}
        ends = np.array(found[ENDS])
        if (np.diff(ends, prepend=0) < 0).any() or ends[-1] != len(found[FRAMES]):
            raise DataError(f"{self.path / ENDS} is damaged; convert or collect the data set again.")
        return found[FRAMES], ends

    def _intact(self, episode: int) -> bool:
        frames = int(self.lengths[episode]) + 1
        arrays = {name: self.array(name, episode, 0, frames - (rows == "steps")) for name, rows in self.arrays.items()}
        try:
            pixels = self.frames(episode, 0, frames, 1) if self.codec.lossless else np.empty(0, np.uint8)
        except DataError:
            return False
        return self.is_as_written(episode, arrays, pixels)


def frames_hash(pixels: NDArray[np.uint8], encoded: Sequence[bytes], codec: Codec) -> str:
    """Hash of frames: of the pixels where none is lost, so that compressors may differ, else of the stored bytes."""
    if codec.lossless:
        return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
    return hashlib.sha256(b"".join(encoded)).hexdigest()


def arrays_hash(arrays: Mapping[str, NDArray], dtypes: Mapping[str, str]) -> str:
    """Hash of the arrays of one episode, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name], dtypes[name]).tobytes())
    return digest.hexdigest()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a journal; a last line that was not written to its end does not count.

    Raises:
        DataError: if a line is none of a journal.
    """
    file = path / JOURNAL
    if not file.exists():
        return []
    *whole, _ = file.read_bytes().split(b"\n")
    try:
        lines = [json.loads(line) for line in whole]
        if not all("skipped" in line or line.keys() >= {*LINE} for line in lines):
            raise ValueError("a line lacks a part")
    except (ValueError, TypeError, AttributeError):  # no JSON, no text, or no table
        raise DataError(f"{file} is damaged; convert or collect the data set again.") from None
    return lines


def _read_head(path: Path) -> dict[str, Any]:
    try:
        head = json.loads((path / HEAD).read_text())
    except (OSError, ValueError) as problem:
        raise DataError(f"{path} cannot be read as a data set ({problem}); delete it and make it again.") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise DataError(f"{path} is not a data set of format {FORMAT}.")
    needed = REQUIRED + (REQUIRED_AT_THE_END if head.get("complete") else ())
    missing = [key for key in needed if key not in head]
    if missing or not _well_formed(head):
        what = f"it lacks {', '.join(missing)}" if missing else "an entry is not what it should be"
        raise DataError(f"{path / HEAD} is damaged: {what}; convert or collect the data set again.")
    return head


def _well_formed(head: Mapping[str, Any]) -> bool:
    """Whether entries are of their types, and every array is described by its rows, shape and type."""
    types = {"request": dict, "codec": str, "arrays": dict, "frame_shape": list}
    if any(not isinstance(head[key], kind) for key, kind in types.items() if key in head):
        return False
    return all(map(_is_described, head.get("arrays", {}).values()))


def _is_described(spec: Any) -> bool:
    return isinstance(spec, dict) and spec.keys() >= {"shape", "dtype"} and spec.get("rows") in ("frames", "steps")


def _continued(path: Path, found: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The head of an existing store, if it was asked for the same, of the same source."""
    asked, now = ({**head["request"], "codec": head["codec"]} for head in (found, wanted))
    differing = [
        f"{key}={asked.get(key)!r}" for key in sorted(asked.keys() | now.keys()) if asked.get(key) != now.get(key)
    ]
    if SOURCE in found and SOURCE in wanted and found[SOURCE] != wanted[SOURCE]:
        differing.append("converted from another source, or from files that have changed since")
    if differing:
        raise DataError(f"{path} holds another data set ({', '.join(differing)}); choose another --out or delete it.")
    return found


def _clear(path: Path, head: Mapping[str, Any]) -> None:
    """Take away the arrays of an attempt that finished no episode."""
    for name in (*head.get("arrays", ()), FRAMES, ENDS):
        (path / _file_name(name)).unlink(missing_ok=True)


def _unfinished(path: Path, head: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> str:
    """What is said of a store whose writer was interrupted."""
    request, left_out = head["request"], sum("skipped" in line for line in lines)
    wanted = request.get("episodes", request.get("read", "an unknown number of"))
    without = f", without {left_out} that were left out" if left_out else ""
    command = "collect" if "seed" in request and SOURCE not in head else "convert"
    return f"{path} holds {len(lines) - left_out} of {wanted} episodes{without}; run the same {command} command again."


def _refuse_foreign(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(f"{path} exists and is no data set; choose another --out.")


def _exclusive(path: Path) -> TextIO:
    file = open(path, "a+")  # noqa: SIM115  held as long as the writer
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise DataError(f"{path.parent} is being written by another process; wait for it.") from None
    return file


def _file_name(name: str) -> str:
    return name if name.endswith(".npy") else f"{name}.npy"


def _expected(
    head: Mapping[str, Any], kept: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None
) -> Iterator[tuple[str, tuple[int, ...], str, int]]:
    """Name, shape of a row, type and number of rows of every file that belongs to these episodes."""
    frames = sum(line["frames"] for line in kept)
    rows = {"frames": frames, "steps": frames - len(kept)}
    table = {name: (tuple(spec["shape"]), spec["dtype"], rows[spec["rows"]]) for name, spec in head["arrays"].items()}
    table |= {FRAMES: ((), "|u1", kept[-1]["bytes"] if kept else 0), ENDS: ((), "<i8", frames)}
    return ((name, *table[name]) for name in (table if names is None else names))


def _committed(path: Path, head: Mapping[str, Any], lines: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """The longest beginning of a journal that all files can hold: after a power cut they may be shorter."""
    held = {name: stored_rows(path / _file_name(name), shape, dtype) for name, shape, dtype, _ in _expected(head, [])}
    while lines and any(
        rows > held[name] for name, _, _, rows in _expected(head, [line for line in lines if "skipped" not in line])
    ):
        lines = lines[:-1]
    return lines


def _mapped(path: Path, name: str, shape: tuple[int, ...], dtype: str, rows: int) -> NDArray:
    """The mapped array of a file, which must be exactly what belongs to the episodes."""
    file = path / _file_name(name)
    found = map_array(file)
    if found.shape != (rows, *shape) or found.dtype != np.dtype(dtype):
        raise DataError(
            f"{file} is damaged: it holds {found.dtype} {found.shape} instead of {dtype} {(rows, *shape)}; "
            "convert or collect the data set again."
        )
    return found


def _to_disk(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())

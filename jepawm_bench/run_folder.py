"""The run folder: appended episode by episode, so that a killed run loses at most what was in flight.

While a run goes on: ``run.json``, ``episodes.jsonl`` (as finished) and ``traces/00012.npz``. When it is
complete: ``episodes.jsonl`` sorted, one ``traces.npz`` (``states_00012``, ``actions_00012``, ...) and
``summary.json``, which is written last.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jepawm_bench.canonical import canonical_json
from jepawm_bench.errors import DamagedRun, UsageError
from jepawm_bench.files import write_atomic, write_json
from jepawm_bench.locks import LOCK
from jepawm_bench.results import EpisodeRecord, Finished, Trace

FORMAT = "jepawm-run/1"


def attempt(run: Mapping[str, Any]) -> dict[str, Any]:
    """What may differ from one attempt at a run to the next, out of a run description."""
    parts = {key: run.get(key) for key in ("started", "versions", "source")}
    return {**parts, "device": run.get("effort", {}).get("device")}


class RunFolder:
    """One run on disk.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path):
        self.path = path
        self.run_file, self.summary_file = path / "run.json", path / "summary.json"
        self.episodes_file = path / "episodes.jsonl"
        self.traces_file, self.traces_folder = path / "traces.npz", path / "traces"

    @property
    def complete(self) -> bool:
        """Whether the run was finished."""
        return self.summary_file.is_file()

    @property
    def finished(self) -> int:
        """Number of episodes on disk."""
        return self.episodes_file.read_bytes().count(b"\n") if self.episodes_file.is_file() else 0

    # Starting and resuming ----------------------------------------------------------------------------

    def check_startable(self, resume: bool) -> None:
        """Refuse a folder that holds something, unless it is a run to be resumed.

        Raises:
            UsageError: saying what to do.
        """
        if not self.path.exists():
            return
        if self.path.is_dir() and not any(path.name != LOCK for path in self.path.iterdir()):
            return
        if not self.path.is_dir() or not self.run_file.is_file():
            raise UsageError(f"{self.path} exists and is not a run folder; choose another with --out.")
        if not resume:
            state = "holds a finished run" if self.complete else "holds an unfinished run"
            advice = "choose another with --out" if self.complete else "continue it with --resume, or choose --out"
            raise UsageError(f"{self.path} {state}; {advice}.")

    def start(self, run: Mapping[str, Any]) -> None:
        """Write ``run.json``, or on a resumed run check that it is the same run and note the attempt.

        Raises:
            UsageError: naming what differs.
        """
        if not self.run_file.is_file():
            write_json(self.run_file, run)
            return
        earlier = self.read_run()
        before, now = earlier["identity"], run["identity"]
        different = [key for key in now if before.get(key) != now[key]]
        if different:
            details = "; ".join(f"{key} was {before.get(key)!r} and is now {now[key]!r}" for key in different)
            raise UsageError(f"{self.path} holds another run ({details}); choose another folder with --out.")
        was, is_now = earlier.get("effort", {}).get("device"), run["effort"]["device"]
        if was != is_now and not self.complete:
            raise UsageError(
                f"{self.path} was begun on {was} and would be resumed on {is_now}; one run is played on one device. "
                f"Resume it with --device {was}, or choose another folder with --out."
            )
        if not self.complete:
            tries = [*(earlier.get("attempts") or [attempt(earlier)]), attempt(run)]
            write_json(self.run_file, {**earlier, "attempts": tries})

    def append(self, finished: Finished) -> None:
        """Keep an episode: its trace first, then its line; both on disk when this returns."""
        number = finished.record.episode
        write_atomic(self.traces_folder / f"{number:05d}.npz", _npz(finished.trace))
        with open(self.episodes_file, "ab") as file:
            file.write(_line(finished.record))
            file.flush()
            os.fsync(file.fileno())

    def finish(self, records: list[EpisodeRecord], traces: Mapping[int, Trace], summary: Mapping[str, Any]) -> None:
        """Sort the episodes, join the traces, write the summary."""
        joined = {f"{name}_{number:05d}": array for number in sorted(traces) for name, array in traces[number].items()}
        write_atomic(self.traces_file, _npz(joined))
        ordered = sorted(records, key=lambda record: record.episode)
        write_atomic(self.episodes_file, b"".join(_line(record) for record in ordered))
        write_json(self.summary_file, summary)
        shutil.rmtree(self.traces_folder, ignore_errors=True)

    # Reading ------------------------------------------------------------------------------------------

    def read_run(self) -> dict[str, Any]:
        """The content of ``run.json``.

        Raises:
            UsageError: when there is no run here.
            DamagedRun: when the file is no run description.
        """
        data = self._read_json(self.run_file)
        if data.get("format") != FORMAT or not isinstance(data.get("identity"), dict):
            raise DamagedRun(f"{self.run_file} is not a run description of format {FORMAT!r}.")
        return data

    def read_summary(self) -> dict[str, Any]:
        """The content of ``summary.json``.

        Raises:
            UsageError: when the run is not finished.
            DamagedRun: when the file is no JSON.
        """
        if not self.complete:
            raise UsageError(f"{self.path} holds no finished run; finish it with 'jepawm-bench run ... --resume'.")
        return self._read_json(self.summary_file)

    def read_records(self, *, drop_torn_line: bool = False) -> list[EpisodeRecord]:
        """The episodes in file order.

        Args:
            drop_torn_line: cut off a last line without its end, which a kill in the middle of writing leaves.

        Raises:
            DamagedRun: naming file and line.
        """
        content = self.episodes_file.read_bytes() if self.episodes_file.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            if not drop_torn_line:
                raise DamagedRun(f"{self.episodes_file}: the last line is not complete; the run was interrupted.")
            write_atomic(self.episodes_file, whole)
        records = [self._record(line, number) for number, line in enumerate(whole.splitlines(), start=1)]
        numbers = [record.episode for record in records]
        for line, number in enumerate(numbers, start=1):
            if number in numbers[: line - 1]:
                raise DamagedRun(f"{self.episodes_file}, line {line}: episode {number} appears twice.")
        return records

    def read_traces(self, records: list[EpisodeRecord]) -> dict[int, Trace]:
        """The traces of these episodes.

        Raises:
            DamagedRun: naming the file or episode.
        """
        joined = self._read_npz(self.traces_file) if self.traces_file.is_file() else {}
        traces: dict[int, Trace] = {}
        for record in records:
            suffix = f"_{record.episode:05d}"
            trace = {key.removesuffix(suffix): array for key, array in joined.items() if key.endswith(suffix)}
            if not trace:
                trace = self._read_npz(self.traces_folder / f"{record.episode:05d}.npz")
            if not {"states", "actions"} <= trace.keys():
                raise DamagedRun(f"{self.path}: the trace of episode {record.episode} lacks its states or actions.")
            traces[record.episode] = trace
        return traces

    def _record(self, line: bytes, number: int) -> EpisodeRecord:
        try:
            return EpisodeRecord.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedRun(
                f"{self.episodes_file}, line {number}: not an episode record ({type(error).__name__}: {error})."
            ) from error

    def _read_json(self, path: Path) -> dict[str, Any]:
        if not path.is_file():
            raise UsageError(f"{self.path} is not a run folder: it has no {path.name}.")
        try:
            data = json.loads(path.read_bytes())
        except ValueError as error:
            raise DamagedRun(f"{path} is damaged: {error}.") from error
        if not isinstance(data, dict):
            raise DamagedRun(f"{path} is damaged: it holds no JSON object.")
        return data

    def _read_npz(self, path: Path) -> Trace:
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except FileNotFoundError:
            raise DamagedRun(f"{path} is missing.") from None
        except Exception as error:  # zip, zlib and numpy raise many kinds for a damaged file
            raise DamagedRun(f"{path} is damaged: {error}.") from error


def default_folder(base: Path, resume: bool) -> Path:
    """Where a run without ``--out`` goes: ``base``, or ``base-2``, ``base-3``, ... after finished runs.

    Args:
        base: the first choice.
        resume: take the unfinished run, or the last finished one when there is no unfinished one.
    """
    folder, last, number = base, base, 2
    while RunFolder(folder).complete:
        folder, last, number = base.with_name(f"{base.name}-{number}"), folder, number + 1
    return folder if RunFolder(folder).run_file.is_file() or not resume else last


def _npz(arrays: Trace) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _line(record: EpisodeRecord) -> bytes:
    return (canonical_json(record.to_json()) + "\n").encode()

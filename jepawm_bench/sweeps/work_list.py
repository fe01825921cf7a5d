"""What of a sweep is done: a line for everything that happens, never changed, so that a killed sweep goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jepawm_bench.errors import UsageError
from jepawm_bench.files import write_json

HEAD, LINES = "sweep.json", "work.jsonl"
DONE = "done"


class WorkList:
    """The work list of a sweep's folder.

    Args:
        folder: of the sweep.
        head: what the sweep is; a folder that is continued must hold the same.
        resume: continue one that is there.

    Raises:
        UsageError: for a folder of another sweep, or of this one without ``resume``.
    """

    def __init__(self, folder: Path, head: Mapping[str, Any], *, resume: bool):
        self.folder = folder
        if (folder / HEAD).exists():
            if not resume:
                raise UsageError(
                    f"{folder} holds a sweep already; add --resume to continue it, or choose another --out."
                )
            if json.loads((folder / HEAD).read_text()) != head:
                raise UsageError(f"{folder} holds another sweep; choose another --out.")
        else:
            write_json(folder / HEAD, head)
        self._end_last_line()

    def note(self, cell: str, event: str, **facts: Any) -> None:
        """Write down that something happened to a cell: ``begun``, ``done``, ``failed`` or ``interrupted``."""
        line = {"cell": cell, "event": event, "time": datetime.now(UTC).isoformat(timespec="seconds"), **facts}
        with (self.folder / LINES).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _end_last_line(self) -> None:
        """A crash may have torn it; what follows must not be lost with it."""
        path = self.folder / LINES
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            with path.open("a") as file:
                file.write("\n")

    def states(self, cells: Sequence[str]) -> dict[str, str]:
        """The last event of every cell; ``waiting`` for those that nothing happened to."""
        states = dict.fromkeys(cells, "waiting")
        path = self.folder / LINES
        for text in path.read_text().splitlines() if path.exists() else ():
            try:
                line = json.loads(text)
            except ValueError:  # torn by a crash while it was written
                continue
            if line["cell"] in states:
                states[line["cell"]] = line["event"]
        return states

"""Frozen task lists: one JSON file each, with a hash that changes when anything in it does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jepawm_bench.canonical import canonical_json, sha256
from jepawm_bench.errors import DamagedManifest, UsageError
from jepawm_bench.files import write_atomic
from jepawm_bench.protocols import SPLITS, Protocol, short_name
from jepawm_bench.suggest import unknown
from jepawm_bench.tasks import Task

FORMAT = "jepawm-manifest/1"


@dataclass(frozen=True)
class Manifest:
    """A task list and how it was made."""

    header: Mapping[str, Any]
    """format, name, env, protocol, split, version, budget, predicates, attrition, generator."""
    tasks: tuple[Task, ...]

    @property
    def content(self) -> dict[str, Any]:
        """Everything that is hashed."""
        return {**self.header, "tasks": [task.to_json() for task in self.tasks]}

    @property
    def sha256(self) -> str:
        """Hash of the content."""
        return sha256(self.content)

    def write(self, path: Path) -> None:
        """Write the file, one task a line so that a change is readable in a diff."""
        header = {**self.header, "sha256": self.sha256}
        lines = ",\n".join(f"    {canonical_json(task.to_json())}" for task in self.tasks)
        top = json.dumps(header, indent=2, ensure_ascii=False).removesuffix("\n}")
        write_atomic(path, f'{top},\n  "tasks": [\n{lines}\n  ]\n}}\n'.encode())


def read_manifest(text: str, where: str) -> Manifest:
    """Parse a manifest and check its hash.

    Args:
        text: the file's content.
        where: its name, for messages.

    Raises:
        DamagedManifest: when it is not a manifest or was changed after it was made.
    """
    try:
        data = json.loads(text)
        stated = data.pop("sha256")
        tasks = tuple(Task.from_json(task) for task in data.pop("tasks"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedManifest(f"{where} is not a task manifest ({type(error).__name__}: {error}).") from error
    if data.get("format") != FORMAT:
        raise DamagedManifest(f"{where} has format {data.get('format')!r}; this version reads {FORMAT!r}.")
    manifest = Manifest(data, tasks)
    if manifest.sha256 != stated:
        raise DamagedManifest(
            f"{where} was changed after it was made: its hash is {manifest.sha256[:12]}, it states {stated[:12]}. "
            "Restore the file, or make a new version with 'jepawm-bench tasks make'."
        )
    return manifest


def load_manifest(path: Path) -> Manifest:
    """Read a manifest file.

    Raises:
        UsageError: when there is no such file.
        DamagedManifest: see :func:`read_manifest`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    return read_manifest(text, str(path))


def packaged_manifest(protocol: Protocol, split: str) -> Manifest:
    """The manifest that belongs to a protocol and split.

    Raises:
        UsageError: for an unknown split.
        DamagedManifest: when the file was changed.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    name = f"{manifest_name(protocol, split)}.json"
    file = files("jepawm_bench.manifests").joinpath(name)
    if not file.is_file():
        raise DamagedManifest(f"The manifest {name} is missing from this installation; install the package again.")
    return read_manifest(file.read_text(encoding="utf-8"), name)


def manifest_name(protocol: Protocol, split: str) -> str:
    """``wall-standard-test``."""
    return f"{short_name(protocol.env_id)}-{protocol.name}-{split}"

"""What tells the data set that is converted from another one of the same layout, without reading all of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from jepawm_envs.data.readers.base import Reader

END = 1 << 16
"""Bytes at either end of a file that are looked at. Archives of PyTorch and Parquet end with checksums or statistics
of all they hold; the others begin or end with data."""
SHARED = (".pth", ".pkl")
"""Files beside the episodes that hold states, actions and lengths of all of them ..."""
SHARING = ("pusht_noise", "point_maze", "wall_single")
"""... in the layouts of DINO-WM."""


def fingerprint(reader: Reader, episodes: int) -> str:
    """A hash of the names of all episodes, and of size and ends of the first one's files and of those that all share.

    Not of the other episodes' files: one that was damaged may be put right and the conversion then continued. No
    times and no places either: a copy of a data set is the same one.

    Args:
        reader: of the data set.
        episodes: how many of it are converted.
    """
    digest = hashlib.sha256()
    sources = [reader.source(index) for index in range(episodes)]
    for source in sources:
        digest.update(f"{seen_from(reader.root, source)}\n".encode())
    first = Path(sources[0].partition("::")[0]) if sources else reader.root
    shared = _shared(reader.root) if reader.layout in SHARING else ()
    for file in dict.fromkeys((*shared, *_files(first))):
        digest.update(f"{seen_from(reader.root, str(file))} {file.stat().st_size}\n".encode())
        digest.update(_ends(file))
    return digest.hexdigest()


def seen_from(root: Path, source: str) -> str:
    """A source ``<file>`` or ``<file>::<place>`` relative to the data set; one that lies elsewhere as it is."""
    file, mark, place = source.partition("::")
    inside = file == os.fspath(root) or file.startswith(os.path.join(root, ""))
    return f"{os.path.relpath(file, root)}{mark}{place}" if inside else source


def _shared(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from sorted(file for file in root.iterdir() if file.suffix in SHARED)


def _files(path: Path) -> Iterator[Path]:
    """A file, or all files in a folder; none where it is missing, which the reader says better."""
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return (file for file in found if file.is_file())


def _ends(path: Path) -> bytes:
    with open(path, "rb") as file:
        first = file.read(END)
        file.seek(max(len(first), path.stat().st_size - END))
        return first + file.read(END)

"""Turning a published data set into a native store."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from jepawm_envs.data.codecs import DEFAULT_CODEC, find_codec
from jepawm_envs.data.episode import DamagedEpisode
from jepawm_envs.data.native import EncodedEpisode, NativeWriter, encode
from jepawm_envs.data.ordered import in_order
from jepawm_envs.data.readers.base import LeftOut, OnError, Reader, read_one
from jepawm_envs.data.readers.store_reader import StoreReader
from jepawm_envs.data.readers.table import open_reader
from jepawm_envs.errors import InvalidOption


def convert(
    layout: str,
    source: str | Path,
    out: str | Path,
    *,
    codec: str = DEFAULT_CODEC,
    on_error: OnError = "raise",
    episodes: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[LeftOut], None] | None = None,
    **options: Any,
) -> Path:
    """Read a data set in one of the layouts of :mod:`jepawm_envs.data.readers` and store it.

    An interrupted conversion continues where it stopped when called again with the same arguments.

    Args:
        layout: its name.
        source: where the data set lies.
        out: folder of the native store.
        codec: of :mod:`jepawm_envs.data.codecs`.
        on_error: ``raise`` stops at a damaged episode, ``skip`` leaves it out and notes it in the store.
        episodes: only the first so many; all when None.
        workers: processes that read; with 1 this one reads. The store does not depend on it.
        progress: called with (episodes done, episodes).
        report: told about every episode that is left out.
        **options: of the layout's reader.

    Returns:
        The folder.

    Raises:
        DamagedEpisode: the first, with ``raise``; what was converted before stays.
        DataError: if the data set as a whole is damaged, or ``out`` holds another one.
        InvalidOption: for an unknown layout, option or codec.
    """
    if episodes is not None and episodes < 1:
        raise InvalidOption(f"episodes={episodes} is not possible; convert at least one.")
    if workers < 1:
        raise InvalidOption(f"workers={workers} is not possible; somebody must read.")
    if on_error not in ("raise", "skip"):
        raise InvalidOption(f"on_error={on_error!r} is not known; choose raise or skip.")
    reader, path = open_reader(layout, source, **options), Path(out)
    wanted = len(reader) if episodes is None else min(episodes, len(reader))
    with closing(NativeWriter(path, _request(reader, wanted, codec, options), codec)) as writer:
        if writer.complete:
            return path
        read = _Read(layout, source, options, codec, on_error)
        left = range(writer.seen, wanted)
        with closing(in_order(read, left, min(workers, max(1, len(left))))) as found:
            for episode in found:
                left_out = _keep(writer, reader, episode, on_error)
                if left_out is not None and report is not None:
                    report(left_out)
                if progress is not None:
                    progress(writer.seen, wanted)
        writer.finish()
    return path


class _Read:
    """Reads episodes of one data set and encodes their frames."""

    def __init__(self, layout: str, source: str | Path, options: dict[str, Any], codec: str, on_error: OnError):
        self.where, self.codec = (layout, source, options), codec
        self.on_error: OnError = on_error
        self.reader: Reader | None = None

    def __call__(self, index: int) -> EncodedEpisode | LeftOut:
        layout, source, options = self.where
        self.reader = self.reader or open_reader(layout, source, **options)
        episode = read_one(self.reader, index, self.on_error)
        return episode if isinstance(episode, LeftOut) else encode(episode, find_codec(self.codec))


def _keep(writer: NativeWriter, reader: Reader, episode: EncodedEpisode | LeftOut, on_error: OnError) -> LeftOut | None:
    """Write an episode, or note that it is left out."""
    if isinstance(episode, EncodedEpisode):
        try:
            writer.append(replace(episode, source=_relative(episode.source, reader.root)))
            return None
        except DamagedEpisode as problem:  # its shapes are not those of the others
            if on_error == "raise":
                raise DamagedEpisode(episode.source, problem.why) from None
            episode = LeftOut(writer.seen, episode.source, problem.why)
    writer.skip(_relative(episode.source, reader.root), episode.why)
    return episode


def _request(reader: Reader, wanted: int, codec: str, options: dict[str, Any]) -> dict[str, Any]:
    """What is asked for: part of the store and of its hash, without places of this machine."""
    if isinstance(reader, StoreReader) and not reader.resizes and wanted == len(reader):
        return dict(reader.meta)  # the same data in another container
    return {
        "layout": reader.layout,
        "env": reader.env,
        "frames": "recorded",
        "read": wanted,
        "options": {key: value for key, value in sorted(options.items()) if value is not None},
    }


def _relative(source: str, root: Path) -> str:
    """A source as seen from the data set, so that stores do not name places of a machine."""
    return os.path.relpath(source, root) if source.startswith(os.fspath(root)) else source

"""Turning a published data set into a native store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from jepawm_envs.data.codecs import DEFAULT_CODEC, find_codec
from jepawm_envs.data.episode import DamagedEpisode
from jepawm_envs.data.fingerprint import fingerprint, seen_from
from jepawm_envs.data.native import EncodedEpisode, NativeWriter, encode
from jepawm_envs.data.ordered import in_order
from jepawm_envs.data.readers.base import LeftOut, OnError, Reader, read_one
from jepawm_envs.data.readers.store_reader import StoreReader
from jepawm_envs.data.readers.table import open_reader
from jepawm_envs.errors import DataError, InvalidOption

NAMED = 5
"""Episodes that a message lists by name; the journal lists them all."""


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

    An interrupted conversion continues where it stopped when called again with the same arguments; that it is of the
    same data set is checked (:mod:`jepawm_envs.data.fingerprint`).

    Args:
        layout: its name.
        source: where the data set lies.
        out: folder of the native store.
        codec: of :mod:`jepawm_envs.data.codecs`.
        on_error: ``raise`` stops at a damaged episode, and at a store from which one was left out before; ``skip``
            leaves it out and notes it in the store.
        episodes: only the first so many; all when None.
        workers: processes that read; with 1 this one reads. The store does not depend on it.
        progress: called with (episodes done, episodes).
        report: told about every episode that is left out, now or before an interruption.
        **options: of the layout's reader.

    Returns:
        The folder.

    Raises:
        DamagedEpisode: the first, with ``raise``; what was converted before stays.
        DataError: if the data set as a whole is damaged, or ``out`` holds another one, or lacks episodes with
            ``raise``.
        InvalidOption: for an unknown layout, option or codec.
    """
    if episodes is not None and episodes < 1:
        raise InvalidOption(f"episodes={episodes} is not possible; convert at least one.")
    if workers < 1:
        raise InvalidOption(f"workers={workers} is not possible; somebody must read.")
    if on_error not in ("raise", "skip"):
        raise InvalidOption(f"on_error={on_error!r} is not known; choose raise or skip.")
    reader, path, tell = open_reader(layout, source, **options), Path(out), report or _ignore
    wanted = len(reader) if episodes is None else min(episodes, len(reader))
    request, origin = _request(reader, wanted, codec, options), fingerprint(reader, wanted)
    with closing(NativeWriter(path, request, codec, origin)) as writer:
        for left_out in _left_out_before(writer, reader, on_error):
            tell(left_out)
        if writer.complete:
            return path
        read = _Read(layout, source, options, codec, on_error)
        left = range(writer.seen, wanted)
        with closing(in_order(read, left, min(workers, max(1, len(left))))) as found:
            for episode in found:
                left_out = _keep(writer, reader, episode, on_error)
                if left_out is not None:
                    tell(left_out)
                if progress is not None:
                    progress(writer.seen, wanted)
        writer.finish()
    return path


def _ignore(left_out: LeftOut) -> None:
    pass


def _left_out_before(writer: NativeWriter, reader: Reader, on_error: OnError) -> Iterator[LeftOut]:
    """The episodes that an earlier call left out of a store.

    Raises:
        DataError: with ``raise``, if there are any.
    """
    found = [LeftOut(index, reader.source(index), line["skipped"]) for index, line in writer.left_out.items()]
    if found and on_error == "raise":
        listed = "; ".join(f"{one.source}: {one.why}" for one in found[:NAMED])
        more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise DataError(
            f"{writer.path} lacks {len(found)} damaged episodes that were left out of it before ({listed}{more}). To "
            f"go on without them, convert with --on-error skip; to have them, repair them, delete {writer.path} and "
            "convert again."
        )
    return iter(found)


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
            source = reader.source(writer.seen)
            if on_error == "raise":
                raise DamagedEpisode(source, problem.why) from None
            episode = LeftOut(writer.seen, source, problem.why)
    writer.skip(_relative(episode.source, reader.root), episode.why)
    return episode


def _request(reader: Reader, wanted: int, codec: str, options: dict[str, Any]) -> dict[str, Any]:
    """What is asked for: part of the store and of its hash, without places of this machine."""
    if isinstance(reader, StoreReader) and not reader.resizes and wanted == len(reader):
        return _same_data(reader.meta, codec)
    return {
        "layout": reader.layout,
        "env": reader.env,
        "frames": "recorded",
        "read": wanted,
        "options": {key: value for key, value in sorted(options.items()) if value is not None},
    }


def _same_data(meta: dict[str, Any], codec: str) -> dict[str, Any]:
    """What made a store, for a copy of it in another container.

    A copy that loses something is another data set, and the hash must say so: it is of the frames themselves where
    they were recorded; where they follow from the states, the codecs that lost something are named.
    """
    if find_codec(codec).lossless or meta.get("frames") == "recorded":
        return dict(meta)
    return {**meta, "codec": "+".join(filter(None, (meta.get("codec"), codec)))}


def _relative(source: str, root: Path) -> str:
    """A source as seen from the data set, so that stores do not name places of a machine."""
    seen = seen_from(root, source)
    return f"{root.name}{seen[1:]}" if seen.startswith(".::") else seen

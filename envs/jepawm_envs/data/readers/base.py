"""What every reader offers, and reading many episodes of which some may be damaged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from jepawm_envs.data.episode import DamagedEpisode, Episode
from jepawm_envs.errors import DataError, InvalidOption

OnError = Literal["raise", "skip"]


class Reader(ABC):
    """A data set in a published layout.

    Subclasses take the path and the options of their layout as keyword arguments, and look at what all episodes
    share when they are made: there a fault is a :class:`DataError` of the whole data set.
    """

    layout: ClassVar[str]
    """The name of the layout, as ``data convert --layout`` takes it."""
    env: ClassVar[str | None] = None
    """The environment whose actions and states these are."""
    root: Path
    """Where the data set lies."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of episodes, damaged ones included."""

    @abstractmethod
    def source(self, index: int) -> str:
        """Where an episode lies: a file, and a place in it when it holds several."""

    @abstractmethod
    def read(self, index: int) -> Episode:
        """One episode.

        Raises:
            DamagedEpisode: when it is damaged, cut short or contradicts itself.
        """


@dataclass(frozen=True)
class LeftOut:
    """An episode that was not read."""

    index: int
    source: str
    why: str


def read_one(reader: Reader, index: int, on_error: OnError = "raise") -> Episode | LeftOut:
    """One episode, checked.

    Args:
        reader: of any layout.
        index: of the episode.
        on_error: ``raise`` refuses a damaged episode; ``skip`` gives a :class:`LeftOut` in its place. Nothing else
            is ever put in the place of an episode.

    Raises:
        DamagedEpisode: with ``raise``.
        InvalidOption: for another ``on_error``.
    """
    if on_error not in ("raise", "skip"):
        raise InvalidOption(f"on_error={on_error!r} is not known; choose raise or skip.")
    try:
        episode = reader.read(index)
        episode.check()
    except DamagedEpisode as problem:
        if on_error == "raise":
            raise
        return LeftOut(index, problem.source or reader.source(index), problem.why)
    return episode


def read_all(reader: Reader, on_error: OnError = "raise") -> Iterator[Episode | LeftOut]:
    """All episodes in order; see :func:`read_one`."""
    return (read_one(reader, index, on_error) for index in range(len(reader)))


def existing_folder(path: Path) -> Path:
    """The folder of a data set.

    Raises:
        DataError: if there is none.
    """
    if not path.is_dir():
        raise DataError(f"There is no folder {path}; give the folder of the data set.")
    return path

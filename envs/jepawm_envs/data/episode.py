"""One episode in memory, as readers give it and stores keep it, and what is said of a damaged one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.errors import DataError, InvalidOption


class DamagedEpisode(DataError):
    """One episode that is damaged, cut short or contradicts itself.

    Args:
        source: where it lies.
        why: what is wrong, half a sentence.
    """

    def __init__(self, source: str, why: str):
        super().__init__(f"The episode {source} cannot be used: {why}.")
        self.source, self.why = source, why

    def __reduce__(self):
        return DamagedEpisode, (self.source, self.why)  # else it could not come back from another process


@dataclass(frozen=True)
class Episode:
    """T actions and the T + 1 frames around them: action t leads from frame t to frame t + 1."""

    pixels: NDArray[np.uint8]
    """(T + 1, H, W, C)."""
    frame_arrays: Mapping[str, NDArray]
    """Arrays with a row a frame: ``states`` (T + 1, S), ``proprio`` (T + 1, Q), and others of the layout."""
    step_arrays: Mapping[str, NDArray]
    """Arrays with a row an action: ``actions`` (T, A), in units of the environment, ``rewards`` (T,), ..."""
    source: str = ""
    """Where it was read."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Facts of the episode as a whole, JSON values: task, shape, where the door is."""

    @property
    def steps(self) -> int:
        """T."""
        return len(self.pixels) - 1

    def check(self) -> None:
        """Refuse an episode that contradicts itself.

        Raises:
            DamagedEpisode: for no action, rows that do not match, images that are none, or values not finite.
        """
        if self.pixels.ndim != 4 or self.pixels.dtype != np.uint8 or 0 in self.pixels.shape:
            raise DamagedEpisode(self.source, f"its images are {self.pixels.dtype} of shape {self.pixels.shape}")
        if self.steps < 1:
            raise DamagedEpisode(self.source, "it has no action between two frames")
        for arrays, rows, what in ((self.frame_arrays, self.steps + 1, "frames"), (self.step_arrays, self.steps, "")):
            for name, values in arrays.items():
                if len(values) != rows:
                    raise DamagedEpisode(self.source, f"{name} has {len(values)} rows for {rows} {what or 'actions'}")
                if 0 in values.shape:
                    raise DamagedEpisode(self.source, f"{name} has shape {values.shape}")
                if not np.isfinite(values).all():
                    raise DamagedEpisode(self.source, f"{name} holds values that are not finite")


def aligned(
    source: str, pixels: NDArray[np.uint8], frame_arrays: Mapping[str, NDArray], step_arrays: Mapping[str, NDArray]
) -> tuple[NDArray[np.uint8], dict[str, NDArray], dict[str, NDArray]]:
    """Cut what was recorded to T + 1 frames and T actions.

    Published layouts record as many actions as frames, or one frame or state more; the action after the last
    frame has no successor and is left out (differs from the reference, whose windows end with such an action
    that no prediction is compared with).

    Raises:
        DamagedEpisode: when counts are further apart than one.
    """
    counts = {"images": len(pixels), **{name: len(values) for name, values in frame_arrays.items()}}
    frames = min(counts.values())
    steps = {name: len(values) for name, values in step_arrays.items()}
    close = max(counts.values()) <= frames + 1 and all(frames - 1 <= count <= frames for count in steps.values())
    if not close:
        listed = ", ".join(f"{count} {name}" for name, count in (counts | steps).items())
        raise DamagedEpisode(source, f"its parts have different lengths ({listed})")
    return (
        pixels[:frames],
        {name: values[:frames] for name, values in frame_arrays.items()},
        {name: values[: frames - 1] for name, values in step_arrays.items()},
    )


@contextmanager
def damage_in(source: object) -> Iterator[None]:
    """Turn whatever reading a broken file raises into :class:`DamagedEpisode` of ``source``.

    Raises:
        InvalidOption: as it was raised; a wrong option is no damage.
    """
    try:
        yield
    except (DataError, InvalidOption):
        raise
    except FileNotFoundError:
        raise DamagedEpisode(str(source), "a file of it is missing") from None
    except MemoryError:
        raise
    except Exception as problem:  # decoders, HDF5, zip archives: each has its own family
        raise DamagedEpisode(str(source), f"{type(problem).__name__}: {problem}".rstrip(".")) from problem

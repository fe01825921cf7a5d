"""Images of published layouts as arrays (H, W, 3) of bytes, and films as many of them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.data.episode import DamagedEpisode
from jepawm_envs.errors import DataError, InvalidOption


def as_bytes(source: str, images: NDArray) -> NDArray[np.uint8]:
    """Images with values 0 to 255 of any type, as bytes.

    Raises:
        DamagedEpisode: for values that are none.
    """
    if images.dtype == np.uint8:
        return images
    low, high = (images.min(), images.max()) if images.size else (0, 0)
    if not (low >= 0 and high <= 255):  # also false for NaN
        raise DamagedEpisode(source, f"its images have values from {low} to {high} instead of 0 to 255")
    return np.rint(images).astype(np.uint8)


def fit(images: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """Images (..., H, W, C) cut to their central square and resized; as they are when ``size`` is None.

    Differs from the reference (``transforms.py:89-210``), which resizes without antialiasing: from 720 to 256 pixels
    that leaves out every second or third line.

    Raises:
        InvalidOption: for a size that is not positive.
    """
    if size is not None and size < 1:
        raise InvalidOption(f"image_size={size} is not possible; give pixels.")
    height, width = images.shape[-3:-1]
    if size is None or (height, width) == (size, size):
        return images
    from PIL import Image as pillow

    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[..., top : top + side, left : left + side, :]
    small = [
        np.asarray(pillow.fromarray(np.ascontiguousarray(image)).resize((size, size), pillow.Resampling.BILINEAR))
        for image in square.reshape(-1, *square.shape[-3:])
    ]
    return np.stack(small).reshape(*images.shape[:-3], size, size, images.shape[-1])


@dataclass(frozen=True)
class Film:
    """A decoded film."""

    frames: NDArray[np.uint8]
    """Those that were kept, (frames, H, W, 3)."""
    step: int
    """How many of its own frames these are apart."""
    recorded: int
    """Frames of the film."""


def read_film(source: str, film: Path | bytes, *, size: int | None = None, fps: float | None = None) -> Film:
    """Decode a film to its end.

    Films carry no checksum: of parts that were overwritten most are noticed, but single bits that still decode to
    some picture are not.

    Args:
        source: of the episode, for messages.
        film: a file, or its content.
        size: see :func:`fit`; frames are resized as they are decoded.
        fps: keep every ceil(film's rate / fps)-th frame (``droid_dset.py:160-183``); all when None.

    Raises:
        DamagedEpisode: for a film that cannot be decoded to its end.
        InvalidOption: for an impossible ``size`` or ``fps``.
    """
    av = _av()
    content: Any = io.BytesIO(film) if isinstance(film, bytes) else str(film)
    if isinstance(film, Path) and not film.is_file():
        raise DamagedEpisode(source, f"its film {film} is missing")
    try:
        with av.open(content) as container:
            return _decode(source, container, size, fps)
    except InvalidOption:  # a ValueError, but no fault of the film
        raise
    except (av.FFmpegError, IndexError, ValueError) as problem:
        raise DamagedEpisode(source, f"its film cannot be decoded ({problem})") from None


def _decode(source: str, container: Any, size: int | None, fps: float | None) -> Film:
    stream = container.streams.video[0]
    stream.codec_context.options = {"err_detect": "explode"}  # else damaged parts are painted over ...
    stream.thread_type = "NONE"  # ... as they are when several threads decode
    if fps is not None and not stream.average_rate:
        raise DamagedEpisode(source, "its film does not say how many frames a second it has")
    step = 1 if fps is None else stride(float(stream.average_rate), fps)
    kept, count = [], 0
    for frame in container.decode(stream):
        if frame.is_corrupt:
            raise DamagedEpisode(source, f"frame {count} of its film is damaged")
        if count % step == 0:
            kept.append(fit(frame.to_ndarray(format="rgb24"), size))
        count += 1
    if count == 0 or stream.frames not in (0, count):  # 0: the film does not say
        raise DamagedEpisode(source, f"its film has {count} of the {stream.frames} frames that it announces")
    return Film(np.stack(kept), step, count)


def stride(native_fps: float, fps: float) -> int:
    """Recorded frames between two kept ones (``droid_dset.py:160-183``).

    Raises:
        InvalidOption: for a rate that is not positive.
    """
    return max(1, int(np.ceil(native_fps / checked_fps(fps) - 1e-9)))


def checked_fps(fps: float) -> float:
    """The rate, if it is one.

    Raises:
        InvalidOption: for a rate that is not positive.
    """
    if not fps > 0:  # also true for NaN
        raise InvalidOption(f"fps={fps:g} is not possible; give frames a second.")
    return fps


def _av() -> Any:
    try:
        import av
    except ModuleNotFoundError:
        raise DataError('Reading films needs PyAV. Install it: pip install "jepawm-bench[video]"') from None
    return av

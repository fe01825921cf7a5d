"""How single frames are stored; every frame by itself, so that one can be read without its neighbours."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.errors import InvalidOption

Frame = NDArray[np.uint8]
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Codec:
    """A way to turn one frame (H, W, C) into bytes and back."""

    name: str
    lossless: bool
    encode: Callable[[Frame], bytes]
    decode: Callable[[bytes | memoryview, tuple[int, ...]], Frame]
    summary: str


def _inflate(data: bytes | memoryview, shape: tuple[int, ...]) -> Frame:
    return np.frombuffer(zlib.decompress(data, bufsize=int(np.prod(shape))), np.uint8).reshape(shape)


def _picture(format_name: str, **options: int) -> Callable[[Frame], bytes]:
    def encode(frame: Frame) -> bytes:
        from PIL import Image

        if frame.shape[-1] not in (1, 3):
            raise InvalidOption(f"{format_name} stores 1 or 3 channels, not {frame.shape[-1]}; choose codec deflate.")
        buffer = io.BytesIO()
        Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame).save(buffer, format_name, **options)
        return buffer.getvalue()

    return encode


def _open_picture(data: bytes | memoryview, shape: tuple[int, ...]) -> Frame:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image, np.uint8).reshape(shape)


def _copy(data: bytes | memoryview, shape: tuple[int, ...]) -> Frame:
    return np.frombuffer(data, np.uint8).reshape(shape)


def _deflate(frame: Frame) -> bytes:
    return zlib.compress(frame.tobytes(), 1)


_PNG, _JPEG = _picture("PNG", compress_level=1), _picture("JPEG", quality=JPEG_QUALITY, subsampling=0)

CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("raw", True, lambda frame: frame.tobytes(), _copy, "as they are, H * W * C bytes a frame; the fastest"),
        Codec("deflate", True, _deflate, _inflate, "lossless and fast; for drawings"),
        Codec("png", True, _PNG, _open_picture, "lossless; for photographs"),
        Codec("jpeg", False, _JPEG, _open_picture, f"lossy, quality {JPEG_QUALITY}; for large photographs"),
    )
}
DEFAULT_CODEC = "deflate"


def find_codec(name: str) -> Codec:
    """The codec of a name.

    Raises:
        InvalidOption: for an unknown one.
    """
    if name not in CODECS:
        raise InvalidOption(f"Codec {name!r} is not known; choose one of {', '.join(CODECS)}.")
    return CODECS[name]

"""Reading tensors that PyTorch saved (``.pth``), without PyTorch and without running what a pickle says.

The published 2-D data sets are such files. Reading them here keeps torch out of this package; the format is a zip
archive whose ``data.pkl`` describes tensors and whose ``data/<key>`` hold their elements
(https://docs.pytorch.org/docs/stable/notes/serialization.html). Only tensors of numbers and plain values are built;
everything that a description claims is checked against what the archive holds.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.data.readers.pickles import PLAIN, RestrictedUnpickler, Sealed
from jepawm_envs.errors import DataError

STORAGES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "LongStorage": "i8", "IntStorage": "i4",
    "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip


def load_torch(path: Path) -> Any:
    """What a ``.pth`` file holds, tensors as arrays.

    Raises:
        DataError: if it is missing, damaged, in the format before PyTorch 1.6, or holds more than tensors and plain
            values.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _load(archive)
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except zipfile.BadZipFile as problem:
        raise DataError(
            f"{path} is no archive of PyTorch 1.6 or later, or is damaged ({problem}); download it again, or load and "
            "save it once with a current PyTorch."
        ) from None
    except Exception as problem:  # a damaged pickle raises whatever its bytes happen to mean
        raise DataError(f"{path} is refused or damaged: {problem or type(problem).__name__}.") from None


def load_tensor(path: Path, dims: int) -> NDArray:
    """The one tensor in a file.

    Raises:
        DataError: as :func:`load_torch`, or if there is no tensor of so many dimensions.
    """
    value = load_torch(path)
    if not isinstance(value, np.ndarray) or value.ndim != dims:
        found = f"a tensor of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise DataError(f"{path} holds {found} instead of a tensor of {dims} dimensions.")
    return value


def _load(archive: zipfile.ZipFile) -> Any:
    names = {name.partition("/")[2]: name for name in archive.namelist()}
    if "data.pkl" not in names:
        raise DataError("it has no data.pkl")
    order = _stored(archive, names, "byteorder") if "byteorder" in names else b"little"
    storages = _Storages(archive, names, "<" if order == b"little" else ">")
    allowed = {**PLAIN, ("torch._utils", "_rebuild_tensor_v2"): Sealed(_rebuild)}
    allowed |= {("torch", name): code for name, code in STORAGES.items()}
    return RestrictedUnpickler(io.BytesIO(_stored(archive, names, "data.pkl")), allowed, storages.load).load()


def _stored(archive: zipfile.ZipFile, names: dict[str, str], name: str) -> bytes:
    """The content of an entry, no larger than the archive: PyTorch never compresses, a bomb does."""
    entry = archive.getinfo(names[name])
    if entry.compress_type != zipfile.ZIP_STORED:
        raise pickle.UnpicklingError(f"{name} is compressed")
    return archive.read(entry)  # the checksum is compared here


class _Storages:
    """The elements in an archive, each read once."""

    def __init__(self, archive: zipfile.ZipFile, names: dict[str, str], order: str):
        self._archive, self._names, self._order = archive, names, order
        self._read: dict[str, NDArray] = {}

    def load(self, reference: Any) -> NDArray:
        """The elements that a description refers to: ("storage", type, key, device, count)."""
        kind, code, key, _, count = reference
        if kind != "storage" or code not in STORAGES.values():
            raise pickle.UnpicklingError(f"it refers to {kind!r} of type {code!r}")
        if key not in self._read:
            self._read[key] = self._elements(code, str(key))
        if len(self._read[key]) < count:
            raise pickle.UnpicklingError(f"data/{key} holds {len(self._read[key])} of {count} elements")
        return self._read[key]

    def _elements(self, code: str, key: str) -> NDArray:
        data = _stored(self._archive, self._names, f"data/{key}")
        dtype = np.dtype(self._order + code)
        return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False)


def _rebuild(elements: NDArray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> NDArray:
    """A tensor's view of its elements, checked to lie inside them and not to repeat any."""
    if len(shape) != len(strides) or min((offset, *shape, *strides)) < 0:
        raise pickle.UnpicklingError(f"a tensor has shape {shape} and strides {strides}")
    if 0 in shape:
        return np.empty(shape, elements.dtype)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if last >= len(elements) or math.prod(shape) > len(elements):
        raise pickle.UnpicklingError(f"a tensor of shape {shape} does not fit into {len(elements)} elements")
    bytes_apart = [stride * elements.itemsize for stride in strides]
    view = np.lib.stride_tricks.as_strided(elements[offset:], shape, bytes_apart, writeable=False)
    return np.ascontiguousarray(view).reshape(shape)

"""Reading pickles that hold plain values, and refusing every other one.

A pickle is a program: loading one from elsewhere runs what its author wants. This unpickler calls nothing that is
not in its short list, so it can build numbers, texts, lists, tuples, sets and dictionaries, and no more.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jepawm_envs.errors import DataError

NUMBER_KINDS = "biuf"


class Sealed:
    """A function that a pickle may call and not change: the BUILD instruction sets attributes of what it is given."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return self._function(*arguments)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError(f"it sets {name} of a function")


class _DType:
    """What ``numpy.dtype`` becomes: takes the state (byte order, ...) that a pickle gives it afterwards."""

    def __init__(self, code: str, *_: object):
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in NUMBER_KINDS:
            raise pickle.UnpicklingError(f"it holds values of type {self.dtype}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1] if state[1] in "<>" else "=")


def _scalar(dtype: _DType, data: bytes) -> int | float | bool:
    """A NumPy number as a plain one."""
    return np.frombuffer(data, dtype.dtype)[0].item()


def _bytes(text: str, encoding: str) -> bytes:
    """How pickles up to protocol 2 write bytes; stands for ``codecs.encode``."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
    return text.encode("latin1")


PLAIN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Sealed(OrderedDict),
    ("_codecs", "encode"): Sealed(_bytes),
    ("numpy", "dtype"): Sealed(_DType),
    ("numpy.core.multiarray", "scalar"): Sealed(_scalar),
    ("numpy._core.multiarray", "scalar"): Sealed(_scalar),
}


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that knows a short list of names.

    Args:
        file: to read from.
        allowed: what each (module, name) of a pickle becomes.
        refer: what a reference to something outside of the pickle becomes; refused when None.
    """

    def __init__(
        self,
        file: io.BufferedIOBase | io.BytesIO,
        allowed: Mapping[tuple[str, str], Any] = PLAIN,
        refer: Callable[[Any], Any] | None = None,
    ):
        super().__init__(file)
        self._allowed, self._refer = allowed, refer

    def persistent_load(self, pid: Any) -> Any:
        """What a reference stands for."""
        if self._refer is None:
            raise pickle.UnpicklingError("it refers to something outside of itself")
        return self._refer(pid)

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What a name stands for.

        Raises:
            UnpicklingError: for a name that is not in the list; nothing is imported.
        """
        try:
            return self._allowed[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which is not loaded") from None


def load_pickle(path: Path) -> Any:
    """The plain value in a file.

    Raises:
        DataError: if it is missing, damaged, or holds more than plain values.
    """
    try:
        with open(path, "rb") as file:
            return RestrictedUnpickler(file).load()
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except Exception as problem:  # a damaged pickle raises whatever its bytes happen to mean
        raise DataError(f"{path} is refused or damaged: {problem or type(problem).__name__}.") from None

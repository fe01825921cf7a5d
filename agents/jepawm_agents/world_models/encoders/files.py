"""Files of published encoder weights, read without running anything that they contain."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jepawm_agents.errors import WeightsError

# Left by distributed training and by V-JEPA's wrapper around its backbone.
_WRAPPERS = ("module.", "backbone.")


def read_published(path: Path, *, key: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a file written by ``torch.save``.

    Args:
        path: the file.
        key: the entry to read of a file that holds several models; V-JEPA's encoders are under ``encoder``.

    Returns:
        Tensors by name, without the prefixes of wrappers.

    Raises:
        WeightsError: if the file is missing, truncated, holds anything but tensors and plain values, or lacks the
            entry.
    """
    content = read_file(path)
    if key is not None:
        if key not in content:
            raise WeightsError(f"{path} has no entry {key!r}; it has {', '.join(map(str, list(content)[:6]))}.")
        content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        where = "" if key is None else f" under {key!r}"
        raise WeightsError(f"{path} does not hold a dictionary of tensors{where}; it is not a file of encoder weights.")
    return {_unwrapped(str(name)): value for name, value in content.items()}


def read_file(path: Path) -> Mapping[str, Any]:
    """Read what ``torch.save`` wrote, tensors and plain values only; tensors stay on disk until they are used.

    Raises:
        WeightsError: if the file is missing, truncated, holds code, or is no dictionary.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weights file at {path}; check the path that was given.")
    zipped = zipfile.is_zipfile(path)
    if not zipped and _starts_like_a_zip(path):
        raise WeightsError(f"{path} is truncated: its end is missing. Get it again.")
    try:
        # Files from before torch 1.6 are no archives and cannot be mapped into memory.
        with warnings.catch_warnings():
            # Of files that torch did not write, which are read or refused like all others.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path} is damaged, or holds code and not only weights; it was not loaded. Get it again from its source."
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError) as problem:
        first = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise WeightsError(f"{path} cannot be read ({first}); it may be truncated. Get it again.") from None
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__} instead of a dictionary of weights.")
    return content


def _starts_like_a_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _unwrapped(name: str) -> str:
    while name.startswith(_WRAPPERS):
        for wrapper in _WRAPPERS:
            name = name.removeprefix(wrapper)
    return name

"""A ``.npy`` file that grows by rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from jepawm_envs.errors import DataError


class GrowingArray:
    """An array on disk that rows are appended to; after :meth:`close` any NumPy reads and maps it.

    The number of rows is written into the header by :meth:`close` alone: NumPy leaves room for a growing first
    axis there. Until then whoever writes must remember how many rows are meant.

    Args:
        path: of the file, made when missing.
        shape: of one row.
        dtype: of the elements.
        rows: rows to keep of an existing file; what lies behind them is cut off.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any, rows: int):
        self.path, self.shape, self.dtype, self.rows = path, tuple(shape), np.dtype(dtype), rows
        self._file = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115  closed by close()
        self._start = self._write_header()
        self._file.truncate(self._start + rows * self.row_bytes)
        self._file.seek(0, 2)

    @property
    def row_bytes(self) -> int:
        """Size of one row."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def append(self, rows: NDArray | bytes) -> None:
        """Append rows, or the bytes of rows."""
        data = rows if isinstance(rows, bytes) else np.ascontiguousarray(rows, self.dtype).tobytes()
        self._file.write(data)
        self.rows += len(data) // self.row_bytes

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Write the header and close the file."""
        if self._write_header() != self._start:
            raise DataError(f"This NumPy ({np.__version__}) leaves no room in the header of {self.path} to grow.")
        self._file.close()

    def _write_header(self) -> int:
        self._file.seek(0)
        descr = npy.dtype_to_descr(self.dtype)
        npy.write_array_header_1_0(
            self._file, {"descr": descr, "fortran_order": False, "shape": (self.rows, *self.shape)}
        )
        return self._file.tell()


def stored_rows(path: Path, shape: tuple[int, ...], dtype: Any) -> int:
    """Whole rows that the bytes of a file hold, whatever its header says; 0 if there is none."""
    if not path.exists():
        return 0
    with open(path, "rb") as file:
        try:
            npy.read_magic(file)
            npy.read_array_header_1_0(file)
        except ValueError:
            return 0
        start = file.tell()
    row = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return max(0, path.stat().st_size - start) // row


def map_array(path: Path) -> NDArray:
    """Map a finished array into memory, read-only.

    Raises:
        DataError: if it is missing, cut short or no such array.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        if path.exists() and "empty file" in str(problem):
            return np.load(path, allow_pickle=False)
        raise DataError(f"{path} is damaged ({problem}); convert or collect the data set again.") from None

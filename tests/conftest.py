"""What all tests share: where the golden records lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]

Golden = Callable[[str], dict[str, NDArray]]


@pytest.fixture(scope="session")
def golden() -> Golden:
    """``golden("wall")``: the arrays of one record; the test is skipped where the records are absent."""
    folder = Path(os.environ.get("JEPAWM_GOLDEN", ROOT.parent / "shared" / "golden"))

    def load(name: str) -> dict[str, NDArray]:
        path = folder / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"no golden record at {path}; set JEPAWM_GOLDEN to the folder that holds it")
        with np.load(path, allow_pickle=False) as record:
            return dict(record)

    return load

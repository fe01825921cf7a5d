"""What all tests share: where the golden records lie, and that Ctrl-C reaches those who wait for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]

Golden = Callable[[str], dict[str, NDArray]]

# What a shell starts in the background ignores Ctrl-C, and so do its children: those that tests interrupt, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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

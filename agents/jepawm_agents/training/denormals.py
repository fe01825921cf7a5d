"""Numbers next to zero, with which processors calculate many times slower than with others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

DENORMAL = 1e-40
"""Below the least normal float32, 1.2e-38."""


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Within it, results below 1e-38 are zero, where the processor can do that.

    Bumps that end far away and second moments of weights that hardly change fall there: training a decoder of small
    things took three to four times as long without. It holds for the calling thread and those that it starts; the
    setting found is put back.
    """
    found = _flushes()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(found)


def _flushes() -> bool:
    """Whether the calling thread flushes them already; torch does not tell."""
    return float(torch.tensor(DENORMAL) * 1.0) == 0.0

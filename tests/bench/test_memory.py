"""Freed memory stays with a process that asks for it."""

import os
import subprocess
import sys

import pytest

from jepawm_bench.memory import keep_freed_memory

FAULTS = """
import resource, sys
import numpy as np
from jepawm_bench.memory import keep_freed_memory
kept = sys.argv[1] == "keep" and keep_freed_memory()
for _ in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**25, np.uint8)[::4096].sum()  # 32 MiB, written and freed
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(int(kept), faults)
"""


def faults(word: str) -> tuple[int, int]:
    """Whether it was granted, and page faults of an array that others like it came before."""
    small_pages = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}  # huge ones are few, and not always to be had
    command = [sys.executable, "-c", FAULTS, word]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=small_pages)
    kept, number = answer.stdout.split()
    return int(kept), int(number)


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_large_arrays_cost_no_page_faults_where_memory_is_kept():
    kept, number = faults("keep")
    if not kept:
        pytest.skip("this C library has no mallopt")
    assert 2 * number < faults("plain")[1]


def test_a_system_without_such_a_call_is_told_apart(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert keep_freed_memory() is False

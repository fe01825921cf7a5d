"""Garbage collection in another thread, a progress bar's for instance, does not break the simulator."""

from __future__ import annotations

import subprocess
import sys

STRESS = """
import gc, sys, threading
import numpy as np
from jepawm_envs.pusht.physics import Simulator

def litter():
    while True:
        rings = [[] for _ in range(50)]
        for one, other in zip(rings, rings[1:] + rings[:1]):
            one.append(other)

gc.set_threshold(5, 2, 2)
sys.setswitchinterval(1e-5)
for _ in range(2):
    threading.Thread(target=litter, daemon=True).start()
state = np.array([100.0, 100.0, 256.0, 256.0, 1.0, 0.0, 0.0])
simulators = [Simulator() for _ in range(3)]
for turn in range(1500):
    simulators[turn % 3].place(state)
    simulators[turn % 3].step([0.1, 0.1])
    if turn % 10 == 0:
        simulators[turn % 3] = Simulator()
print("alive")
"""


def test_spaces_are_freed_safely_while_other_threads_collect_garbage():
    done = subprocess.run([sys.executable, "-c", STRESS], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "alive", done.stderr

"""What ``--device auto`` means, decided without importing torch."""

from __future__ import annotations

import os
from pathlib import Path

from jepawm_bench.agent import AgentCard
from jepawm_bench.provenance import installed_version
from jepawm_bench.suggest import unknown

DEVICES = ("auto", "cpu", "cuda")


def choose_device(asked: str, card: AgentCard | None = None) -> str:
    """``cpu`` or ``cuda``.

    Args:
        asked: ``auto``, ``cpu`` or ``cuda``. ``auto`` is ``cuda`` when the agent needs packages (a built-in one
            does not), a driver is loaded, a device is visible, and the installed torch is not a CPU build.
        card: of the agent.

    Raises:
        UsageError: for another word.
    """
    if asked not in DEVICES:
        raise unknown("device", asked, DEVICES)
    if asked != "auto":
        return asked
    torch = installed_version("torch")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all") not in ("", "-1")
    driver = Path("/proc/driver/nvidia/version").exists()
    wanted = card is None or card.requires is not None
    return "cuda" if wanted and driver and visible and torch and not torch.endswith("+cpu") else "cpu"

"""What rounds: equal recipes give equal weights only where these are equal, too."""

from __future__ import annotations

from typing import Any

import torch


def made_with(device: torch.device) -> dict[str, Any]:
    """For the notes of a file of weights: version of torch, kind of device, threads of this process."""
    return {"torch": str(torch.__version__), "device": device.type, "threads": torch.get_num_threads()}

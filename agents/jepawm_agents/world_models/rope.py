"""The rotary position embedding of V-JEPA 2 and of the JEPA-WM predictors.

It is not a rotation: the two channels of a pair are turned by different frequencies, so norms change and
scores are not purely relative. Published checkpoints need exactly this formula (jepa-wms
``src/models/utils/modules.py:52-76``), which transformers' VJEPA2 keeps too.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10000.0


def axis_width(head_dim: int) -> int:
    """Channels of a head that each of the three axes (time, row, column) takes."""
    return 2 * ((head_dim // 3) // 2)


def rope_table(frames: int, height: int, width: int, head_dim: int, *, device=None) -> tuple[Tensor, Tensor]:
    """Factors that apply the embedding to queries or keys: ``x * same + swap(x) * cross``.

    For position p on one axis of width w and channel c, ``theta_c = p * BASE ** (-(c mod w/2) / (w/2))``;
    even channels become ``x_c cos theta_c - x_(c+1) sin theta_c``, odd ones
    ``x_c cos theta_c + x_(c-1) sin theta_c``. Channels beyond the three axes are untouched.

    Args:
        frames: number of frames; their positions are 0..frames-1.
        height: rows of the token grid.
        width: columns of the token grid.
        head_dim: channels of one attention head.
        device: where the table lies.

    Returns:
        ``same`` and ``cross``, each (frames * height * width, head_dim), float32.
    """
    w = axis_width(head_dim)
    axes = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float32, device=device) for n in (frames, height, width)), indexing="ij"
    )
    frequency = BASE ** (-torch.arange(w // 2, dtype=torch.float32, device=device) / max(w // 2, 1))
    angles = [axis.reshape(-1, 1) * frequency.repeat(2) for axis in axes]
    theta = torch.cat(angles, dim=-1)
    sign = torch.tensor([-1.0, 1.0], device=device).repeat(theta.shape[-1] // 2)
    rest = head_dim - theta.shape[-1]
    same = torch.nn.functional.pad(theta.cos(), (0, rest), value=1.0)
    cross = torch.nn.functional.pad(theta.sin() * sign, (0, rest), value=0.0)
    return same, cross


def apply_rope(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Apply a table to queries or keys, (..., tokens, head_dim)."""
    same, cross = table
    return x * same + swap_pairs(x) * cross


def swap_pairs(x: Tensor) -> Tensor:
    """Exchange neighbouring channels 2i and 2i+1; an odd last channel stays."""
    even = x.shape[-1] // 2 * 2
    swapped = x[..., :even].unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return swapped if even == x.shape[-1] else torch.cat([swapped, x[..., even:]], dim=-1)

"""The rotary position embedding of V-JEPA 2 and of the JEPA-WM predictors.

It is not a rotation: the two channels of a pair are turned by different frequencies, so norms change and
scores are not purely relative. Published checkpoints need exactly this formula (jepa-wms
``src/models/utils/modules.py:52-76``), which transformers' VJEPA2 keeps too.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

BASE = 10000.0
Table = tuple[Tensor, Tensor]


def axis_width(head_dim: int) -> int:
    """Channels of a head that each of the three axes (time, row, column) takes."""
    return 2 * ((head_dim // 3) // 2)


def rope_table(frames: int, height: int, width: int, head_dim: int, *, conditions: int = 0, device=None) -> Table:
    """Factors that apply the embedding to queries or keys: ``x * same + swap(x) * cross``.

    For position p on one axis of width w and channel c, ``theta_c = p * BASE ** (-(c mod w/2) / (w/2))``;
    even channels become ``x_c cos theta_c - x_(c+1) sin theta_c``, odd ones
    ``x_c cos theta_c + x_(c-1) sin theta_c``. Channels beyond the three axes are untouched.

    Args:
        frames: number of frames; their positions are 0..frames-1.
        height: rows of the token grid.
        width: columns of the token grid.
        head_dim: channels of one attention head.
        conditions: tokens before the grid of every frame; only the frame turns them, in the time slice
            (modules.py:205-227).
        device: where the table lies.

    Returns:
        ``same`` and ``cross``, each (frames * (conditions + height * width), head_dim), float32.
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
    if not conditions:
        return same, cross
    grids = same.unflatten(0, (frames, -1)), cross.unflatten(0, (frames, -1))
    # The grid's first token lies at row 0 and column 0: its factors are those of the frame alone.
    first, second = (torch.cat([grid[:, :1].expand(-1, conditions, -1), grid], dim=1).flatten(0, 1) for grid in grids)
    return first, second


@lru_cache(maxsize=64)
def cached_rope_table(
    frames: int, grid_size: int, head_dim: int, conditions: int, dtype: torch.dtype, device: torch.device
) -> Table:
    """:func:`rope_table` of a square grid, kept; also usable for training when first asked for in inference mode."""
    with torch.inference_mode(False):
        same, cross = rope_table(frames, grid_size, grid_size, head_dim, conditions=conditions, device=device)
        return same.to(dtype), cross.to(dtype)


def apply_rope(x: Tensor, table: Table) -> Tensor:
    """Apply a table to queries or keys, (..., tokens, head_dim)."""
    same, cross = table
    return x * same + swap_pairs(x) * cross


def swap_pairs(x: Tensor) -> Tensor:
    """Exchange neighbouring channels 2i and 2i+1; an odd last channel stays."""
    even = x.shape[-1] // 2 * 2
    swapped = x[..., :even].unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return swapped if even == x.shape[-1] else torch.cat([swapped, x[..., even:]], dim=-1)

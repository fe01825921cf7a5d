"""Fixed positions of a square grid, as the decoders have them."""

from __future__ import annotations

import torch
from torch import Tensor


def grid_positions(side: int, dim: int) -> Tensor:
    """Sines and cosines of row (first half of the channels) and column, (1, side * side, dim), row by row.

    Frequency j of an axis is ``10000 ** (-j / (dim / 4))``; sines come before cosines (arXiv 2404.08471, its code's
    ``pos_embs.py``).
    """
    frequency = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angle = torch.arange(side, dtype=torch.float64)[:, None] * frequency
    axis = torch.cat([angle.sin(), angle.cos()], dim=-1)
    rows, columns = axis[:, None].expand(-1, side, -1), axis[None].expand(side, -1, -1)
    return torch.cat([rows, columns], dim=-1).reshape(1, side * side, dim).float()

"""Pictures that people can look at, whatever channels an environment shows."""

from __future__ import annotations

import torch
from torch import Tensor


def as_rgb(pixels: Tensor) -> Tensor:
    """uint8 pictures (..., H, W, C) in colour, (..., H, W, 3).

    Two channels are those of Two Rooms, dot and walls: they become a red dot and black walls on white ground, from
    which :func:`.encoders.impala.dot_and_wall` finds the dot where there is no wall, and the walls.

    Raises:
        ValueError: for another number of channels.
    """
    if pixels.shape[-1] == 3:
        return pixels
    if pixels.shape[-1] != 2:
        raise ValueError(f"Pictures have 2 channels (dot, walls) or 3 (RGB), but these have {pixels.shape[-1]}.")
    dot, walls = pixels[..., 0].int(), pixels[..., 1].int()
    red, others = 255 - walls, (255 - walls - dot).clamp_min(0)
    return torch.stack([red, others, others], dim=-1).to(torch.uint8)

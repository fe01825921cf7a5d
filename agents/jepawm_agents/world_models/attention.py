"""Frame-causal attention shared by the predictors."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=64)
def frame_causal_mask(frames: int, tokens_per_frame: int, device: torch.device) -> Tensor:
    """True where a token may look: its own frame and every earlier one.

    Built for the length in use; the reference builds it for 512 frames and keeps 17 GB of it
    (``ac_predictor.py:143-154``).

    Returns:
        (frames * tokens_per_frame,) squared, bool.
    """
    with torch.inference_mode(False):  # kept, and perhaps used in training later
        frame = torch.arange(frames, device=device).repeat_interleave(tokens_per_frame)
        return frame[:, None] >= frame[None, :]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, tokens, heads * d) to (B, heads, tokens, d)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, heads, tokens, d) to (B, tokens, heads * d)."""
    return x.transpose(1, 2).flatten(2)

"""The per-step linear embedding of actions and proprioception."""

from __future__ import annotations

from torch import Tensor, nn


class StepEmbedding(nn.Module):
    """A Linear applied to every time step, stored as the reference's kernel-one Conv1d (PE:11-53)."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.patch_embed = nn.Conv1d(inputs, width, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Embed (B, T, inputs) as (B, T, width)."""
        return nn.functional.linear(x, self.patch_embed.weight[..., 0], self.patch_embed.bias)

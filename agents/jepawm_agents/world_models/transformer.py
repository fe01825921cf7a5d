"""Pre-norm transformer parts shared by the predictors and encoders, under the reference's names.

Facts: jepa-wms ``src/models/utils/modules.py`` (commit 6eafb14).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.world_models.attention import merge_heads, split_heads
from jepawm_agents.world_models.rope import Table, apply_rope


class Attention(nn.Module):
    """Multi-head attention, with the three-axis RoPE on queries and keys where a table is given."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, table: Table | None, mask: Tensor | None, *, queries: int) -> Tensor:
        """Attend from the last ``queries`` of the tokens (B, tokens, dim) to all of them, (B, queries, dim)."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        q = q[:, :, -queries:]
        if table is not None:
            q, k = apply_rope(q, (table[0][-queries:], table[1][-queries:])), apply_rope(k, table)
        mask = None if mask is None else mask[-queries:]
        return self.proj(merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)))


class MLP(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to (..., dim)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and MLP, each after a LayerNorm and added to its input."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, *, eps: float = 1e-6):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = MLP(dim, int(dim * mlp_ratio))

    def forward(
        self, x: Tensor, table: Table | None = None, mask: Tensor | None = None, *, queries: int | None = None
    ) -> Tensor:
        """One block over (B, tokens, dim); with ``queries``, only that many last tokens come out."""
        queries = x.shape[1] if queries is None else queries
        x = x[:, -queries:] + self.attn(self.norm1(x), table, mask, queries=queries)
        return x + self.mlp(self.norm2(x))


class HasResiduals(Protocol):
    """A block with two projections that write into the residual stream."""

    attn: Attention
    mlp: MLP


def initialise_linears(module: nn.Module) -> None:
    """Truncated normal weights of deviation 0.02 and no bias in every Linear (ADA:283-290, ACP:174-182)."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)


def scale_residuals(blocks: Sequence[HasResiduals]) -> None:
    """Divide what layer l, counted from 1, writes into the residual stream by sqrt(2 l) (ADA:292-298)."""
    for layer, block in enumerate(blocks, start=1):
        for projection in (block.attn.proj, block.mlp.fc2):
            projection.weight.data.div_(math.sqrt(2.0 * layer))

"""One transformer layer, prepared for imagining: the tokens of one frame, and a memory of the frames before it.

Attention is frame-causal, so a frame never needs those after it: with their keys and values kept, frames can be worked
on one after the other, without masks and without scores that a mask would throw away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.world_models.rope import Table, axis_width

Memory = tuple[Tensor, Tensor]
"""Keys and values of the earlier frames of a window, each (B, frames * S, heads, head channels)."""


@dataclass(frozen=True)
class LayerParts:
    """The parts of a pre-norm layer, whatever its family calls them."""

    norm1: nn.LayerNorm
    qkv: nn.Linear
    proj: nn.Linear
    norm2: nn.LayerNorm
    fc1: nn.Linear
    fc2: nn.Linear


class HeadLayout:
    """Where the channels of a head go in a prepared layer.

    The two channels of a RoPE pair, neighbours in the weights, move half a slice apart, so that they are exchanged by
    copying two runs instead of single numbers; queries and keys are reordered alike, which leaves their products as
    they are. Heads are filled up with channels that are zero, where kernels want sizes of a multiple: these add zero
    to every score, and scores are scaled by the true size.

    Args:
        size: channels of a head.
        multiple: what the channels are filled up to.
        rotated: whether RoPE turns them.
    """

    def __init__(self, size: int, multiple: int, *, rotated: bool):
        self.size, self.rotated = size, rotated
        self.padded = -(-size // multiple) * multiple
        self.pairs = 3 * axis_width(size) // 2 if rotated else 0
        turned = 2 * self.pairs
        self.order = [*range(0, turned, 2), *range(1, turned, 2), *range(turned, size)]
        """Channel of the weights at every place."""

    def reorder(self, x: Tensor, dim: int, *, fill: float = 0.0, ordered: bool = True) -> Tensor:
        """Channels of a head along ``dim`` in the order of this layout, filled up."""
        x = x.movedim(dim, -1)
        x = x[..., self.order] if ordered else x
        return F.pad(x, (0, self.padded - self.size), value=fill).movedim(-1, dim)

    def table(self, table: Table) -> Table:
        """A RoPE table (S, size) for these channels, (S, 1, 1, padded)."""
        same, cross = self.reorder(table[0], -1, fill=1.0), self.reorder(table[1], -1)
        return same[:, None, None], cross[:, None, None]

    def rotate(self, x: Tensor, table: Table) -> Tensor:
        """RoPE on (B, S, ..., heads, padded); see :func:`jepawm_agents.world_models.rope.apply_rope`."""
        first, second, rest = x[..., : self.pairs], x[..., self.pairs : 2 * self.pairs], x[..., 2 * self.pairs :]
        return torch.addcmul(x * table[0], torch.cat([second, first, rest], dim=-1), table[1])


class FrameLayer(nn.Module):
    """Attention and MLP over the tokens of one frame (B, S, dim).

    Args:
        parts: the layer it is prepared from; its weights are copied where they are rearranged.
        heads: attention heads.
        layout: of the channels of a head.
        modulated: whether LayerNorms are shifted and scaled by frame, their own factors included (AdaLN).
    """

    def __init__(self, parts: LayerParts, heads: int, layout: HeadLayout, *, modulated: bool):
        super().__init__()
        self.heads, self.layout, self.scale = heads, layout, layout.size**-0.5
        self.eps1, self.eps2 = parts.norm1.eps, parts.norm2.eps
        weight = _heads_first(parts.qkv.weight, heads, layout).flatten(0, 2)
        bias = None if parts.qkv.bias is None else _heads_first(parts.qkv.bias[:, None], heads, layout).flatten()
        proj = layout.reorder(parts.proj.weight.unflatten(1, (heads, -1)), -1, ordered=False).flatten(1)
        tensors = {
            "qkv_weight": weight,
            "qkv_bias": bias,
            "proj_weight": proj,
            "proj_bias": parts.proj.bias,
            "fc1_weight": parts.fc1.weight,
            "fc1_bias": parts.fc1.bias,
            "fc2_weight": parts.fc2.weight,
            "fc2_bias": parts.fc2.bias,
        }
        for place, norm in (("norm1", parts.norm1), ("norm2", parts.norm2)):
            tensors |= (
                {f"{place}_weight": None, f"{place}_bias": None}
                if modulated
                else {
                    f"{place}_weight": norm.weight,
                    f"{place}_bias": norm.bias,
                }
            )
        for name, tensor in tensors.items():
            self.register_buffer(name, None if tensor is None else tensor.detach().contiguous(), persistent=False)

    qkv_weight: Tensor
    qkv_bias: Tensor | None
    proj_weight: Tensor
    proj_bias: Tensor
    norm1_weight: Tensor | None
    norm1_bias: Tensor | None
    norm2_weight: Tensor | None
    norm2_bias: Tensor | None
    fc1_weight: Tensor
    fc1_bias: Tensor
    fc2_weight: Tensor
    fc2_bias: Tensor

    def forward(
        self, x: Tensor, modulation: Tensor | None, table: Table | None, memory: Memory | None
    ) -> tuple[Tensor, Memory]:
        """Work on a frame.

        Args:
            x: (B, S, dim).
            modulation: (B, 6, dim): gain, shift and gate of the attention, then of the MLP; None if not modulated.
            table: RoPE factors of the frame's place in the window, from :meth:`HeadLayout.table`.
            memory: of the frames before it, or None for the first.

        Returns:
            The frame's tokens, and the memory with this frame.
        """
        gain_a, shift_a, gate_a, gain_m, shift_m, gate_m = (None,) * 6 if modulation is None else modulation.unbind(1)
        normed = _norm(x, self.norm1_weight, self.norm1_bias, self.eps1, gain_a, shift_a)
        qkv = F.linear(normed, self.qkv_weight, self.qkv_bias).unflatten(-1, (3, self.heads, -1))
        query_key, value = qkv[:, :, :2], qkv[:, :, 2]
        if table is not None:
            query_key = self.layout.rotate(query_key, table)
        memory = _append(memory, query_key[:, :, 1], value)
        query, key, value = (part.transpose(1, 2) for part in (query_key[:, :, 0], *memory))
        seen = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        attended = F.linear(seen.transpose(1, 2).flatten(2), self.proj_weight, self.proj_bias)
        x = _add(x, attended, gate_a)
        normed = _norm(x, self.norm2_weight, self.norm2_bias, self.eps2, gain_m, shift_m)
        hidden = F.gelu(F.linear(normed, self.fc1_weight, self.fc1_bias))
        return _add(x, F.linear(hidden, self.fc2_weight, self.fc2_bias), gate_m), memory

    def remember(self, x: Tensor, modulation: Tensor | None, table: Table | None, memory: Memory | None) -> Memory:
        """The memory of :meth:`forward` alone: all that later frames want of a frame in the last layer."""
        gain, shift = (None, None) if modulation is None else (modulation[:, 0], modulation[:, 1])
        normed = _norm(x, self.norm1_weight, self.norm1_bias, self.eps1, gain, shift)
        inner = self.qkv_weight.shape[0] // 3
        bias = None if self.qkv_bias is None else self.qkv_bias[inner:]
        key, value = F.linear(normed, self.qkv_weight[inner:], bias).unflatten(-1, (2, self.heads, -1)).unbind(2)
        if table is not None:
            key = self.layout.rotate(key[:, :, None], table)[:, :, 0]
        return _append(memory, key, value)


def fold_norm(modulation: Tensor, norms: tuple[nn.LayerNorm, nn.LayerNorm]) -> Tensor:
    """Shift, scale and gate of attention and MLP as :meth:`FrameLayer.forward` takes them.

    A LayerNorm's own factors w and b and a modulation by (1 + scale) and shift are one factor and one summand:
    (n w + b)(1 + scale) + shift = n w(1 + scale) + (b(1 + scale) + shift).

    Args:
        modulation: (..., 6 * dim), as :class:`.adaln.AdaLNBlock` has it.
        norms: the layer's two.

    Returns:
        (..., 6, dim).
    """
    folded: list[Tensor] = []
    for (shift, scale, gate), norm in zip(
        (modulation.chunk(6, dim=-1)[:3], modulation.chunk(6, dim=-1)[3:]), norms, strict=True
    ):
        folded += [norm.weight * (1 + scale), norm.bias * (1 + scale) + shift, gate]
    return torch.stack(folded, dim=-2)


def _heads_first(weight: Tensor, heads: int, layout: HeadLayout) -> Tensor:
    """Rows of a (3 * heads * size, n) projection to queries, keys and values in the layout, (3, heads, padded, n)."""
    query, key, value = weight.unflatten(0, (3, heads, -1)).unbind(0)
    return torch.stack([layout.reorder(query, 1), layout.reorder(key, 1), layout.reorder(value, 1, ordered=False)])


def _norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, gain: Tensor | None, shift: Tensor | None
) -> Tensor:
    normed = F.layer_norm(x, x.shape[-1:], weight, bias, eps)
    return normed if gain is None or shift is None else torch.addcmul(shift[:, None], normed, gain[:, None])


def _add(x: Tensor, update: Tensor, gate: Tensor | None) -> Tensor:
    return x + update if gate is None else torch.addcmul(x, update, gate[:, None])


def _append(memory: Memory | None, key: Tensor, value: Tensor) -> Memory:
    if memory is None:
        return key, value
    return torch.cat([memory[0], key], dim=1), torch.cat([memory[1], value], dim=1)

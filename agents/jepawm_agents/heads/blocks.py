"""What the two decoders have in common: an embedding, a transformer within one frame, and their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from jepawm_agents.errors import WeightsError
from jepawm_agents.world_models.reference import load_strictly, shape_of
from jepawm_agents.world_models.transformer import Block, initialise_linears, scale_residuals

HEADS = 16
"""Attention heads of every published decoder; no file tells."""


def decoder_blocks(dim: int, depth: int, heads: int) -> nn.ModuleList:
    """Blocks in which all tokens of a frame see each other (jepa-wms ``decoder.py``, LayerNorm at 1e-5)."""
    return nn.ModuleList(Block(dim, heads, 4.0, eps=1e-5) for _ in range(depth))


def run_blocks(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    """Tokens (B, tokens, dim) through the blocks, one after the other."""
    for block in blocks:
        x = block(x)
    return x


def initialise(module: nn.Module, blocks: nn.ModuleList) -> None:
    """Fresh weights as for the predictors."""
    initialise_linears(module)
    scale_residuals(cast("list[Block]", list(blocks)))


def bare(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without the prefix of distributed training."""
    return {key.removeprefix("module."): value for key, value in state_dict.items()}


def sizes_of(tensors: Mapping[str, Tensor], heads: int) -> tuple[int, int, int]:
    """Channels of a latent, width and depth of a decoder.

    Raises:
        WeightsError: if these are not the weights of one, or the heads do not divide the width.
    """
    width, latent_dim = shape_of(tensors, "decoder_embed.weight", 2)
    if heads < 1 or width % heads:
        raise WeightsError(f"num_heads={heads} does not divide the {width} channels of these weights; name another.")
    found = [int(match.group(1)) for key in tensors if (match := re.match(r"decoder_blocks\.(\d+)\.", key))]
    return latent_dim, width, max(found, default=-1) + 1


def load_frozen(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load a decoder's weights; where the file leaves out the fixed positions, the computed ones stay.

    Raises:
        WeightsError: naming every key that does not fit.
    """
    load_strictly(module, {"decoder_pos_embed": module.state_dict()["decoder_pos_embed"], **tensors})
    module.eval().requires_grad_(False)

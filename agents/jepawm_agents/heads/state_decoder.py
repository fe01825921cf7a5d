"""The environment's state from latents: a probe of what they know.

Facts: jepa-wms ``app/plan_common/models/state_decoder.py`` (commit 6eafb14). Module names are the reference's. No
weights are published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from jepawm_agents.errors import WeightsError
from jepawm_agents.heads.blocks import HEADS, bare, decoder_blocks, initialise, load_frozen, run_blocks, sizes_of
from jepawm_agents.heads.positions import grid_positions
from jepawm_agents.world_models.reference import shape_of


class StateDecoder(nn.Module):
    """Reads the state, in its own units, off one token that has looked at all of a frame.

    Args:
        latent_dim: channels D of a token.
        state_dim: numbers of a state.
        grid_size: rows and columns of the token grid (P = grid_size squared).
        width: channels inside.
        depth: number of blocks.
        heads: attention heads; they divide ``width``.
    """

    decoder_pos_embed: Tensor

    def __init__(
        self,
        *,
        latent_dim: int,
        state_dim: int,
        grid_size: int = 16,
        width: int = 384,
        depth: int = 6,
        heads: int = HEADS,
    ):
        super().__init__()
        self.latent_dim, self.grid_size = latent_dim, grid_size
        self.decoder_embed = nn.Linear(latent_dim, width)
        self.register_buffer("decoder_pos_embed", grid_positions(grid_size, width))
        self.state_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_blocks = decoder_blocks(width, depth, heads)
        self.state_proj = nn.Linear(width, state_dim)
        initialise(self, self.decoder_blocks)

    @classmethod
    def from_reference(cls, state_dict: Mapping[str, Tensor], *, grid_size: int = 16, num_heads: int = HEADS) -> Self:
        """Build the decoder whose weights these are, frozen and in evaluation mode.

        Args:
            state_dict: tensors in the reference's key names.
            grid_size: rows and columns of the token grid, needed where the file leaves out the positions.
            num_heads: attention heads; not stored in the file.

        Raises:
            WeightsError: if keys are missing or left over, or are of other sizes.
        """
        tensors = bare(state_dict)
        latent_dim, width, depth = sizes_of(tensors, num_heads)
        if "state_proj.weight" not in tensors:
            raise WeightsError("These are not the weights of a state decoder: 'state_proj.weight' is missing.")
        decoder = cls(
            latent_dim=latent_dim,
            state_dim=shape_of(tensors, "state_proj.weight", 2)[0],
            grid_size=grid_size,
            width=width,
            depth=depth,
            heads=num_heads,
        )
        load_frozen(decoder, tensors)
        return decoder

    def forward(self, tokens: Tensor) -> Tensor:
        """Decode tokens (..., P, D) to states (..., S).

        Raises:
            ValueError: for tokens of another size.
        """
        if tuple(tokens.shape[-2:]) != (self.grid_size**2, self.latent_dim):
            raise ValueError(
                f"Tokens to decode are (..., {self.grid_size**2}, {self.latent_dim}), but these have shape "
                f"{tuple(tokens.shape)}."
            )
        frames = tokens.flatten(0, -3) if tokens.ndim > 2 else tokens[None]
        x = self.decoder_embed(frames) + self.decoder_pos_embed
        x = torch.cat([self.state_token.expand(len(x), -1, -1), x], dim=1)
        return self.state_proj(run_blocks(self.decoder_blocks, x)[:, 0]).reshape(*tokens.shape[:-2], -1)

"""Feature conditioning with RoPE: action and proprioception are channels of every token.

Facts: jepa-wms ``src/models/ac_predictor.py:104-109, 156-172, 228-236`` (commit 6eafb14), the study's feature
conditioning without learned positions. Module names are the reference's.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from jepawm_agents.world_models.attention import frame_causal_mask
from jepawm_agents.world_models.base import Prediction, Predictor
from jepawm_agents.world_models.embedding import StepEmbedding
from jepawm_agents.world_models.rope import cached_rope_table
from jepawm_agents.world_models.transformer import Block, initialise_linears, scale_residuals


class FeatureRopePredictor(Predictor):
    """Predicts the next latent grid from tokens that carry [visual, proprio, action] side by side.

    Args:
        grid_size: rows and columns of the token grid (P = grid_size squared).
        latent_dim: channels D of a visual token.
        action_dim: A, the primitive actions of one model step side by side.
        proprio_dim: Q, or 0 for a model without proprioception.
        width: channels of the projected visual token.
        action_width: channels of the action embedding.
        proprio_width: channels E of the proprio embedding.
        depth: number of blocks.
        heads: attention heads; they divide the sum of the three widths.
        mlp_ratio: hidden width of the MLP over the token width.
        normalize_latents: layer-norm predictions, for a model trained on layer-normed latents.
    """

    def __init__(
        self,
        *,
        grid_size: int,
        latent_dim: int,
        action_dim: int,
        proprio_dim: int = 0,
        width: int,
        action_width: int,
        proprio_width: int = 0,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        normalize_latents: bool = False,
    ):
        super().__init__()
        self.grid_size, self.latent_dim, self.heads = grid_size, latent_dim, heads
        self.width, self.proprio_width, self.normalize_latents = width, proprio_width, normalize_latents
        dim = width + proprio_width + action_width
        self.predictor_embed = nn.Linear(latent_dim, width)
        self.action_encoder = StepEmbedding(action_dim, action_width)
        self.proprio_encoder = StepEmbedding(proprio_dim, proprio_width) if proprio_width else None
        self.predictor_blocks = nn.ModuleList(Block(dim, heads, mlp_ratio) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(dim, eps=1e-6)
        self.predictor_proj = nn.Linear(width, latent_dim)
        initialise_linears(self)
        scale_residuals(cast("list[Block]", list(self.predictor_blocks)))

    def condition(self, action: Tensor) -> Tensor:
        """Embedded actions, (B, T, action_width)."""
        return self.action_encoder(action)

    def advance(
        self, visual: Tensor, condition: Tensor, proprio: Tensor | None, *, last_only: bool = False
    ) -> Prediction:
        """Predict the next frame at every position; shapes in :meth:`Predictor.advance`."""
        frames, patches = visual.shape[1:3]
        acted = condition[:, :, None].expand(-1, -1, patches, -1)
        parts = (self.predictor_embed(visual), proprio, acted)
        x = torch.cat([part for part in parts if part is not None], dim=-1).flatten(1, 2)
        table = cached_rope_table(frames, self.grid_size, x.shape[-1] // self.heads, 0, x.dtype, x.device)
        mask = None if frames == 1 else frame_causal_mask(frames, patches, x.device)
        for index, block in enumerate(self.predictor_blocks):
            last = index == len(self.predictor_blocks) - 1
            x = block(x, table, mask, queries=patches if last_only and last else None)
        x = self.predictor_norm(x).unflatten(1, (-1, patches))
        seen = self.normalise(self.predictor_proj(x[..., : self.width]))
        if self.proprio_encoder is None:
            return Prediction(seen, None)
        return Prediction(seen, x[..., self.width : self.width + self.proprio_width])

"""The DINO-WM predictor: feature conditioning and learned positions.

Facts: arXiv 2411.04983 and jepa-wms ``app/plan_common/models/vit.py`` (commit 6eafb14). The action embedding
and the proprio embedding are repeated on the grid and concatenated to every visual token; the transformer has
no projections at its ends. Module names are the reference's.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.world_models.attention import frame_causal_mask, merge_heads, split_heads
from jepawm_agents.world_models.base import Prediction, Predictor
from jepawm_agents.world_models.embedding import StepEmbedding


class DinoWMPredictor(Predictor):
    """Predicts next frames on tokens that carry [visual, proprio, action] side by side.

    Args:
        grid_size: rows and columns of the token grid (P = grid_size squared).
        latent_dim: channels D of a visual token.
        action_dim: A, the primitive actions of one model step side by side.
        proprio_dim: Q, or 0 for a model without proprioception.
        action_width: channels of the action embedding.
        proprio_width: channels E of the proprio embedding.
        depth: number of layers.
        heads: attention heads.
        head_dim: channels of one head.
        mlp_dim: hidden width of the feed-forward part.
        frames: longest window; the number of learned frame positions.
        dropout: of attention and of the feed-forward part, in training.
        normalize_latents: layer-norm predictions, for a model trained on layer-normed latents.
    """

    def __init__(
        self,
        *,
        grid_size: int,
        latent_dim: int,
        action_dim: int,
        proprio_dim: int = 0,
        action_width: int = 10,
        proprio_width: int = 0,
        depth: int,
        heads: int,
        head_dim: int = 64,
        mlp_dim: int = 2048,
        frames: int = 4,
        dropout: float = 0.0,
        normalize_latents: bool = False,
    ):
        super().__init__()
        self.normalize_latents = normalize_latents
        self.grid_size, self.latent_dim, self.frames = grid_size, latent_dim, frames
        self.proprio_width = proprio_width
        dim = latent_dim + proprio_width + action_width
        self.action_encoder = StepEmbedding(action_dim, action_width)
        self.proprio_encoder = StepEmbedding(proprio_dim, proprio_width) if proprio_width else None
        self.pos_embedding = nn.Parameter(torch.randn(1, frames * grid_size**2, dim))
        self.transformer = _Transformer(dim, depth, heads, head_dim, mlp_dim, dropout)

    def condition(self, action: Tensor) -> Tensor:
        """Embedded actions, (B, T, action_width)."""
        return self.action_encoder(action)

    def advance(
        self, visual: Tensor, condition: Tensor, proprio: Tensor | None, *, last_only: bool = False
    ) -> Prediction:
        """Predict the next frame at every position; shapes in :meth:`Predictor.advance`.

        Raises:
            ValueError: for a window longer than the learned positions.
        """
        frames, patches = visual.shape[1:3]
        if frames > self.frames:
            raise ValueError(f"This DINO-WM predictor has {self.frames} frame positions, but the window has {frames}.")
        acted = condition[:, :, None].expand(-1, -1, patches, -1)
        x = torch.cat([part for part in (visual, proprio, acted) if part is not None], dim=-1).flatten(1, 2)
        x = x + self.pos_embedding[:, : x.shape[1]]
        mask = None if frames == 1 else frame_causal_mask(frames, patches, x.device)
        x = self.transformer(x, mask, patches if last_only else x.shape[1]).unflatten(1, (-1, patches))
        seen = self.normalise(x[..., : self.latent_dim])
        if self.proprio_encoder is None:
            return Prediction(seen, None)
        return Prediction(seen, x[..., self.latent_dim : self.latent_dim + self.proprio_width])


class _Transformer(nn.Module):
    def __init__(self, dim: int, depth: int, heads: int, head_dim: int, mlp_dim: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(
            nn.ModuleList([_Attention(dim, heads, head_dim, dropout), _FeedForward(dim, mlp_dim, dropout)])
            for _ in range(depth)
        )

    def forward(self, x: Tensor, mask: Tensor | None, wanted: int) -> Tensor:
        """Run all layers; the last one only for the last ``wanted`` tokens."""
        for index, layer in enumerate(self.layers):
            attention, feed_forward = cast("nn.ModuleList", layer)
            queries = wanted if index == len(self.layers) - 1 else x.shape[1]
            x = attention(x, mask, queries) + x[:, -queries:]
            x = feed_forward(x) + x
        return self.norm(x)


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        inner = heads * head_dim
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, dim), nn.Dropout(dropout))

    def forward(self, x: Tensor, mask: Tensor | None, queries: int) -> Tensor:
        q, k, v = (split_heads(part, self.heads) for part in self.to_qkv(self.norm(x)).chunk(3, dim=-1))
        q, mask = q[:, :, -queries:], None if mask is None else mask[-queries:]
        dropout = self.dropout if self.training else 0.0
        return self.to_out(merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)))


class _FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int, dropout: float):
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

"""The V-JEPA-2-AC predictor: the action, and the pose if there is one, are tokens before the grid of every frame.

Facts: arXiv 2506.09985 and jepa-wms ``src/models/ac_predictor.py`` (commit 6eafb14), the "sequence conditioning"
of the study. Module names are the reference's.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from jepawm_agents.world_models.attention import frame_causal_mask
from jepawm_agents.world_models.base import Prediction, Predictor
from jepawm_agents.world_models.rope import cached_rope_table
from jepawm_agents.world_models.transformer import Block, initialise_linears, scale_residuals


class ActionTokenPredictor(Predictor):
    """Predicts the next latent grid from frames of [action, proprioception, grid] tokens.

    Proprioception goes in as it is and is not predicted; along imagined futures the pose is integrated over the
    actions.

    Args:
        grid_size: rows and columns of the token grid (P = grid_size squared).
        latent_dim: channels D of a visual token.
        action_dim: A, the primitive actions of one model step side by side.
        proprio_dim: Q; used with ``proprio_token`` only.
        proprio_token: whether proprioception is a token.
        width: channels of a token inside.
        depth: number of blocks.
        heads: attention heads; they divide ``width``.
        mlp_ratio: hidden width of the MLP over the token width.
        normalize_latents: layer-norm predictions, for a model trained on layer-normed latents.
    """

    proprio_mode = "compute_new_pose"

    def __init__(
        self,
        *,
        grid_size: int,
        latent_dim: int,
        action_dim: int,
        proprio_dim: int = 0,
        proprio_token: bool = False,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        normalize_latents: bool = False,
    ):
        super().__init__()
        self.grid_size, self.latent_dim, self.heads = grid_size, latent_dim, heads
        self.normalize_latents = normalize_latents
        self.predictor_embed = nn.Linear(latent_dim, width)
        self.action_encoder = nn.Linear(action_dim, width)
        self.proprio_encoder = nn.Linear(proprio_dim, width) if proprio_token else None
        self.predictor_blocks = nn.ModuleList(Block(width, heads, mlp_ratio) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(width, eps=1e-6)
        self.predictor_proj = nn.Linear(width, latent_dim)
        initialise_linears(self)
        scale_residuals(cast("list[Block]", list(self.predictor_blocks)))

    def embed_proprio(self, proprio: Tensor) -> Tensor:
        """Proprioception (B, T, Q) as :meth:`advance` takes it, (B, T, 1, Q).

        Raises:
            ValueError: if this model was built without proprioception.
        """
        self._own_proprio_encoder()
        return proprio[:, :, None]

    def condition(self, action: Tensor) -> Tensor:
        """Action tokens, (B, T, width)."""
        return self.action_encoder(action)

    def advance(
        self, visual: Tensor, condition: Tensor, proprio: Tensor | None, *, last_only: bool = False
    ) -> Prediction:
        """Predict the next frame at every position; shapes in :meth:`Predictor.advance`."""
        frames, patches = visual.shape[1:3]
        felt = [] if self.proprio_encoder is None else [self.proprio_encoder(proprio)]
        x = torch.cat([condition[:, :, None], *felt, self.predictor_embed(visual)], dim=2)
        size = x.shape[2]
        x = x.flatten(1, 2)
        table = cached_rope_table(frames, self.grid_size, x.shape[-1] // self.heads, size - patches, x.dtype, x.device)
        mask = None if frames == 1 else frame_causal_mask(frames, size, x.device)
        for index, block in enumerate(self.predictor_blocks):
            last = index == len(self.predictor_blocks) - 1
            x = block(x, table, mask, queries=size if last_only and last else None)
        x = self.predictor_norm(x.unflatten(1, (-1, size))[:, :, -patches:])
        return Prediction(self.normalise(self.predictor_proj(x)), None)

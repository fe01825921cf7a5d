"""The JEPA-WM predictor: a frame-causal transformer whose blocks are modulated by the action (AdaLN) with RoPE.

Facts: jepa-wms ``app/plan_common/models/AdaLN_vit.py`` (commit 6eafb14); AdaLN is that of DiT
(arXiv 2212.09748). Module names are the reference's, so that its state dictionaries load strictly.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.world_models.attention import frame_causal_mask
from jepawm_agents.world_models.base import Prediction, Predictor
from jepawm_agents.world_models.embedding import StepEmbedding
from jepawm_agents.world_models.rope import Table, cached_rope_table
from jepawm_agents.world_models.transformer import MLP, Attention, initialise_linears, scale_residuals


class AdaLNPredictor(Predictor):
    """Predicts the next latent grid from a window of grids, actions and proprioception.

    Args:
        grid_size: rows and columns of the token grid (P = grid_size squared).
        latent_dim: channels D of a visual token.
        action_dim: A, the primitive actions of one model step side by side.
        proprio_dim: Q, or 0 for a model without proprioception.
        width: channels of the projected visual token.
        proprio_width: channels E of the proprio embedding, appended to every token.
        depth: number of blocks.
        heads: attention heads; they divide ``width + proprio_width``.
        mlp_ratio: hidden width of the MLP over the token width.
        modulation_std: deviation of the modulation's fresh weights; 0 makes every block start as the identity,
            the AdaLN-zero of the study.
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
        proprio_width: int = 0,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        modulation_std: float = 0.2,
        normalize_latents: bool = False,
    ):
        super().__init__()
        self.grid_size, self.latent_dim, self.heads, self.width = grid_size, latent_dim, heads, width
        self.normalize_latents = normalize_latents
        dim = width + proprio_width
        self.predictor_embed = nn.Linear(latent_dim, width)
        self.action_encoder = nn.Linear(action_dim, dim)
        self.proprio_encoder = StepEmbedding(proprio_dim, proprio_width) if proprio_width else None
        self.predictor_blocks = nn.ModuleList(AdaLNBlock(dim, heads, mlp_ratio) for _ in range(depth))
        self.predictor_norm = nn.LayerNorm(dim, eps=1e-6)
        self.predictor_proj = nn.Linear(width, latent_dim)
        self._initialise(modulation_std)

    def _initialise(self, modulation_std: float) -> None:
        """Truncated normal 0.02; ``modulation_std`` for the modulation; residual projections by depth (ADA:266-298)."""
        initialise_linears(self)
        for block in self._blocks():
            if modulation_std:
                nn.init.trunc_normal_(block.modulation.weight, std=modulation_std)
            else:
                nn.init.zeros_(block.modulation.weight)
        scale_residuals(self._blocks())

    def condition(self, action: Tensor) -> Tensor:
        """Shifts, scales and gates of every block, (B, T, depth, 6 * dim)."""
        z = F.silu(self.action_encoder(action))
        return torch.stack([block.modulation(z) for block in self._blocks()], dim=2)

    def advance(
        self, visual: Tensor, condition: Tensor, proprio: Tensor | None, *, last_only: bool = False
    ) -> Prediction:
        """Predict the next frame at every position; shapes in :meth:`Predictor.advance`."""
        frames, patches = visual.shape[1:3]
        x = self.predictor_embed(visual)
        if self.proprio_encoder is not None:
            x = torch.cat([part for part in (x, proprio) if part is not None], dim=-1)
        x = x.flatten(1, 2)
        table = cached_rope_table(frames, self.grid_size, x.shape[-1] // self.heads, 0, x.dtype, x.device)
        mask = None if frames == 1 else frame_causal_mask(frames, patches, x.device)
        for index, block in enumerate(self._blocks()):
            last = index == len(self.predictor_blocks) - 1
            x = block(x, condition[:, :, index], table, mask, patches, last_only=last_only and last)
        x = self.predictor_norm(x).unflatten(1, (-1, patches))
        felt = None if self.proprio_encoder is None else x[..., self.width :]
        return Prediction(self.normalise(self.predictor_proj(x[..., : self.width])), felt)

    def _blocks(self) -> list[AdaLNBlock]:
        return cast("list[AdaLNBlock]", list(self.predictor_blocks))


class AdaLNBlock(nn.Module):
    """Pre-norm attention and MLP, shifted, scaled and gated by the action of each frame."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, int(dim * mlp_ratio))
        # The SiLU before this Linear has no parameters and is the same in every block: the predictor applies
        # it once. Index 1 is the reference's name.
        self.adaLN_modulation = nn.ModuleDict({"1": nn.Linear(dim, 6 * dim)})

    @property
    def modulation(self) -> nn.Linear:
        """Actions after SiLU (B, T, dim) to shift, scale and gate of attention, then of the MLP, (B, T, 6 * dim)."""
        return cast("nn.Linear", self.adaLN_modulation["1"])

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        table: Table,
        mask: Tensor | None,
        patches: int,
        *,
        last_only: bool = False,
    ) -> Tensor:
        """One block; ``x`` (B, T * P, dim), ``modulation`` (B, T, 6 * dim)."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation[:, :, None].chunk(6, dim=-1)
        normed = _modulate(self.norm1(x), shift_a, scale_a, patches)
        if last_only:
            # Keys and values of every frame, all else for the last frame alone.
            x, gate_a = x[:, -patches:], gate_a[:, -1:]
            shift_m, scale_m, gate_m = shift_m[:, -1:], scale_m[:, -1:], gate_m[:, -1:]
        x = x + _per_frame(self.attn(normed, table, mask, queries=x.shape[1]), gate_a, patches)
        return x + _per_frame(self.mlp(_modulate(self.norm2(x), shift_m, scale_m, patches)), gate_m, patches)


def _modulate(x: Tensor, shift: Tensor, scale: Tensor, patches: int) -> Tensor:
    return (x.unflatten(1, (-1, patches)) * (1 + scale) + shift).flatten(1, 2)


def _per_frame(x: Tensor, factor: Tensor, patches: int) -> Tensor:
    return (x.unflatten(1, (-1, patches)) * factor).flatten(1, 2)

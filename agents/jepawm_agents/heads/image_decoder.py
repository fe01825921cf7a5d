"""Pictures from latents: a transformer from tokens to patches of pixels.

Facts: jepa-wms ``app/plan_common/models/decoder.py`` and ``wm_heads.py:30-143`` (commit 6eafb14). Module names are
the reference's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.heads.base import COLOURS, ImageHead
from jepawm_agents.heads.blocks import HEADS, bare, decoder_blocks, initialise, load_frozen, run_blocks, sizes_of
from jepawm_agents.heads.positions import grid_positions
from jepawm_agents.suggest import unknown
from jepawm_agents.world_models.encoders.base import NORMALISATIONS
from jepawm_agents.world_models.reference import shape_of


class ImageDecoder(ImageHead):
    """Decodes every frame on its own.

    Args:
        latent_dim: channels D of a token.
        image_size: side of the pictures, a multiple of ``patch_size``.
        patch_size: side of a decoded patch.
        width: channels inside.
        depth: number of blocks.
        heads: attention heads; they divide ``width``.
        normalisation: of the images that the encoder saw; pictures come out so normalised.

    Raises:
        ConfigError: for sizes that do not fit each other, or an unknown normalisation.
    """

    decoder_pos_embed: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        latent_dim: int,
        image_size: int,
        patch_size: int = 8,
        width: int = 1024,
        depth: int = 24,
        heads: int = HEADS,
        normalisation: str = "imagenet",
    ):
        super().__init__()
        if image_size < patch_size or image_size % patch_size:
            raise ConfigError(f"image_size={image_size} is no multiple of the {patch_size} pixels of a patch.")
        if normalisation not in NORMALISATIONS:
            raise ConfigError(unknown("normalisation", normalisation, NORMALISATIONS))
        self.image_size, self.patch_size, self.latent_dim = image_size, patch_size, latent_dim
        self.grid_size = image_size // patch_size
        self.decoder_embed = nn.Linear(latent_dim, width)
        self.register_buffer("decoder_pos_embed", grid_positions(self.grid_size, width))
        self.view_tokens = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_blocks = decoder_blocks(width, depth, heads)
        self.decoder_norm = nn.LayerNorm(width, eps=1e-5)
        self.decoder_proj = nn.Linear(width, patch_size**2 * COLOURS)
        for name, values in zip(("mean", "std"), NORMALISATIONS[normalisation], strict=True):
            self.register_buffer(name, torch.tensor(values), persistent=False)
        initialise(self, self.decoder_blocks)

    @classmethod
    def from_reference(
        cls,
        state_dict: Mapping[str, Tensor],
        *,
        image_size: int,
        normalisation: str,
        num_heads: int = HEADS,
    ) -> Self:
        """Build the decoder whose weights these are, frozen and in evaluation mode.

        Args:
            state_dict: tensors in the reference's key names.
            image_size: side of the pictures.
            normalisation: of the images that the encoder saw; not stored in the file.
            num_heads: attention heads; not stored in the file.

        Raises:
            WeightsError: if keys are missing or left over, or are of other sizes.
        """
        tensors = bare(state_dict)
        latent_dim, width, depth = sizes_of(tensors, num_heads)
        pixels = shape_of(tensors, "decoder_proj.weight", 2)[0] / COLOURS
        patch_size = round(pixels**0.5)
        if patch_size**2 != pixels:
            raise WeightsError(f"decoder_proj.weight has {round(pixels * COLOURS)} rows, which are no square patches.")
        decoder = cls(
            latent_dim=latent_dim,
            image_size=image_size,
            patch_size=patch_size,
            width=width,
            depth=depth,
            heads=num_heads,
            normalisation=normalisation,
        )
        load_frozen(decoder, tensors)
        return decoder

    def forward(self, tokens: Tensor) -> Tensor:
        """Decode tokens (B, P, D) to images (B, 3, image_size, image_size), normalised as the encoder's.

        Raises:
            ValueError: for tokens of another size or no square grid.
        """
        x = self.decoder_embed(self._resized(tokens)) + self.decoder_pos_embed + self.view_tokens
        patches = self.decoder_proj(self.decoder_norm(run_blocks(self.decoder_blocks, x)))
        side, patch = self.grid_size, self.patch_size
        # Numbers of a patch: rows, columns, colours.
        picture = patches.reshape(-1, side, side, patch, patch, COLOURS).permute(0, 5, 1, 3, 2, 4)
        return picture.reshape(-1, COLOURS, self.image_size, self.image_size)

    def pictures(self, tokens: Tensor) -> Tensor:
        """Decode tokens (B, P, D) to RGB (B, 3, image_size, image_size), the encoder's normalisation taken back."""
        return self(tokens) * self.std[:, None, None] + self.mean[:, None, None]

    def _resized(self, tokens: Tensor) -> Tensor:
        """Tokens (B, P, D) on the decoder's own grid, bilinear."""
        side = round(tokens.shape[-2] ** 0.5)
        if tokens.ndim != 3 or side**2 != tokens.shape[1] or tokens.shape[2] != self.latent_dim:
            raise ValueError(
                f"Tokens to decode are (batch, a square grid, {self.latent_dim}), but these have shape "
                f"{tuple(tokens.shape)}."
            )
        if side == self.grid_size:
            return tokens
        grid = tokens.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        size = (self.grid_size, self.grid_size)
        return F.interpolate(grid, size=size, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)

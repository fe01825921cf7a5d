"""The encoder whose latents a head reads, and what tells one encoder from another."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from jepawm_agents.world_models.encoders.base import Encoder
from jepawm_agents.world_models.jepa import JEPAWorldModel


@dataclass(frozen=True)
class FrozenEncoder:
    """Pictures to the latents that a world model plans with."""

    encoder: Encoder
    normalize_latents: bool = False
    """Whether latents are layer-normed (V-JEPA-2-AC)."""

    @classmethod
    def of(cls, model: JEPAWorldModel) -> FrozenEncoder:
        """That of a world model."""
        return cls(model.encoder, model.predictor.normalize_latents)

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Encode uint8 images (B, H, W, C) as tokens (B, P, D)."""
        tokens = self.encoder(pixels)
        return F.layer_norm(tokens, tokens.shape[-1:]) if self.normalize_latents else tokens

    def sha256(self) -> str:
        """Hash of all numbers that latents depend on: a head fits every world model whose encoder has the same."""
        sizes = [self.encoder.image_size, self.encoder.grid_size, self.normalize_latents]
        digest = hashlib.sha256(json.dumps(sizes).encode())
        # Buffers that no file holds, such as the normalisation of colours, are among them.
        tensors = {**dict(self.encoder.named_parameters()), **dict(self.encoder.named_buffers())}
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

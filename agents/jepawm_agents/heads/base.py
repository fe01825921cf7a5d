"""What an image decoder is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

COLOURS = 3


class ImageHead(nn.Module):
    """Turns the tokens of a frame into its picture, every frame on its own."""

    image_size: int
    """Height and width of the pictures."""
    latent_dim: int
    """Channels D of a token."""

    def pictures(self, tokens: Tensor) -> Tensor:
        """Decode tokens (B, P, D) to RGB (B, 3, image_size, image_size), black 0 and white 1; not cut off there.

        Raises:
            ValueError: for tokens of another size.
        """
        raise NotImplementedError

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens (..., P, D), such as those of imagined futures, to uint8 pictures (..., H, W, 3).

        Frames are decoded one by one, so that memory does not grow with their number and no picture depends on
        the others. Fractions of a grey level are cut off, as in the reference.

        Raises:
            ValueError: for tokens of another size.
        """
        frames = [self._picture(frame) for frame in tokens.reshape(-1, 1, *tokens.shape[-2:])]
        size = (*tokens.shape[:-2], self.image_size, self.image_size, COLOURS)
        return torch.cat(frames).reshape(size) if frames else torch.empty(size, dtype=torch.uint8)

    def _picture(self, tokens: Tensor) -> Tensor:
        """uint8 pictures (B, H, W, 3)."""
        picture = self.pictures(tokens.to(next(self.parameters()).dtype)).permute(0, 2, 3, 1)
        return (picture * 255.0).clamp(0.0, 255.0).to(torch.uint8)

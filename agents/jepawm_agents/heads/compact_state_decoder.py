"""The environment's state from the few tokens of a compact world model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jepawm_agents.errors import ConfigError
from jepawm_agents.world_models.jepa import deviation


class CompactStateDecoder(nn.Module):
    """Two hidden layers over all tokens of a frame.

    Args:
        latent_dim: channels D of a token.
        grid_size: rows and columns of the token grid (P = grid_size squared).
        state_dim: numbers S of a state.
        width: of the hidden layers.

    Raises:
        ConfigError: for sizes that cannot be.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, *, latent_dim: int, grid_size: int, state_dim: int, width: int = 256):
        super().__init__()
        if min(latent_dim, grid_size, state_dim, width) < 1:
            raise ConfigError(f"A state decoder cannot have width={width} and state_dim={state_dim}; both start at 1.")
        self.latent_dim, self.tokens, self.state_dim = latent_dim, grid_size**2, state_dim
        self.net = nn.Sequential(
            nn.Linear(self.tokens * latent_dim, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, state_dim),
        )
        self.register_buffer("mean", torch.zeros(state_dim))
        self.register_buffer("std", torch.ones(state_dim))

    def fit(self, states: Tensor) -> None:
        """Take mean and deviation of the answers from states (..., S); entries that never change keep deviation 1."""
        flat = states.flatten(0, -2)
        self.mean.copy_(flat.mean(dim=0))
        self.std.copy_(deviation(flat))

    def forward(self, tokens: Tensor) -> Tensor:
        """Decode tokens (..., P, D) to states (..., S) in the environment's units.

        Raises:
            ValueError: for tokens of another size.
        """
        if tuple(tokens.shape[-2:]) != (self.tokens, self.latent_dim):
            raise ValueError(
                f"Tokens to decode are (..., {self.tokens}, {self.latent_dim}), but these have shape "
                f"{tuple(tokens.shape)}."
            )
        return self.net(tokens.flatten(-2)) * self.std + self.mean

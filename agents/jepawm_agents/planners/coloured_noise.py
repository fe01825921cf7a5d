"""Noise that is correlated over time, so that sampled actions go somewhere instead of trembling on the spot."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from jepawm_agents.errors import ConfigError


def colouring(horizon: int, beta: float) -> np.ndarray:
    """The matrix (H, H) that turns white noise over time into noise with a power spectrum of 1 / f^beta.

    Timmer and Koenig 1995 draw independent Fourier coefficients of that spectrum; those of white noise are
    independent too, so shaping them is the same and keeps one number of noise for one of action. The constant part
    has the power of the lowest frequency, 1 / H. Every step has variance one.
    """
    frequency = np.maximum(np.fft.rfftfreq(horizon), 1 / horizon)
    kernel = np.fft.irfft(frequency ** (-beta / 2), horizon)
    kernel /= np.sqrt(np.square(kernel).sum())
    return np.stack([np.roll(kernel, step) for step in range(horizon)])


def coloured(white: Tensor, beta: float, chunk: int = 1) -> Tensor:
    """Standard normal noise (E, N, H, A), coloured along time; ``beta`` 0 leaves it white.

    With ``chunk`` an action is that many primitive ones side by side, and time runs through all H * chunk of them.
    Summed step by step, since a product of matrices may round differently for other batch sizes.

    Raises:
        ConfigError: if an action cannot be divided so.
    """
    if beta == 0:
        return white
    if white.shape[3] % chunk:
        raise ConfigError(f"planner.chunk={chunk} is not possible: it must divide the {white.shape[3]} action numbers.")
    primitive = white.reshape(*white.shape[:2], white.shape[2] * chunk, -1)
    matrix = torch.from_numpy(colouring(primitive.shape[2], beta)).to(white)
    result = torch.zeros_like(primitive)
    for step in range(primitive.shape[2]):
        result = result + matrix[:, step, None] * primitive[:, :, step : step + 1]
    return result.reshape(white.shape)

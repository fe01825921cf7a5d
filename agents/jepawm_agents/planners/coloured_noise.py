"""Noise that is correlated over time, so that sampled actions go somewhere instead of trembling on the spot."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


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


def coloured(white: Tensor, beta: float) -> Tensor:
    """Standard normal noise (E, N, H, A), coloured along H; ``beta`` 0 leaves it white.

    Summed step by step, since a product of matrices may round differently for other batch sizes.
    """
    if beta == 0:
        return white
    matrix = torch.from_numpy(colouring(white.shape[2], beta)).to(white)
    result = torch.zeros_like(white)
    for step in range(white.shape[2]):
        result = result + matrix[:, step, None] * white[:, :, step : step + 1]
    return result

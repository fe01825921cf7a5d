"""Figures that watch over an encoder, on latents whose figures are known."""

from __future__ import annotations

import math

import pytest
import torch

from jepawm_agents.training.encoder import _probe, effective_rank


def test_the_probe_reads_a_linear_code_exactly_and_a_random_one_not_at_all():
    generator = torch.Generator().manual_seed(0)
    position = torch.randn(400, 2, generator=generator)
    linear = position @ torch.randn(2, 6, generator=generator) + 3.0
    noise = torch.randn(400, 6, generator=generator)
    assert _probe((linear[:200], position[:200]), (linear[200:], position[200:])) < 1e-5
    assert _probe((noise[:200], position[:200]), (noise[200:], position[200:])) > 0.9


def test_a_probe_that_learned_frames_by_heart_is_not_believed():
    generator = torch.Generator().manual_seed(1)
    codes, position = torch.randn(40, 64, generator=generator), torch.randn(40, 2, generator=generator)
    assert _probe((codes[:20], position[:20]), (codes[:20], position[:20])) < 1e-5
    assert _probe((codes[:20], position[:20]), (codes[20:], position[20:])) > 0.5


@pytest.mark.parametrize("dimensions", [1, 3, 8])
def test_the_effective_rank_counts_equal_directions(dimensions):
    basis = torch.eye(8)[:dimensions]
    z = torch.cat([basis, -basis]).repeat(50, 1)
    assert math.isclose(effective_rank(z), dimensions, rel_tol=1e-3)

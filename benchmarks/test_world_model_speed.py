"""Encoding and imagining at the compact sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jepawm_agents.world_models.jepa import Latent

every_family = pytest.mark.parametrize("family", ["adaln", "dino_wm"])  # those with a recipe
CANDIDATES, HORIZON = 300, 6


def present(model, batch: int) -> Latent:
    size = model.encoder.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    return model.encode(pixels, np.full((batch, 2), 30.0))


@pytest.mark.parametrize("batch", [1, 64])
def test_encode(benchmark, compact_model, batch):
    model = compact_model("adaln")
    benchmark(present, model, batch)


@every_family
@pytest.mark.parametrize("frames", [1, 2])
def test_predictor_step_for_300_candidates(benchmark, compact_model, family, frames):
    model = compact_model(family)
    latent = present(model, 1)
    visual = latent.visual[:, None].expand(CANDIDATES, frames, -1, -1)
    felt = model.embed(latent).proprio[:, None].expand(CANDIDATES, frames, -1, -1)
    condition = model.predictor.condition(torch.randn(CANDIDATES, frames, 10))
    benchmark(model.predictor.advance, visual, condition, felt, last_only=True)


@every_family
def test_imagine_six_steps_for_300_candidates(benchmark, compact_model, family):
    model = compact_model(family)
    latent, actions = present(model, 1), torch.randn(1, CANDIDATES, HORIZON, 10)
    benchmark(model.rollout, latent, actions)

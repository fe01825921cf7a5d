"""The small encoder, and the constants that make its outputs and inputs comparable."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jepawm_agents.errors import ConfigError
from jepawm_agents.world_models.compact_encoder import CompactEncoder
from jepawm_agents.world_models.jepa import Normaliser
from jepawm_agents.world_models.weights import build_encoder


@pytest.fixture
def encoder() -> CompactEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CompactEncoder(image_size=32, channels=[4, 8, 8], mixing=1, latent_dim=6).requires_grad_(False)


def images(count: int = 40) -> torch.Tensor:
    numbers = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return torch.from_numpy(numbers)


def test_tokens_lie_row_by_row_on_the_grid(encoder):
    assert encoder.grid_size == 4
    assert encoder(images()).shape == (40, 16, 6)
    grid = encoder.net(images().permute(0, 3, 1, 2) / 127.5 - 1.0)
    for row in range(4):
        for column in range(4):
            torch.testing.assert_close(encoder(images())[:, 4 * row + column], grid[:, :, row, column])


def test_standardising_gives_every_channel_mean_zero_and_deviation_one(encoder):
    for _ in range(2):  # doing it again changes nothing
        encoder.standardise(encoder(images()))
        tokens = encoder(images()).flatten(0, 1)
        torch.testing.assert_close(tokens.mean(dim=0), torch.zeros(6), rtol=0, atol=1e-5)
        torch.testing.assert_close(tokens.std(dim=0), torch.ones(6), rtol=1e-4, atol=0)


def test_an_image_is_encoded_alike_alone_and_in_a_batch(encoder):
    together = encoder(images(4))
    for row in range(4):
        torch.testing.assert_close(encoder(images(4)[row : row + 1])[0], together[row], rtol=1e-5, atol=1e-6)


def test_unknown_encoders_are_refused():
    with pytest.raises(ConfigError, match=r"Unknown encoder family 'dino'\. Did you mean dinov[23], dinov[23]\?"):
        build_encoder({"family": "dino"})


def test_normalising_data_gives_mean_zero_and_deviation_one_and_can_be_undone():
    random = torch.Generator().manual_seed(0)
    actions, proprio = 3 + 2 * torch.randn(50, 7, 2, generator=random), 30 + 9 * torch.randn(50, 8, 2, generator=random)
    normaliser = Normaliser(2, 2)
    normaliser.fit(actions, proprio)
    for values in (normaliser.actions(actions), normaliser.proprio(proprio)):
        torch.testing.assert_close(values.mean(dim=(0, 1)), torch.zeros(2), rtol=0, atol=1e-5)
        torch.testing.assert_close(values.std(dim=(0, 1)), torch.ones(2), rtol=1e-5, atol=0)
    torch.testing.assert_close(normaliser.environment_actions(normaliser.actions(actions)), actions)


def test_the_encoder_of_a_world_model_stays_frozen_in_training(tiny_model):
    model = tiny_model().train()
    assert model.predictor.training and not model.encoder.training
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())


def test_a_model_without_proprioception_ignores_it(tiny_model):
    model = tiny_model(proprio_width=0)
    pixels = np.zeros((1, 16, 16, 3), np.uint8)
    assert model.encode(pixels, np.zeros((1, 2))).proprio is None
    latent = model.encode(pixels, np.zeros((1, 2)))
    assert model.embed(latent) == latent
    assert model.rollout(latent, torch.zeros(1, 2, 3, 10)).proprio is None

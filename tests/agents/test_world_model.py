"""What the world model adds to encoder and predictor: normalised latents, and poses in their own units only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jepawm_agents.errors import ConfigError
from jepawm_agents.world_models.jepa import Normaliser
from jepawm_agents.world_models.weights import load_world_model, save_world_model

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
PROPRIO = np.random.default_rng(1).normal(size=(3, 2))


@pytest.mark.parametrize("family", ["adaln", "dino_wm", "feature_rope"])
def test_latents_are_layer_normed_where_the_predictor_was_trained_so(tiny_model, family):
    plain, normed = (
        tiny_model(family, normalize_latents=flag).encode(PIXELS, PROPRIO).visual for flag in (False, True)
    )
    centred = plain - plain.mean(dim=-1, keepdim=True)
    expected = centred / torch.sqrt(centred.square().mean(dim=-1, keepdim=True) + 1e-5)
    torch.testing.assert_close(normed, expected)


def test_poses_are_not_integrated_in_normalised_units(tiny_model):
    model = tiny_model("action_token", proprio_token=True)
    assert model.normaliser.is_identity()
    felt = model.encode(PIXELS, PROPRIO).proprio
    torch.testing.assert_close(felt, torch.from_numpy(PROPRIO).float())
    model.normaliser.action_std.fill_(0.5)
    assert not model.normaliser.is_identity()
    with pytest.raises(ValueError, match="Poses can be integrated over actions in their own units only"):
        model.encode(PIXELS, PROPRIO)
    model.predictor.proprio_mode = "predict_proprio"
    assert model.encode(PIXELS, PROPRIO).proprio is not None


def test_where_proprioception_comes_from_is_part_of_the_description(tmp_path, tiny_model):
    model = tiny_model("adaln", proprio_mode="compute_new_pose")
    save_world_model(model, tmp_path / "model.safetensors")
    assert load_world_model(tmp_path / "model.safetensors").predictor.proprio_mode == "compute_new_pose"
    assert tiny_model("adaln").predictor.proprio_mode == "predict_proprio"
    with pytest.raises(ConfigError, match=r"Unknown proprio_mode 'compute_pose'\. Did you mean compute_new_pose"):
        tiny_model("adaln", proprio_mode="compute_pose")


@pytest.mark.parametrize("constant", ["action_mean", "action_std", "proprio_mean", "proprio_std"])
def test_any_constant_makes_units_normalised_ones(tiny_model, constant):
    normaliser = tiny_model().normaliser
    getattr(normaliser, constant)[1] = 2.0
    assert not normaliser.is_identity()


def test_a_dimension_that_never_changes_normalises_to_nothing():
    normaliser = Normaliser(2, 3)
    proprio = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    proprio[:, 1] = 1000.1  # in float32 the deviation of such a column need not be zero
    normaliser.fit(torch.zeros(400, 2), proprio)
    found = normaliser.proprio(proprio)
    assert torch.isfinite(found).all() and found[:, 1].abs().max() < 1e-3
    assert torch.equal(normaliser.proprio_std[[0, 2]], proprio.std(dim=0)[[0, 2]])
    assert torch.equal(normaliser.actions(torch.zeros(5, 2)), torch.zeros(5, 2))

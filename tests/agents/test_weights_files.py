"""World models on disk, and dictionaries of the reference's weights: complete or refused."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.world_models.reference import from_reference
from jepawm_agents.world_models.weights import FORMAT, PREDICTORS, build, load_world_model, save_world_model, sha256

every_family = pytest.mark.parametrize("family", list(PREDICTORS))
of_jepa_wms = pytest.mark.parametrize("family", [family for family in PREDICTORS if family not in ("gru", "gated")])


@pytest.fixture
def saved(tmp_path, tiny_model):
    path = tmp_path / "model.safetensors"
    save_world_model(tiny_model(), path, notes={"recipe": "none"})
    return path


def rewrite(path, *, tensors=None, metadata=None) -> None:
    with safe_open(path, framework="pt") as file:
        kept = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, not a mapping
        described = file.metadata()
    save_file(kept if tensors is None else tensors(kept), path, metadata={**described, **(metadata or {})})


@every_family
def test_a_model_read_back_is_the_model_written(tmp_path, tiny_model, family):
    model, path = tiny_model(family, seed=3), tmp_path / "deep" / "model.safetensors"
    model.normaliser.fit(torch.randn(50, 2), torch.randn(50, 2))
    save_world_model(model, path)
    read = load_world_model(path)
    assert read.config == model.config and read.window == model.window and not read.training
    for key, value in model.state_dict().items():
        assert torch.equal(read.state_dict()[key], value), key
    pixels = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    assert torch.equal(read.encode(pixels, np.zeros((2, 2))).visual, model.encode(pixels, np.zeros((2, 2))).visual)


def test_the_hash_is_that_of_the_whole_file(saved):
    before = sha256(saved)
    assert before == hashlib.sha256(saved.read_bytes()).hexdigest()
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    assert sha256(saved) != before


def test_a_missing_file_is_refused_with_its_path(tmp_path):
    with pytest.raises(WeightsError, match=r"There is no weights file at .*absent\.safetensors"):
        load_world_model(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 100, -10])
def test_a_truncated_file_is_refused(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"cannot be read as safetensors .*may be truncated"):
        load_world_model(saved)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_text("these are no weights at all")
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        load_world_model(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="is not a world model of format jepawm-world-model/1"):
        load_world_model(path)


def test_missing_unknown_and_misshapen_tensors_are_named(saved):
    def spoil(tensors):
        tensors["extra.weight"] = torch.zeros(1)
        tensors["normaliser.action_std"] = torch.zeros(3)
        del tensors["encoder.mean"]
        return tensors

    rewrite(saved, tensors=spoil)
    with pytest.raises(WeightsError) as problem:
        load_world_model(saved)
    for part in (
        str(saved),
        "missing encoder.mean",
        "unknown extra.weight",
        "normaliser.action_std has shape (3,) instead of (2,)",
    ):
        assert part in str(problem.value)


def test_equal_models_give_equal_files(tmp_path, tiny_model):
    files = [tmp_path / name for name in ("one", "two", "three")]
    for file in files:
        save_world_model(tiny_model(seed=5), file, notes={"b": 1, "a": [2, 3]})
    assert len({file.read_bytes() for file in files}) == 1


@pytest.mark.parametrize("damage", [{}, "no table", {"encoder": {"family": "compact"}}])
def test_a_description_that_cannot_be_built_is_refused(saved, damage):
    rewrite(saved, metadata={"world_model": json.dumps({"format": FORMAT, "config": damage})})
    with pytest.raises(WeightsError, match="holds a description of a model that cannot be built"):
        load_world_model(saved)


def test_unknown_families_and_sizes_are_refused_when_building(config):
    with pytest.raises(ConfigError, match=r"Unknown predictor family 'adalm'\. Did you mean adaln"):
        build({**config(), "predictor": {"family": "adalm"}})
    with pytest.raises(ConfigError, match=r"predictor settings .* do not fit family 'adaln': .*dept"):
        build({**config(), "predictor": {**config()["predictor"], "dept": 3}})


def weights_of(model) -> dict[str, torch.Tensor]:
    names = {key: key if key.startswith(("action_", "proprio_")) else f"predictor.{key}" for key in model.state_dict()}
    return {names[key]: value for key, value in model.state_dict().items()}


@of_jepa_wms
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_dictionary_in_the_references_names_gives_the_same_predictor(tiny_model, family, prefix):
    model = tiny_model(family).predictor
    read = from_reference({prefix + k: v for k, v in weights_of(model).items()}, grid_size=2, num_heads=2)
    assert type(read) is type(model)
    for key, value in model.state_dict().items():
        assert torch.equal(read.state_dict()[key], value), key


@of_jepa_wms
def test_missing_and_left_over_keys_of_a_dictionary_are_named(tiny_model, family):
    weights = weights_of(tiny_model(family).predictor)
    gone = next(key for key in weights if key.endswith("bias") and "encoder" not in key)
    weights.pop(gone)
    weights["predictor.surprise"] = torch.zeros(1)
    with pytest.raises(WeightsError, match="The weights do not fit the model") as problem:
        from_reference(weights, grid_size=2, num_heads=2)
    assert f"missing {gone.removeprefix('predictor.')}" in str(problem.value)
    assert "unknown surprise" in str(problem.value)


def test_a_missing_key_that_tells_a_size_is_named(tiny_model):
    weights = weights_of(tiny_model("adaln").predictor)
    del weights["predictor.predictor_embed.weight"]
    with pytest.raises(WeightsError, match=r"lack 'predictor_embed\.weight', so the size"):
        from_reference(weights, grid_size=2, num_heads=2)


def test_weights_of_no_known_family_are_refused():
    with pytest.raises(WeightsError, match=r"none of the known predictors: .*, but head\.weight\."):
        from_reference({"predictor.head.weight": torch.zeros(2, 2)}, grid_size=2, num_heads=2)
    with pytest.raises(WeightsError, match=r"none of the known predictors: .*, but nothing\."):
        from_reference({}, grid_size=2, num_heads=2)


@pytest.mark.parametrize("family", ["adaln", "dino_wm"])
def test_heads_that_do_not_divide_the_width_are_refused(tiny_model, family):
    with pytest.raises(WeightsError, match=r"num_heads=7 does not divide the (24|16) channels"):
        from_reference(weights_of(tiny_model(family).predictor), grid_size=2, num_heads=7)


def test_a_grid_that_does_not_fit_learned_positions_is_refused(tiny_model):
    with pytest.raises(WeightsError, match="grid_size=3 does not divide the 16 positions"):
        from_reference(weights_of(tiny_model("dino_wm").predictor), grid_size=3, num_heads=2)


def test_a_tensor_with_another_number_of_axes_is_named(tiny_model):
    weights = weights_of(tiny_model("adaln").predictor)
    weights["action_encoder.weight"] = torch.zeros(3)
    with pytest.raises(WeightsError, match=r"'action_encoder\.weight' has shape \(3,\); it should have 2 axes"):
        from_reference(weights, grid_size=2, num_heads=2)


def test_one_weight_under_two_names_is_refused(tiny_model):
    weights = weights_of(tiny_model("adaln").predictor)
    weights["predictor.action_encoder.weight"] = weights["action_encoder.weight"]
    with pytest.raises(WeightsError, match=r"hold 'action_encoder\.weight' twice, once as 'predictor\.action_enc"):
        from_reference(weights, grid_size=2, num_heads=2)


def test_names_of_the_first_files_of_v_jepa_2_ac_are_understood():
    token = PREDICTORS["action_token"](
        grid_size=2, latent_dim=6, action_dim=7, proprio_dim=7, proprio_token=True, width=24, depth=1, heads=2
    )
    weights = {f"predictor.module.{key}".replace("proprio_", "state_"): v for key, v in token.state_dict().items()}
    weights["predictor.module.extrinsics_encoder.weight"] = torch.zeros(24, 6)
    read = from_reference(weights, grid_size=2, num_heads=2, normalize_latents=True)
    assert read.normalize_latents
    for key, value in token.state_dict().items():
        assert torch.equal(read.state_dict()[key], value), key

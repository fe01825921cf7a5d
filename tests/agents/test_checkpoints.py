"""Published checkpoints: fabricated files in the authors' layout go all the way to an agent, wrong ones nowhere."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import jepawm_agents
from jepawm_agents.cards import all_cards
from jepawm_agents.checkpoints import encoder_files, fetch
from jepawm_agents.checkpoints.by_name import fresh_official, load_official, official_names, official_settings
from jepawm_agents.checkpoints.encoder import randomise
from jepawm_agents.checkpoints.encoder_files import ENCODER_FILES, EncoderFile
from jepawm_agents.checkpoints.fetch import PublishedFile, find_or_fetch
from jepawm_agents.checkpoints.published import load_published
from jepawm_agents.checkpoints.unfilled import unfilled
from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.loading import world_model_agent
from jepawm_agents.planners import make_planner
from jepawm_agents.world_models.encoders import vjepa2
from jepawm_agents.world_models.weights import PREDICTORS, build_encoder, load_world_model, save_world_model
from jepawm_bench.agent import AgentRequest, EpisodeKey

ROOT = Path(__file__).parents[2]
NAMES = official_names()
WIDTHS = {"dinov3": 1024, "vjepa2": 1408}
LARGE = ("jepa_wm_droid", "vjepa2_ac_droid", "vjepa2_ac_oss_droid")
CARDS = {card.name: card for card in all_cards()}

pytest.importorskip("timm")


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path, monkeypatch):
    """No network, and no files that happen to lie on this machine."""
    monkeypatch.setenv("JEPAWM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JEPAWM_OFFLINE", "1")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "cache").mkdir()


# Fabricated files


def predictor_of(settings: dict[str, Any], *, grid_size: int = 16, latent_dim: int = 384) -> nn.Module:
    """A fresh predictor as a card describes it."""
    sizes = {key: value for key, value in settings["predictor"].items() if key != "proprio_mode"}
    return PREDICTORS[sizes.pop("family")](
        grid_size=grid_size,
        latent_dim=latent_dim,
        action_dim=settings["action_dim"] * settings["frameskip"],
        proprio_dim=settings["proprio_dim"],
        **sizes,
    )


def in_published_layout(weights: dict[str, Tensor]) -> dict[str, Any]:
    """Entries of a checkpoint, as the authors write it after distributed training."""
    content: dict[str, Any] = {"predictor": {}, "opt": {"state": {0: {"step": 3}}}, "scaler": None, "epoch": 50}
    for key, value in weights.items():
        part, _, name = key.partition(".")
        outside = name.startswith("patch_embed.")
        content.setdefault(part if outside else "predictor", {})[f"module.{name if outside else key}"] = value
    return content


def small(name: str = "jepa_wm_wall", **changes: Any) -> dict[str, Any]:
    """A card's description with a predictor of one narrow layer."""
    settings = copy.deepcopy(official_settings(name))
    sizes = {"adaln": {"width": 24, "proprio_width": 8, "heads": 4}, "dino_wm": {"heads": 2, "head_dim": 8}}
    settings["predictor"].update(depth=1, **sizes[settings["predictor"]["family"]])
    for key, value in changes.items():
        settings[key] = {**settings[key], **value} if isinstance(value, dict) else value
    return settings


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A file of the small model."""
    path = tmp_path / "model.pth.tar"
    torch.save(in_published_layout(predictor_of(small()).state_dict()), path)
    return path


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory) -> Path:
    """A file of random DINOv2 ViT-S weights as Meta publishes it."""
    dim, random = 384, torch.Generator().manual_seed(3)
    encoder = build_encoder({"family": "dinov2"})
    weights = {key: 0.02 * torch.randn(v.shape, generator=random) for key, v in encoder.backbone.state_dict().items()}
    weights |= {"pos_embed": torch.randn(1, 1370, dim, generator=random), "mask_token": torch.zeros(1, dim)}
    path = tmp_path_factory.mktemp("encoder") / "dinov2_vits14_pretrain.pth"
    torch.save(weights, path)
    return path


@pytest.fixture
def dinov2_in_cache(tmp_path, dinov2, monkeypatch) -> Path:
    """That file where fetched ones lie, taken for the published one."""
    digest = hashlib.sha256(dinov2.read_bytes()).hexdigest()
    known = EncoderFile(PublishedFile(dinov2.name, url="https://example.invalid/d.pth", sha256=digest))
    monkeypatch.setitem(encoder_files.ENCODER_FILES, ("dinov2", "small"), known)
    path = tmp_path / "cache" / dinov2.name
    os.link(dinov2, path)
    return path


def observation(size: int, proprio_dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 255, (1, size, size, 3), dtype=np.uint8), random.normal(size=(1, proprio_dim))


# Cards


def test_the_cards_hold_what_is_published():
    expected = {f"{kind}_{env}" for kind in ("jepa_wm", "dino_wm") for env in ("wall", "pointmaze", "pusht")}
    expected |= {f"{kind}_{env}" for kind in ("jepa_wm", "dino_wm") for env in ("metaworld", "droid")}
    assert set(NAMES) == expected | {"vjepa2_ac_droid", "vjepa2_ac_oss_droid"}
    # Table S4.1 of arXiv 2512.24497: horizon, executed steps, iterations, first deviation, alpha.
    table = dict.fromkeys(("wall", "pointmaze", "pusht"), (6, 6, 30, 1.0, 0.1))
    table |= {"metaworld": (6, 3, 15, 1.0, 0.1), "droid": (3, 3, 15, 0.1, 0.0)}
    for name in NAMES:
        official = CARDS[name].variants["official"]
        planner, env = official["planner"], name.rsplit("_", 1)[1]
        keys = ("horizon", "execution_horizon", "iterations", "init_std")
        assert (*(planner[key] for key in keys), official["objective"]["alpha"]) == table[env], name
        made: Any = make_planner(**planner)
        assert (planner["name"], made.num_samples, made.elites_among(300)) == ("cem", 300, 10)
        bounds = {**dict.fromkeys("012345", 0.1), "6": 0.75} if env == "droid" else None
        assert planner.get("bounds") == bounds
        normalisation = "half" if name.startswith("dino") else "imagenet"
        assert official["encoder"]["normalisation"] == normalisation and official["window"] == 2
        assert official["frameskip"] == (1 if env == "droid" else 5)


@pytest.mark.parametrize("name", NAMES)
def test_the_constants_of_a_card_are_the_models(name):
    settings = official_settings(name)
    settings["predictor"].update(depth=1)
    settings["encoder"] = {"family": "dinov2", "size": "small"}
    torch.manual_seed(0)
    from jepawm_agents.checkpoints.published import build_fresh

    model = build_fresh(settings)
    for key, values in settings["normaliser"].items():
        assert getattr(model.normaliser, key).tolist() == pytest.approx(values, rel=1e-6)
    assert model.normaliser.is_identity() == name.endswith("droid")


# From file to world model


def test_a_checkpoint_becomes_its_world_model(checkpoint, dinov2_in_cache):
    published = load_published(small(), checkpoint)
    model, content = published.model, torch.load(checkpoint)
    weights = model.state_dict()
    for key, value in content["predictor"].items():
        assert torch.equal(weights[f"predictor.{key.removeprefix('module.')}"], value), key
    for key, value in content["proprio_encoder"].items():
        assert torch.equal(weights[f"predictor.proprio_encoder.{key.removeprefix('module.')}"], value), key
    norm = torch.load(dinov2_in_cache)["norm.weight"]
    assert torch.equal(weights["encoder.backbone.norm.weight"], norm)
    assert not model.training and not any(value.requires_grad for value in model.parameters())
    notes = published.provenance
    assert notes["weights"] == "model.pth.tar" and notes["epoch"] == 50 and notes["weights_origin"] == "--weights"
    assert notes["weights_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert notes["encoder"] == "dinov2_vits14_pretrain.pth (cache)" and "unranked" not in notes
    assert notes["encoder_sha256"] == hashlib.sha256(dinov2_in_cache.read_bytes()).hexdigest()
    json.dumps(notes)


def test_it_can_be_kept_as_safetensors(tmp_path, checkpoint, dinov2):
    model = load_published(small(encoder={"weights": str(dinov2)}), checkpoint).model
    save_world_model(model, tmp_path / "kept.safetensors")
    read = load_world_model(tmp_path / "kept.safetensors")
    pixels, proprio = observation(224, 2)
    assert torch.equal(read.encode(pixels, proprio).visual, model.encode(pixels, proprio).visual)
    assert torch.equal(read.normaliser.action_mean, model.normaliser.action_mean)


def test_the_older_name_of_the_proprioception_encoder_is_understood(tmp_path, dinov2):
    settings = official_settings("vjepa2_ac_oss_droid")
    settings["predictor"].update(width=32, heads=2, depth=1)
    settings["encoder"] = {"family": "dinov2", "size": "small", "weights": str(dinov2)}
    weights = predictor_of(settings).state_dict()
    old = {key.replace("proprio_encoder.", "state_encoder."): value for key, value in weights.items()}
    content = in_published_layout(old)
    assert "module.state_encoder.weight" in content["predictor"]
    del content["epoch"]
    torch.save(content, tmp_path / "oss.pth.tar")
    published = load_published(settings, tmp_path / "oss.pth.tar")
    loaded = published.model.predictor.state_dict()["proprio_encoder.weight"]
    assert torch.equal(loaded, weights["proprio_encoder.weight"]) and published.provenance["epoch"] is None
    assert published.model.predictor.proprio_mode == "compute_new_pose"
    assert published.model.predictor.normalize_latents


def test_masks_of_dino_wm_are_not_weights(tmp_path, dinov2):
    settings = small("dino_wm_wall", encoder={"weights": str(dinov2)})
    content = in_published_layout(predictor_of(settings).state_dict())
    content["predictor"]["module.transformer.layers.0.0.bias"] = torch.zeros(1, 1, 1024, 1024)
    torch.save(content, tmp_path / "dino.pth.tar")
    assert load_published(settings, tmp_path / "dino.pth.tar").model.predictor.latent_dim == 384


# Where the encoder's weights are


def test_an_encoder_in_the_checkpoint_is_used(checkpoint, dinov2):
    content = torch.load(checkpoint)
    content["encoder"] = {f"module.backbone.{key}": value for key, value in torch.load(dinov2).items()}
    torch.save(content, checkpoint)
    published = load_published(small(), checkpoint)
    assert published.provenance["encoder"] == "entry 'encoder' of the checkpoint"
    kept = published.model.state_dict()["encoder.backbone.blocks.3.attn.qkv.weight"]
    assert torch.equal(kept, torch.load(dinov2)["blocks.3.attn.qkv.weight"])


def test_a_named_encoder_file_is_used(checkpoint, dinov2):
    published = load_published(small(encoder={"weights": str(dinov2)}), checkpoint)
    assert published.provenance["encoder"] == dinov2.name
    with pytest.raises(WeightsError, match=r"encoder\.weights=absent\.pth is no file\. Name one, or say auto"):
        load_published(small(encoder={"weights": "absent.pth"}), checkpoint)
    with pytest.raises(WeightsError, match=r"The image encoder cannot take its weights from .*model\.pth\.tar: "):
        load_published(small(encoder={"weights": str(checkpoint)}), checkpoint)


def test_an_encoder_that_is_nowhere_is_random_only_beside_a_named_checkpoint_and_never_silently(
    tmp_path, checkpoint, caplog
):
    published = load_published(small(), checkpoint)
    assert published.provenance["encoder"] == "random initialisation (no weights found)"
    assert published.provenance["encoder_sha256"] is None
    assert published.provenance["unranked"].startswith("The image encoder has random weights")
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    for part in ("RANDOM", "dinov2_vits14_pretrain.pth", str(tmp_path / "cache"), "--set encoder.weights=PATH"):
        assert part in warning.getMessage()
    os.replace(checkpoint, tmp_path / "cache" / "jepa_wm_wall.pth.tar")
    with pytest.raises(WeightsError, match=r"dinov2_vits14_pretrain\.pth is not on this machine and could not be"):
        load_published(small())


def test_a_random_encoder_can_be_asked_for_and_is_the_same_every_time(checkpoint, caplog):
    found: list[Any] = []
    for _ in range(2):
        torch.rand(1)
        found.append(load_published(small(encoder={"weights": "random"}), checkpoint))
    first, second = (published.model.encode(*observation(224, 2)).visual for published in found)
    assert torch.equal(first, second)
    assert found[0].provenance["encoder"] == "random initialisation (asked for)" and "unranked" in found[0].provenance
    assert "RANDOM, as asked for" in caplog.text


def test_a_damaged_encoder_file_is_no_reason_for_a_random_one(tmp_path, checkpoint, dinov2):
    (tmp_path / "cache" / "dinov2_vits14_pretrain.pth").write_bytes(dinov2.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"is not the published dinov2_vits14_pretrain\.pth: its SHA-256 begins"):
        load_published(small(), checkpoint)


def test_randomised_weights_depend_on_the_seed_alone():
    def weights(seed: int) -> dict[str, Tensor]:
        module = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
        randomise(module, seed)
        return module.state_dict()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])
    assert not first["0.bias"].any() and bool((first["1.weight"] == 1).all())


def test_v_jepas_weights_are_read_from_their_entry(tmp_path, monkeypatch, checkpoint):
    pytest.importorskip("transformers")
    tiny = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 1, "mlp_ratio": 2.0}
    monkeypatch.setitem(vjepa2.SIZES, "giant", tiny)
    encoder = build_encoder({"family": "vjepa2", "image_size": 256})
    mine = {key: torch.randn_like(value) for key, value in encoder.backbone.state_dict().items()}
    names = {"embeddings.patch_embeddings.proj.": "patch_embed.proj.", "layernorm.": "norm.", "layer.": "blocks."}
    published: dict[str, Tensor] = {}
    for key, value in mine.items():
        if ".attention.query." in key:
            parts = [mine[key.replace("query", part)] for part in ("query", "key", "value")]
            key, value = key.replace(".attention.query.", ".attn.qkv."), torch.cat(parts)
        elif ".attention.key." in key or ".attention.value." in key:
            continue
        for old, new in names.items():
            key = new + key.removeprefix(old) if key.startswith(old) else key
        published[f"module.backbone.{key.replace('.attention.', '.attn.')}"] = value
    # The name that jepa-wms gives its copy; the moving average beside it must not be taken.
    average = {key: torch.zeros_like(value) for key, value in published.items()}
    torch.save({"target_encoder": average, "encoder": published}, tmp_path / "cache" / "vjepa2_vit_giant.pth")

    settings = official_settings("vjepa2_ac_droid")
    settings["predictor"].update(width=32, heads=2, depth=1)
    torch.save(in_published_layout(predictor_of(settings, latent_dim=24).state_dict()), checkpoint)
    model = load_published(settings, checkpoint).model
    for key, value in mine.items():
        assert torch.equal(model.state_dict()[f"encoder.backbone.{key}"], value), key
    settings["encoder"]["entry"] = "target_encoder"
    assert not load_published(settings, checkpoint).model.encoder.state_dict()["backbone.layernorm.weight"].any()


@pytest.mark.parametrize("family", ["dinov2", "vjepa2", "dinov3"])
def test_building_without_filling_changes_neither_shapes_nor_constants_nor_generator(family, monkeypatch):
    pytest.importorskip("transformers")
    tiny = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2.0}
    monkeypatch.setitem(vjepa2.SIZES, "small", tiny)
    before = torch.get_rng_state()
    quick = unfilled(lambda: build_encoder({"family": family, "size": "small"}))
    if family != "dinov3":  # has a buffer made with torch.empty, so it is built as usual
        assert torch.equal(before, torch.get_rng_state())
    usual = build_encoder({"family": family, "size": "small"})
    assert {k: v.shape for k, v in quick.state_dict().items()} == {k: v.shape for k, v in usual.state_dict().items()}
    assert not any(value.is_meta for value in quick.parameters())
    for (name, buffer), (_, other) in zip(quick.named_buffers(), usual.named_buffers(), strict=True):
        assert torch.equal(buffer, other), name


# Files that are refused


class Evil:
    """Runs something when unpickled without care."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('this must never run')",))


def spoiled(content: dict[str, Any], how: str) -> dict[str, Any]:
    predictor = content["predictor"]
    first = next(iter(predictor))
    if how == "missing":
        del predictor["module.predictor_norm.bias"]
    elif how == "unknown":
        predictor["module.surprise"] = torch.zeros(1)
    elif how == "shape":
        predictor["module.predictor_norm.bias"] = torch.zeros(5)
    elif how == "nan":
        predictor[first] = torch.full_like(predictor[first], float("nan"))
    elif how == "evil":
        content["extra"] = Evil()
    elif how == "head":
        return {"model": predictor, "epoch": 3}
    elif how == "none":
        content["predictor"] = None
    elif how == "strange":
        content["proprio_encoder"] = {"module.patch_embed.weight": "text"}
    elif how == "no_proprio":
        del content["proprio_encoder"]
    elif how == "deeper":
        extra = {k.replace("blocks.0.", "blocks.1."): v for k, v in predictor.items() if "blocks.0." in k}
        predictor.update(extra)
    return content


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", r"model\.pth\.tar: The weights do not fit the model: missing predictor_norm\.bias"),
        ("unknown", r"do not fit the model: unknown surprise"),
        ("shape", r"predictor_norm\.bias has shape \(5,\) instead of \(32,\)"),
        ("nan", r"is damaged: .* holds values that are no numbers"),
        ("evil", r"holds code and not only weights; it was not loaded"),
        ("head", r"holds no predictor; a published world model has an entry 'predictor', but this file has model, ep"),
        ("none", r"holds no predictor"),
        ("strange", r"entry 'proprio_encoder' is not a dictionary of tensors"),
        ("no_proprio", r"is the file of another agent|do not fit"),
        ("deeper", r"is the file of another agent: predictor_blocks\.1\.norm1\.weight has shape \(32,\), where .*none"),
    ],
)
def test_wrong_checkpoints_are_refused_with_a_sentence(checkpoint, dinov2, how, message):
    torch.save(spoiled(torch.load(checkpoint), how), checkpoint)
    with pytest.raises(WeightsError, match=message):
        load_published(small(encoder={"weights": str(dinov2)}), checkpoint)


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_truncated_checkpoints_are_refused(checkpoint, dinov2, kept):
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(WeightsError, match=r"truncated|damaged"):
        load_published(small(encoder={"weights": str(dinov2)}), checkpoint)


def test_the_checkpoint_of_another_agent_is_refused(checkpoint, dinov2):
    weights = {"weights": str(dinov2)}
    with pytest.raises(WeightsError, match=r"action_encoder\.weight has shape \(32, 10\), where this one has \(32, 20"):
        load_published(small("jepa_wm_metaworld", encoder=weights), checkpoint)
    with pytest.raises(WeightsError, match="holds a AdaLNPredictor, but the agent is made of a DinoWMPredictor"):
        load_published(small("dino_wm_wall", encoder=weights), checkpoint)


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"There is no weights file at .*absent\.pth\.tar"):
        load_published(small(), tmp_path / "absent.pth.tar")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windw": 2}, r"Unknown setting of a published world model 'windw'\. Did you mean window"),
        ({"window": 0}, r"window=0 is not possible"),
        ({"checkpoint": {"fil": "x"}}, r"Unknown setting of the checkpoint 'fil'\. Did you mean file"),
        ({"normaliser": {"action_mean": [0.0]}}, r"normaliser\.action_mean=\[0\.0\] is not possible; .* of 2 numbers"),
        ({"normaliser": {"action_std": [0.0, 1.0]}}, r"deviations are positive"),
        ({"normaliser": {"mean": [0.0]}}, r"Unknown constant of the normaliser 'mean'"),
        ({"encoder": {"sise": "small"}}, r"encoder settings .* do not fit family 'dinov2'"),
        ({"encoder": {"family": "dinov4"}}, r"Unknown encoder family 'dinov4'\. Did you mean"),
        ({"encoder": {"size": "huge"}}, r"Unknown size of dinov2 'huge'"),
        ({"predictor": {"family": "adalm"}}, r"Unknown predictor family 'adalm'\. Did you mean adaln"),
        ({"predictor": {"dept": 1}}, r"do not fit family 'adaln': .*dept"),
        ({"predictor": {"proprio_mode": "guess"}}, r"Unknown predictor\.proprio_mode 'guess'"),
    ],
)
def test_mistaken_descriptions_are_refused(checkpoint, dinov2, changes, message):
    settings = copy.deepcopy(small(encoder={"weights": str(dinov2)}))
    for key, value in changes.items():
        settings[key] = {**settings[key], **value} if isinstance(value, dict) else value
    with pytest.raises(ConfigError, match=message):
        load_published(settings, checkpoint)


def test_an_encoder_without_published_weights_is_refused(checkpoint):
    settings = {**small(), "encoder": {"family": "compact", "image_size": 16, "channels": [8], "mixing": 0}}
    settings["encoder"]["latent_dim"] = 4
    with pytest.raises(ConfigError, match="There are no published weights of a CompactEncoder"):
        load_published(settings, checkpoint)


# Fetching


FILE = PublishedFile("some.pth.tar", repo="some/where", url="https://example.invalid/other.pth.tar")


@pytest.fixture
def online(monkeypatch):
    monkeypatch.delenv("JEPAWM_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def test_offline_says_which_file_to_put_where(tmp_path, monkeypatch):
    for variable in ("JEPAWM_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv("JEPAWM_OFFLINE", raising=False)
        monkeypatch.setenv(variable, "1")
        with pytest.raises(WeightsError) as problem:
            find_or_fetch(FILE, flag="--weights PATH")
        for part in (
            "some.pth.tar is not on this machine and could not be fetched (the network is switched off by",
            "Get it from https://huggingface.co/some/where/resolve/main/some.pth.tar or https://example.invalid/other",
            f"and put it into {tmp_path / 'cache'} or name it with --weights PATH.",
        ):
            assert part in str(problem.value)


def test_the_cache_comes_first_then_the_hub_then_the_address(tmp_path, monkeypatch, online):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    asked: list[str] = []

    def hub(repo: str, name: str, **settings: Any) -> str:
        asked.append(f"{repo}/{name}")
        raise OSError("no such host\nmore")

    def address(url: str, path: Path) -> None:
        asked.append(url)
        path.write_bytes(b"content")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(fetch, "download", address)
    found = find_or_fetch(FILE, flag="")
    assert asked == ["some/where/some.pth.tar", FILE.url] and found.origin == FILE.url
    assert found.path == tmp_path / "cache" / "some.pth.tar" and found.path.read_bytes() == b"content"
    assert found.sha256 == hashlib.sha256(b"content").hexdigest()
    assert find_or_fetch(FILE, flag="").origin == "cache" and len(asked) == 2
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["some.pth.tar"]

    found.path.unlink()
    snapshot = tmp_path / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (snapshot / "some.pth.tar").write_bytes(b"from the hub")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(snapshot / "some.pth.tar"))
    assert find_or_fetch(FILE, flag="").origin == "huggingface.co/some/where@abc123"


def test_a_broken_download_leaves_nothing_behind_and_every_failure_is_told(tmp_path, monkeypatch, online):
    huggingface_hub = pytest.importorskip("huggingface_hub")

    def hub(*_: Any, **__: Any) -> str:
        raise OSError("no such host")

    def address(url: str, path: Path) -> None:
        path.write_bytes(b"hal")
        raise OSError("only 3 of 4 bytes")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(fetch, "download", address)
    with pytest.raises(
        WeightsError, match=r"some/where gave OSError: no such host; .* gave OSError: only 3 of 4 bytes"
    ):
        find_or_fetch(FILE, flag="")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("length", ["7", "9", None])
def test_a_download_that_breaks_off_is_noticed(tmp_path, monkeypatch, length):
    class Answer:
        headers = {} if length is None else {"Content-Length": length}
        parts = [b"content", b""]  # noqa: RUF012

        def read(self, _: int) -> bytes:
            return self.parts.pop(0)

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(fetch.urllib.request, "urlopen", lambda *_, **__: Answer())
    if length == "9":
        with pytest.raises(OSError, match="only 7 of 9 bytes"):
            fetch.download("https://example.invalid/x", tmp_path / "x")
    else:
        fetch.download("https://example.invalid/x", tmp_path / "x")
        assert (tmp_path / "x").read_bytes() == b"content"


def test_files_are_held_to_what_is_known_of_their_hash(tmp_path):
    digest = hashlib.sha256(b"content").hexdigest()
    for name, sha256 in (("a.pth", digest), (f"a-{digest[:8]}.pth", None), ("a-b.pth", None)):
        (tmp_path / "cache" / name).write_bytes(b"content")
        assert find_or_fetch(PublishedFile(name, sha256=sha256), flag="").sha256 == digest
        (tmp_path / "cache" / name).write_bytes(b"contend")
        if name == "a-b.pth":  # nothing is known of it
            continue
        with pytest.raises(WeightsError, match=rf"is not the published {name}: .* instead of {digest[:8]}"):
            find_or_fetch(PublishedFile(name, sha256=sha256), flag="")


def test_a_file_in_hugging_faces_cache_is_held_to_the_hash_it_is_stored_under(tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    blob = tmp_path / hashlib.sha256(b"content").hexdigest()
    (tmp_path / "some.pth.tar").symlink_to(blob)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(tmp_path / "some.pth.tar"))
    blob.write_bytes(b"content")
    assert find_or_fetch(FILE, flag="").sha256 == blob.name
    blob.write_bytes(b"contend")
    with pytest.raises(WeightsError, match=r"is not the published some\.pth\.tar"):
        find_or_fetch(FILE, flag="")


def test_other_names_and_pytorchs_cache_are_looked_at(tmp_path):
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "alias.pt").write_bytes(b"content")
    found = find_or_fetch(PublishedFile("name.pt", aliases=("alias.pt",)), flag="")
    assert found.path == folder / "alias.pt"


def test_every_encoder_of_a_card_has_a_published_file():
    for name in NAMES:
        encoder = official_settings(name)["encoder"]
        assert (encoder["family"], encoder["size"]) in ENCODER_FILES
    for (family, _), known in ENCODER_FILES.items():
        assert known.file.url or known.file.where
        assert known.entry == ("encoder" if family.startswith("vjepa") else None)


# To the agent


def request(name: str, weights: Path | None, **changes: Any) -> AgentRequest:
    settings = copy.deepcopy(dict(CARDS[name].variants["official"]))
    settings.pop("protocols", None)
    settings["planner"].update(num_samples=3, iterations=1, num_elites=2, horizon=2, execution_horizon=2)
    for key, value in changes.items():
        settings[key] = {**settings[key], **value}
    return AgentRequest(
        CARDS[name], "official", settings, "JepaWM/Wall-v0", "paper", "cpu", None if weights is None else str(weights)
    )


def test_unknown_settings_of_an_official_agent_are_refused(checkpoint):
    asked = request("jepa_wm_wall", checkpoint)
    with pytest.raises(ConfigError, match=r"Unknown agent setting 'plannr'\. Did you mean planner"):
        world_model_agent(AgentRequest(**{**vars(asked), "settings": {**asked.settings, "plannr": {}}}))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LARGE])
def test_a_full_size_file_plans_end_to_end(tmp_path, dinov2, name):
    settings = official_settings(name)
    path = tmp_path / f"{name}.pth.tar"
    weights = predictor_of(settings).state_dict()
    torch.save(in_published_layout(weights), path)
    agent = world_model_agent(request(name, path, encoder={"weights": str(dinov2)}))
    loaded = agent.world_model.predictor.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in weights.items()) and len(loaded) == len(weights)
    pixels, proprio = observation(agent.image_size, settings["proprio_dim"])
    goal, goal_proprio = observation(agent.image_size, settings["proprio_dim"], seed=1)
    seen = {"pixels": pixels, "proprio": proprio, "goal_pixels": goal, "goal_proprio": goal_proprio}
    agent.reset(seen, [EpisodeKey(1, 0)])
    chunk = agent.act(seen, steps_left=2 * settings["frameskip"])
    assert chunk.actions.shape == (1, 2 * settings["frameskip"], settings["action_dim"])
    assert np.isfinite(chunk.actions).all() and chunk.model_evaluations == 3


@pytest.mark.slow
def test_a_run_from_the_command_line_with_nothing_but_the_checkpoint(tmp_path):
    path, out = tmp_path / "FAKE.pth.tar", tmp_path / "run"
    torch.save(in_published_layout(predictor_of(official_settings("jepa_wm_wall")).state_dict()), path)
    command = f"run --agent jepa_wm_wall@official --weights {path} --episodes 2 --set planner.num_samples=8"
    command += f" --set planner.iterations=2 --out {out}"
    done = subprocess.run(
        [sys.executable, "-m", "jepawm_bench", *command.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING: the image encoder is RANDOM" in done.stderr
    assert "Not a result to rank: The image encoder has random weights" in done.stdout
    record = json.loads((out / "run.json").read_text())
    assert record["agent"]["encoder"] == "random initialisation (no weights found)" and record["agent"]["unranked"]
    assert record["agent"]["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert json.loads((out / "summary.json").read_text())["n"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_large_file_loads_whole_and_imagines(tmp_path, monkeypatch, name):
    """Of full size to the reader: one number a tensor, so that gigabytes need not be written.

    V-JEPA 2 is cut to two layers; whole, it takes 10 s an image on one thread.
    """
    pytest.importorskip("transformers")
    settings = official_settings(name)
    sizes = {"hidden_size": 1408, "num_hidden_layers": 2, "num_attention_heads": 22, "mlp_ratio": 48 / 11}
    monkeypatch.setitem(vjepa2.SIZES, "giant", sizes)
    latent_dim = WIDTHS[settings["encoder"]["family"]]
    settings["encoder"]["weights"] = "random"
    with torch.device("meta"):
        shapes = predictor_of(settings, latent_dim=latent_dim).state_dict()
    weights = {key: torch.tensor(1e-5 * i).expand(value.shape) for i, (key, value) in enumerate(shapes.items())}
    torch.save(in_published_layout(weights), tmp_path / "large.pth.tar")
    model = load_published(settings, tmp_path / "large.pth.tar").model
    for key, value in model.predictor.state_dict().items():
        assert bool((value == weights[key].flatten()[0]).all()), key
    latent = model.encode(*observation(256, 7))
    assert latent.visual.shape == (1, 256, latent_dim)
    imagined = model.rollout(latent, torch.zeros(1, 1, 1, 7))
    assert imagined.visual.shape == (1, 1, 2, 256, latent_dim)
    assert (imagined.proprio is not None) == (name == "vjepa2_ac_oss_droid")


@pytest.mark.slow
def test_the_largest_encoder_loads_whole(tmp_path):
    """V-JEPA 2 ViT-g, 4 GB; nothing is computed with it, for that takes 10 s an image on one thread."""
    pytest.importorskip("transformers")
    with torch.device("meta"):
        shapes = build_encoder({"family": "vjepa2", "size": "giant"}).backbone.state_dict()
    published: dict[str, Tensor] = {}
    for i, (key, value) in enumerate(shapes.items()):
        key = key.replace("embeddings.patch_embeddings.", "patch_embed.").replace("layer.", "blocks.")
        key = key.replace("layernorm.", "norm.") if key.startswith("layernorm.") else key
        number = torch.tensor(1e-4 * i)
        if ".attention.query." in key:
            name = key.replace(".attention.query.", ".attn.qkv.")
            published[name] = number.expand(3 * value.shape[0], *value.shape[1:])
        elif ".attention.key." not in key and ".attention.value." not in key:
            published[key.replace(".attention.", ".attn.")] = number.expand(value.shape)
    path = tmp_path / "vitg.pt"
    torch.save({"encoder": {f"module.backbone.{key}": value for key, value in published.items()}}, path)
    from jepawm_agents.checkpoints.encoder import load_encoder

    loaded = load_encoder({"family": "vjepa2", "size": "giant", "weights": str(path)}, path, may_be_random=False)
    state = loaded.encoder.backbone.state_dict()
    assert sum(value.numel() for value in state.values()) == 1_012_173_952
    assert float(state["layer.39.mlp.fc2.weight"][3, 5]) == float(published["blocks.39.mlp.fc2.weight"][0, 0])
    assert float(state["layer.20.attention.value.weight"][7, 7]) == float(published["blocks.20.attn.qkv.weight"][0, 0])


# By name


def test_a_published_world_model_is_had_by_name(tmp_path, dinov2_in_cache):
    path = tmp_path / "cache" / "jepa_wm_wall.pth.tar"
    torch.save(in_published_layout(predictor_of(official_settings("jepa_wm_wall")).state_dict()), path)
    published = load_official("jepa_wm_wall")
    assert published.provenance["weights_origin"] == "cache" and published.model.encoder.image_size == 224
    with pytest.raises(ConfigError, match=r"Unknown published world model 'jepa_wm_wal'\. Did you mean jepa_wm_wall"):
        load_official("jepa_wm_wal")
    fresh = fresh_official("dino_wm_wall")
    assert fresh.normaliser.action_std.tolist() == pytest.approx([0.752332866, 0.7466897965])


def test_an_agent_is_loaded_by_name_and_variant(tmp_path, dinov2_in_cache, monkeypatch):
    from jepawm_agents import loading
    from jepawm_bench.registry import Registry

    monkeypatch.setattr(loading, "load_registry", lambda: Registry(dict(CARDS), dict.fromkeys(CARDS, "here"), {}))
    path = tmp_path / "wall.pth.tar"
    torch.save(in_published_layout(predictor_of(official_settings("jepa_wm_wall")).state_dict()), path)
    agent: Any = jepawm_agents.load_agent("jepa_wm_wall@official", weights=path)
    assert agent.image_size == 224 and agent.planner.evaluations == 300 * 30


@pytest.mark.slow
def test_torch_hub_loads_by_name_without_an_installation(tmp_path, dinov2):
    path = tmp_path / "wall.pth.tar"
    torch.save(in_published_layout(predictor_of(official_settings("jepa_wm_wall")).state_dict()), path)
    code = (
        "import torch;"
        f"model = torch.hub.load({str(ROOT)!r}, 'jepa_wm_wall', source='local', weights={str(path)!r},"
        f" encoder_weights={str(dinov2)!r});"
        "import jepawm_agents; print(type(model).__name__, model.window, jepawm_agents.__file__)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    name, window, file = done.stdout.split()
    assert (name, window) == ("JEPAWorldModel", "2") and Path(file).is_relative_to(ROOT)


def test_the_hub_file_has_an_entry_for_every_name():
    import importlib.util

    spec = importlib.util.spec_from_file_location("tested_hubconf", ROOT / "hubconf.py")
    assert spec is not None and spec.loader is not None
    hubconf, before = importlib.util.module_from_spec(spec), list(sys.path)
    try:
        spec.loader.exec_module(hubconf)
    finally:
        sys.path[:] = before
    entries = {name for name, value in vars(hubconf).items() if callable(value) and not name.startswith("_")}
    assert entries == {*NAMES, "vjepa2_ac_oss"}
    assert "torch" in hubconf.dependencies and "The published world model" in hubconf.jepa_wm_pusht.__doc__

"""Every family of the full-size recipes trains at a fraction of its size, and its file is an agent."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from jepawm_agents.checkpoints.encoder import randomise
from jepawm_agents.errors import AgentError, ConfigError, WeightsError
from jepawm_agents.loading import load_agent
from jepawm_agents.training.data import Episodes
from jepawm_agents.training.recipes import load_recipe
from jepawm_agents.training.run import main
from jepawm_agents.training.world_model import check
from jepawm_agents.world_models.encoders import vjepa1
from jepawm_agents.world_models.notes import without_places
from jepawm_agents.world_models.weights import build_encoder, load_world_model, save_world_model, sha256
from jepawm_bench import evaluate
from jepawm_bench.errors import UsageError
from jepawm_bench.run_folder import RunFolder
from jepawm_envs.data import EpisodeStore
from jepawm_envs.data.codecs import find_codec
from jepawm_envs.data.episode import Episode
from jepawm_envs.data.native import NativeWriter, encode

TINY = {"family": "vjepa1", "size": "tested", "image_size": 32, "normalisation": "half"}
BLOCKS = {"depth": 1, "heads": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "full/wall_jepa_wm": {"width": 24, "proprio_width": 8, **BLOCKS},
    "full/wall_dino_wm": {"action_width": 4, "proprio_width": 4, "head_dim": 8, "mlp_dim": 16, **BLOCKS},
    "full/wall_dino_wm_noproprio": {"action_width": 4, "head_dim": 8, "mlp_dim": 16, **BLOCKS},
    "full/metaworld_adaln_zero_noproprio": {"width": 24, **BLOCKS},
    "full/metaworld_action_token_noproprio": {"width": 24, **BLOCKS},
    "full/metaworld_feature_rope_noproprio": {"width": 20, "action_width": 4, **BLOCKS},
    "full/droid_vjepa2_ac_fixed": {"width": 24, **BLOCKS},
    "full/droid_vjepa2_ac": {"width": 24, **BLOCKS},
}
NO_CONSTANTS = {name: [] for name in ("action_mean", "action_std", "proprio_mean", "proprio_std")}


def quiet(*_: Any) -> None:
    pass


@pytest.fixture(autouse=True)
def tiny_encoder(monkeypatch):
    """A published family, one layer deep: four tokens of 48 channels."""
    monkeypatch.setitem(vjepa1.SIZES, "tested", {"dim": 48, "depth": 1, "heads": 2})
    monkeypatch.setenv("JEPAWM_OFFLINE", "1")


@pytest.fixture(scope="module")
def robot(tmp_path_factory) -> Path:
    """Seven-dimensional actions and poses, images of another size than the encoder's, episodes of several lengths."""
    path, random = tmp_path_factory.mktemp("robot") / "data", np.random.default_rng(0)
    with closing(NativeWriter(path, {"frames": "recorded", "env": "JepaWM/Droid-v0"}, "raw")) as writer:
        for steps in (9, 12, 8, 10, 9, 11):
            pose = 0.1 * random.normal(size=(steps + 1, 7))
            pixels = random.integers(0, 255, (steps + 1, 24, 40, 3), dtype=np.uint8)
            frames = {"states": pose, "proprio": pose.astype(np.float32)}
            writer.append(encode(Episode(pixels, frames, {"actions": np.diff(pose, axis=0)}), find_codec("raw")))
        writer.finish()
    return path


def tiny(recipe: str, robot: Path, **encoder: Any) -> dict[str, Any]:
    """Changes that leave of a recipe its kind and nothing of its size."""
    data: dict[str, Any] = {"episodes": 5, "steps": 35, "image_size": 32}
    if "droid" in recipe:
        data |= {"path": str(robot), "layout": "store"}
    if "metaworld" in recipe:
        data |= {"env": "JepaWM/Wall-v0", "further_envs": [], "normaliser": NO_CONSTANTS}
    return {
        "data": data,
        "encoder": {"weights": "random", "encode_batch": 16, "model": TINY, **encoder},
        "model": {"predictor": FAMILIES[recipe]},
        "train": {
            "epochs": 0,
            "steps": 3,
            "batch_size": 4,
            "validation_windows": 4,
            "log_every": 1,
            "validate_every": 3,
            "device": "cpu",
        },
    }


def train(recipe: str, robot: Path, out: Path, **encoder: Any) -> Path:
    return main(recipe, settings=tiny(recipe, robot, **encoder), out=out, resume=False, progress=quiet)


def content(path: Path) -> tuple[dict[str, Any], list[str]]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["world_model"]), list(file.keys())


@pytest.mark.parametrize("recipe", list(FAMILIES))
def test_every_family_trains_all_its_weights_and_its_file_holds_no_encoder(tmp_path, robot, recipe):
    path = train(recipe, robot, tmp_path / "trained")
    described, tensors = content(path)
    kind = "train" if "droid" in recipe else "val"  # nothing of DROID is held out, and figures do not say so
    assert described["notes"]["validation"].keys() >= {f"{kind}_1", f"{kind}_loss", "loss"}
    assert all(np.isfinite(value) for value in described["notes"]["validation"].values())
    assert tensors and not any(name.startswith("encoder.") for name in tensors)
    assert described["encoder"] == {"file": "random", "sha256": None, "entry": None}
    model = load_world_model(path)
    still = tiny(recipe, robot)
    still["train"] |= {f"{when}learning_rate": 0.0 for when in ("start_", "", "final_")}
    begun = load_world_model(main(recipe, settings=still, out=tmp_path / "still", resume=False, progress=quiet))
    for key, value in begun.predictor.state_dict().items():
        assert not torch.equal(value, model.predictor.state_dict()[key]), key
    with_proprio = model.predictor.proprio_encoder is not None
    assert with_proprio == (recipe in ("full/wall_jepa_wm", "full/wall_dino_wm", "full/droid_vjepa2_ac"))


def test_killed_and_resumed_a_training_on_one_window_of_every_episode_equals_an_undisturbed_one(tmp_path, robot):
    settings = tiny("full/droid_vjepa2_ac", robot)
    settings["train"] |= {"epochs": 5, "steps_per_epoch": 0, "batch_size": 3, "checkpoint_every": 3}
    total: list[int] = []

    def killed_at(step: int) -> Any:
        def progress(stage: str, done: int, steps: int, figures: Any) -> None:
            total.append(steps)
            if (stage, done) == ("predictor", step):
                raise RuntimeError("killed")

        return progress

    def train(name: str, progress: Any = quiet, **changes: Any) -> Path:
        data = {"data": {**settings["data"], **changes}}
        out, resume = tmp_path / name, (tmp_path / name).exists()
        return main("full/droid_vjepa2_ac", settings=settings | data, out=out, resume=resume, progress=progress)

    for step in (4, 8):
        with pytest.raises(RuntimeError, match="killed"):
            train("parts", killed_at(step))
    assert set(total) == {10}  # five passes over the six episodes, three a step
    whole, parts = weights(train("whole")), weights(train("parts"))
    other = weights(train("other", sampling="windows"))
    for key, value in whole.items():
        assert torch.equal(parts[key], value), key
    assert not all(torch.equal(other[key], value) for key, value in whole.items())
    with pytest.raises(AgentError, match="holds a training with other settings"):
        train("parts", sampling="windows")


def test_another_data_set_may_be_held_out(tmp_path, robot):
    other = tmp_path / "other"
    with EpisodeStore(robot) as store, closing(NativeWriter(other, {**store.meta, "part": 2}, "raw")) as writer:
        for number in range(3):
            arrays = {name: store.array(name, number) for name in ("states", "proprio", "actions")}
            steps = {"actions": arrays.pop("actions")}
            writer.append(encode(Episode(store.frames(number), arrays, steps), find_codec("raw")))
        writer.finish()
    settings = tiny("full/droid_vjepa2_ac", robot)
    settings["data"]["validation"] = str(other)
    path = main("full/droid_vjepa2_ac", settings=settings, out=tmp_path / "out", resume=False, progress=quiet)
    notes = content(path)[0]["notes"]
    assert notes["validation"].keys() >= {"val_1", "val_loss"} and notes["recipe"]["data"]["validation"] == "other"
    alone = weights(train("full/droid_vjepa2_ac", robot, tmp_path / "alone"))
    for key, value in weights(path).items():  # what is held out changes no step
        assert torch.equal(alone[key], value), key


def test_constants_are_the_recipes_or_those_of_the_training_episodes(tmp_path, robot):
    fixed = load_world_model(train("full/wall_jepa_wm", robot, tmp_path / "fixed")).normaliser
    assert fixed.proprio_std.tolist() == pytest.approx([17.663522720336914, 17.27516746520996])
    settings = tiny("full/wall_jepa_wm", robot)
    settings["data"]["normaliser"] = NO_CONSTANTS
    path = main("full/wall_jepa_wm", settings=settings, out=tmp_path / "fitted", resume=False, progress=quiet)
    store = EpisodeStore(tmp_path / "fitted/data.h5")
    rows = Episodes.load(store, 0.1)
    fitted = load_world_model(path).normaliser
    torch.testing.assert_close(fitted.action_std, rows.actions[rows.train].flatten(0, 1).std(dim=0))
    settings["data"]["normaliser"] = {**NO_CONSTANTS, "action_mean": [0.0, 0.0]}
    with pytest.raises(ConfigError, match=r"normaliser\.action_std=\[\] is not possible; it is a list of 2"):
        main("full/wall_jepa_wm", settings=settings, out=tmp_path / "half", resume=False, progress=quiet)


# Where latents and images are changes nothing

PUBLISHED = "full/wall_jepa_wm"


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_world_model(path).state_dict()


def test_the_same_model_comes_of_latents_in_memory_on_disk_and_made_now(tmp_path, robot):
    def trained(name: str, **encoder: Any) -> dict[str, torch.Tensor]:
        return weights(train(PUBLISHED, robot, tmp_path / name, **encoder))

    memory = trained("memory", cache="memory")
    disk = trained("disk", cache="disk", cache_dtype="float32", cache_folder=str(tmp_path / "shared"))
    again = trained("again", cache="disk", cache_dtype="float32", cache_folder=str(tmp_path / "shared"))
    now = trained("now", cache="none")
    assert len(list((tmp_path / "shared").glob("*.npy"))) == 1
    for key, value in memory.items():
        assert torch.equal(disk[key], value) and torch.equal(again[key], value), key
        torch.testing.assert_close(now[key], value, rtol=1e-3, atol=1e-4, msg=key)  # other batches, other sums


def test_the_same_compact_model_comes_of_images_on_disk(tmp_path):
    def trained(name: str, **data: Any) -> dict[str, torch.Tensor]:
        settings = {
            "data": {"episodes": 12, "steps": 20, "image_size": 16, **data},
            "encoder": {
                "weights": "",
                "steps": 6,
                "batch_size": 8,
                "model": {"image_size": 16, "channels": [4, 8, 8], "latent_dim": 4},
            },
            "model": {"predictor": {"width": 16, "proprio_width": 8, "depth": 1, "heads": 2}},
            "train": {"steps": 4, "batch_size": 8, "validation_windows": 8, "alarms": False, "device": "cpu"},
        }
        return weights(main("compact/wall", settings=settings, out=tmp_path / name, resume=False, progress=quiet))

    memory, disk = trained("memory"), trained("disk", memory=0.0, loaders=2)
    assert (tmp_path / "disk/data/store.json").is_file()
    for key, value in memory.items():
        assert torch.equal(disk[key], value), key


# The agent that comes out


@pytest.fixture
def published(tmp_path) -> Path:
    """An encoder's file in the published layout."""
    encoder = build_encoder(TINY)
    randomise(encoder.backbone, 7)
    path = tmp_path / "vitt16.pth.tar"
    weights = {f"module.backbone.{name}": value for name, value in encoder.backbone.state_dict().items()}
    torch.save({"encoder": weights}, path)
    return path


@pytest.fixture
def trained(tmp_path, robot, published) -> Path:
    """A world model on that encoder."""
    return train(PUBLISHED, robot, tmp_path / "out", weights=str(published), entry="encoder")


def test_a_trained_model_plays_as_the_agent_of_its_recipe(tmp_path, trained, published):
    planner = {"num_samples": 4, "iterations": 1, "num_elites": 2}
    for agent in ("jepa_wm_wall", "jepa_wm_wall@official"):  # the file says what it is, whatever the variant
        result = evaluate(
            agent,
            "JepaWM/Wall-v0",
            episodes=1,
            weights=str(trained),
            settings={"planner": planner, "encoder": {"weights": str(published)}},
            workers=1,
            out=tmp_path / agent,
        )
        record = RunFolder(tmp_path / agent).read_run()["agent"]
        assert result.summary["n"] == 1
        assert record["encoder"] == "vitt16.pth.tar" and len(record["encoder_sha256"]) == 64
        assert "unranked" not in record


def test_an_agent_on_random_features_is_never_ranked(tmp_path, robot):
    path = train(PUBLISHED, robot, tmp_path / "out")
    agent: Any = load_agent("jepa_wm_wall", weights=path)
    assert "random weights" in agent.provenance["unranked"]


def test_the_file_and_its_encoder_make_the_model_that_was_trained(tmp_path, trained, published):
    described, _ = content(trained)
    assert described["encoder"] == {"file": "vitt16.pth.tar", "sha256": sha256(published), "entry": "encoder"}
    model = load_world_model(trained, str(published))
    expected = build_encoder(TINY)
    randomise(expected.backbone, 7)
    for key, value in expected.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[key], value), key
    save_world_model(model, tmp_path / "copy.safetensors", notes=described["notes"])
    assert (tmp_path / "copy.safetensors").read_bytes() == trained.read_bytes()
    moved = published.rename(tmp_path / "elsewhere.pth")
    again = load_world_model(trained, str(moved))
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_files_do_not_say_where_things_lay(tmp_path, trained, robot):
    assert content(trained)[0]["notes"]["recipe"]["encoder"]["weights"] == "vitt16.pth.tar"
    path = train("full/droid_vjepa2_ac", robot, tmp_path / "droid", cache_folder=str(tmp_path / "shared"))
    recipe = content(path)[0]["notes"]["recipe"]
    assert (recipe["data"]["path"], recipe["encoder"]["weights"]) == (robot.name, "random")
    for file in (trained, path):
        assert not any(str(folder) in json.dumps(content(file)[0]) for folder in (tmp_path, robot.parent))
    kept = {"weights": "auto", "env": "JepaWM/Wall-v0", "path": "", "steps": 5, "list": [0.5, "a/b"]}
    assert without_places(kept) == kept
    moved = {"weights": "../a/b.pth", "csv": "/a/b.csv", "list": ["~/c"], "folder": "D:\\d\\e"}
    assert without_places(moved) == {"weights": "b.pth", "csv": "b.csv", "list": ["c"], "folder": "e"}


def test_a_missing_or_another_encoder_is_refused(tmp_path, trained, published, monkeypatch):
    monkeypatch.setenv("JEPAWM_CACHE", str(tmp_path / "cache"))
    moved = published.rename(tmp_path / "elsewhere.pth")
    with pytest.raises(WeightsError, match=r"trained on the encoder of vitt16\.pth\.tar .*, which it does not hold"):
        load_world_model(trained)
    (tmp_path / "cache").mkdir()
    moved.rename(tmp_path / "cache/vitt16.pth.tar")
    load_world_model(trained)  # found by its name and hash
    other = torch.load(tmp_path / "cache/vitt16.pth.tar", weights_only=True)
    other["encoder"]["module.backbone.norm.bias"] += 1
    torch.save(other, published)
    with pytest.raises(WeightsError, match="is another encoder than the world model was trained on"):
        load_world_model(trained, str(published))


def test_settings_that_give_no_encoder_are_refused(tmp_path, robot, trained):
    def refused(recipe: str, **encoder: Any) -> dict[str, Any]:
        return load_recipe(recipe, {"encoder": encoder})

    with pytest.raises(ConfigError, match=r"'dinov2' is published, not trained here; set encoder\.weights=auto"):
        check(refused(PUBLISHED, weights=""))
    with pytest.raises(ConfigError, match="'impala' is not trained by recipes of this kind"):
        check(refused(PUBLISHED, model={"family": "impala"}))
    with pytest.raises(ConfigError, match=r"Unknown encoder\.cache 'disc'\. Did you mean disk"):
        check(refused("compact/wall", cache="disc"))
    nothing = {"data": {"validation_share": 0.0}, "encoder": {"weights": ""}}
    with pytest.raises(ConfigError, match=r"validation_share=0 holds out no episode, but the encoder that is trained"):
        check(load_recipe("compact/wall", nothing))
    check(load_recipe("compact/wall", nothing | {"encoder": {"weights": "encoder.safetensors"}}))
    with pytest.raises(ConfigError, match=r"Unknown data\.sampling 'episode'\. Did you mean episodes"):
        check(load_recipe("compact/wall", {"data": {"sampling": "episode"}}))
    with pytest.raises(ConfigError, match=r"data\.image_size=32 and encoder\.model\.image_size=16 must be equal"):
        encoder = {"weights": "", "model": {"image_size": 16}}
        check(load_recipe("compact/wall", {"data": {"image_size": 32}, "encoder": encoder}))
    settings = {"data": {"path": str(tmp_path / "out/data.h5")}}
    with pytest.raises(ConfigError, match=r"The images are 32 x 32, but the encoder reads 64 x 64; resize them"):
        main("compact/wall", settings=settings, out=tmp_path / "new", resume=False, progress=quiet)
    with pytest.raises(UsageError, match="says itself what window is; leave the setting out"):
        evaluate("jepa_wm_wall@official", "JepaWM/Wall-v0", episodes=1, weights=str(trained), settings={"window": 3})


def test_a_random_compact_encoder_is_one_that_was_not_trained(tmp_path):
    model = {"image_size": 16, "channels": [4, 8, 8], "latent_dim": 4}
    settings = {
        "data": {"episodes": 4, "steps": 20, "image_size": 16},
        "encoder": {"weights": "", "steps": 0, "model": model},
        "model": {"predictor": {"width": 16, "proprio_width": 8, "depth": 1, "heads": 2}},
        "train": {"steps": 1, "batch_size": 4, "validation_windows": 4, "alarms": False, "device": "cpu"},
    }
    found = load_world_model(main("compact/wall", settings=settings, out=tmp_path, resume=False, progress=quiet))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = build_encoder({"family": "compact", "mixing": 1, **model})
    assert torch.equal(found.encoder.state_dict()["net.0.weight"], fresh.state_dict()["net.0.weight"])
    assert not torch.equal(found.encoder.state_dict()["std"], torch.ones(4))
    assert not (tmp_path / "encoder.csv").exists()

"""A tiny training from data to weights: it learns, and an interruption changes nothing."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from jepawm_agents.errors import AgentError, ConfigError, WeightsError
from jepawm_agents.heads.by_agent import world_model_of
from jepawm_agents.heads.frozen_encoder import FrozenEncoder
from jepawm_agents.training import eb_jepa, world_model
from jepawm_agents.training.data import Episodes, Windows, step_generator
from jepawm_agents.training.loop import LoopSettings, run_loop
from jepawm_agents.training.recipes import list_recipes, load_recipe
from jepawm_agents.training.run import main
from jepawm_agents.training.shipped_encoder import shipped_encoder
from jepawm_agents.world_models.weights import load_world_model
from jepawm_envs.data import EpisodeStore, collect

WALL = "compact/wall"
PREDICTORS = {
    "compact/wall": {"width": 16, "proprio_width": 8, "depth": 1, "heads": 2, "mlp_ratio": 2.0},
    "compact/wall_dino_wm": {
        "action_width": 8,
        "proprio_width": 8,
        "depth": 1,
        "heads": 2,
        "head_dim": 8,
        "mlp_dim": 32,
    },
}
both_families = pytest.mark.parametrize("recipe", list(PREDICTORS))
ENCODER_STEPS, PREDICTOR_STEPS = 110, 60


def tiny(recipe: str = WALL, **train: Any) -> dict[str, Any]:
    """Changes that make a recipe take about a second."""
    return {
        "data": {"episodes": 24, "steps": 35, "image_size": 16},
        "encoder": {
            "weights": "",
            "steps": ENCODER_STEPS,
            "batch_size": 16,
            "model": {"image_size": 16, "channels": [4, 8, 8], "latent_dim": 4},
        },
        "model": {"predictor": PREDICTORS[recipe]},
        "train": {
            "steps": PREDICTOR_STEPS,
            "batch_size": 16,
            "learning_rate": 5e-3,
            "log_every": 1,
            "validate_every": 30,
            "checkpoint_every": 20,
            **train,
        },
    }


def quiet(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    pass


class Killed(Exception):
    """Stands for whatever ends a process."""


def killed_at(stage: str, step: int) -> Callable[..., None]:
    def progress(at: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if (at, done) == (stage, step):
            raise Killed

    return progress


def train(out: Path, recipe: str = WALL, *, resume: bool = False, progress=quiet, settings=None) -> Path:
    return main(recipe, settings=settings or tiny(recipe), out=out, resume=resume, progress=progress)


def curve(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def assert_same(one: Path, other: Path) -> None:
    models = [load_world_model(folder / "model.safetensors").state_dict() for folder in (one, other)]
    assert models[0].keys() == models[1].keys()
    for key, value in models[0].items():
        assert torch.equal(models[1][key], value), key


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An undisturbed tiny training and the loss of every step of its predictor."""
    out, losses = tmp_path_factory.mktemp("training"), []

    def progress(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if stage == "predictor":
            losses.append(figures["loss"])

    train(out, progress=progress)
    return out, losses


def test_the_loss_of_the_predictor_falls(finished):
    _, losses = finished
    assert len(losses) == PREDICTOR_STEPS
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_the_folder_holds_weights_curves_and_the_recipe(finished):
    out, _ = finished
    rows = curve(out / "predictor.csv")
    assert [row["step"] for row in rows] == [str(step + 1) for step in range(PREDICTOR_STEPS)]
    assert all(row["loss"] for row in rows)
    assert [row["step"] for row in rows if row["val_1"]] == ["30", "60"]
    assert [row["step"] for row in curve(out / "encoder.csv") if row["alarm"]] == ["22", "44", "66", "88", "110"]
    for name in ("model.safetensors", "encoder.safetensors", "recipe.json", "data.h5"):
        assert (out / name).is_file()


def test_the_trained_model_loads_and_imagines(finished):
    model = load_world_model(finished[0] / "model.safetensors")
    latent = model.encode(np.zeros((1, 16, 16, 3), np.uint8), np.array([[20.0, 30.0]]))
    imagined = model.rollout(latent, torch.zeros(1, 3, 4, 10))
    assert imagined.visual.shape == (1, 3, 5, 4, 4)
    assert torch.isfinite(imagined.visual).all()


@both_families
def test_a_training_killed_in_every_stage_and_resumed_equals_an_undisturbed_one(tmp_path, finished, recipe):
    whole, parts = finished[0] if recipe == WALL else tmp_path / "whole", tmp_path / "parts"
    if recipe != WALL:
        train(whole, recipe)
    for number, place in enumerate([("data", 11), ("encoder", 105), ("predictor", 33), ("predictor", 59)]):
        with pytest.raises(Killed):
            train(parts, recipe, resume=number > 0, progress=killed_at(*place))
    train(parts, recipe, resume=True)
    assert_same(whole, parts)
    for name in ("encoder.csv", "predictor.csv"):
        assert curve(whole / name) == curve(parts / name)


def test_resuming_a_finished_training_changes_nothing(tmp_path, finished):
    out, _ = finished
    kept = shutil.copytree(out, tmp_path / "kept")
    stages = []
    train(out, resume=True, progress=lambda stage, *rest: stages.append(stage))
    assert stages == []
    assert_same(out, kept)


def test_another_seed_gives_another_model(tmp_path, finished):
    data = {**tiny(seed=1)["data"], "path": str(finished[0] / "data.h5")}
    encoder = {**tiny()["encoder"], "weights": str(finished[0] / "encoder.safetensors")}
    path = train(tmp_path, settings={**tiny(seed=1, steps=5), "data": data, "encoder": encoder})
    one = load_world_model(finished[0] / "model.safetensors").state_dict()
    other = load_world_model(path).state_dict()
    assert not torch.equal(one["predictor.predictor_embed.weight"], other["predictor.predictor_embed.weight"])
    assert torch.equal(one["encoder.net.0.weight"], other["encoder.net.0.weight"])  # taken over, not trained


def test_a_folder_with_a_training_is_not_overwritten(finished):
    with pytest.raises(AgentError, match="holds a training already; add --resume to continue it, or choose another"):
        train(finished[0])
    with pytest.raises(AgentError, match="holds a training with other settings; choose another --out"):
        train(finished[0], resume=True, settings=tiny(steps=61))


def test_unknown_settings_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"Did you mean train\.steps"):
        train(tmp_path / "out", settings={"train": {"stepps": 3}})
    assert not (tmp_path / "out").exists()


def test_the_shipped_encoder_is_taken_as_it_is(tmp_path):
    data = {"episodes": 2, "steps": 35}
    settings = {"data": data, "model": {"predictor": PREDICTORS[WALL]}, "train": {"steps": 1, "batch_size": 2}}
    state = torch.random.get_rng_state()
    path = train(tmp_path / "out", settings=settings)
    assert torch.equal(torch.random.get_rng_state(), state)
    trained = load_world_model(path)
    shipped = world_model_of("jepa_wm_wall").model
    assert FrozenEncoder.of(trained).sha256() == FrozenEncoder.of(shipped).sha256()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": {"steps": 5}}, r"encoder\.steps would have no effect: encoder\.weights=shipped"),
        ({"encoder": {"state": 1.0, "state_columns": [0]}}, r"encoder\.state, encoder\.state_columns would have no"),
        ({"encoder": {"model": {"latent_dim": 4}}}, "is not the encoder that comes with jepa_wm_wall"),
        ({"agent": "jepa_wm_pusht"}, "the recipe's own agent jepa_wm_wall, but agent=jepa_wm_pusht"),
    ],
)
def test_what_does_not_fit_the_shipped_encoder_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        train(tmp_path / "out", settings=changes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("recipe", [row["name"] for row in list_recipes() if row["name"].startswith("compact/")])
def test_every_compact_recipe_fits_what_ships(recipe):
    plan = load_recipe(recipe)
    if plan["kind"] == "world_model":
        world_model.check(plan)
        assert shipped_encoder(plan).latent_dim == plan["encoder"]["model"]["latent_dim"]
    if plan["kind"] == "eb_jepa":
        eb_jepa.check(load_recipe(recipe, {"encoder": {"weights": "shipped"}}))


def test_another_shipped_encoder_is_not_gone_on_with(tmp_path, monkeypatch):
    settings = {"data": {"episodes": 2, "steps": 35}, "model": {"predictor": PREDICTORS[WALL]}}
    settings["train"] = {"steps": 2, "batch_size": 2, "checkpoint_every": 1}
    with pytest.raises(Killed):
        train(tmp_path, settings=settings, progress=killed_at("predictor", 1))
    monkeypatch.setattr(world_model, "encoder_sha256", lambda encoder: "that of another release")
    with pytest.raises(AgentError, match="They differ in encoder_sha256"):
        train(tmp_path, settings=settings, resume=True)


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute on two idle cores; the suite shares them
def test_the_recipe_of_the_readme_learns_in_two_hundred_steps(tmp_path):
    command = [sys.executable, "-m", "jepawm_bench", "train", "--recipe", WALL, "--set", "train.steps=200"]
    subprocess.run([*command, "--out", str(tmp_path / "out")], check=True, capture_output=True)
    rows = curve(tmp_path / "out" / "predictor.csv")
    losses = {int(row["step"]): float(row["loss"]) for row in rows}
    assert sorted(losses) == [50, 100, 150, 200]
    assert losses[200] < 0.5 * losses[50]
    assert float(rows[-1]["val_6"]) < float(rows[-1]["val_copy_6"])
    assert load_world_model(tmp_path / "out" / "model.safetensors").config["encoder"]["image_size"] == 64


def test_unreadable_encoder_weights_are_refused(tmp_path, finished):
    bad = tmp_path / "encoder.safetensors"
    bad.write_bytes(b"nothing")
    settings = tiny()
    settings["encoder"]["weights"] = str(bad)
    settings["data"]["path"] = str(finished[0] / "data.h5")
    with pytest.raises(WeightsError, match=r"The encoder weights .*encoder\.safetensors cannot be read"):
        train(tmp_path / "out", settings=settings)


def test_training_leaves_the_global_generator_alone(tmp_path, finished):
    settings = tiny(steps=1)
    settings["encoder"]["steps"] = 1
    settings["data"]["path"] = str(finished[0] / "data.h5")
    state = torch.random.get_rng_state()
    train(tmp_path / "out", settings=settings)
    assert torch.equal(torch.random.get_rng_state(), state)


def loop(out: Path, loss_of_step, *, resume: bool = False, identity: Mapping[str, Any] | None = None):
    model = nn.Linear(1, 1)
    settings = LoopSettings(steps=3, learning_rate=0.1, weight_decay=0.0, log_every=1, checkpoint_every=1)
    return run_loop(
        "stage",
        model,
        settings,
        lambda step: loss_of_step(model, step),
        dict,
        out=out,
        identity=identity or {},
        resume=resume,
        progress=quiet,
    )


def plain(model: nn.Linear, step: int) -> torch.Tensor:
    return model.weight.square().sum() + model.bias.square().sum()


def test_a_loss_that_is_no_number_stops_the_training_with_advice(tmp_path):
    with pytest.raises(AgentError, match="The loss of stage is nan at step 1; lower the learning rate"):
        loop(tmp_path, lambda model, step: plain(model, step) * float("nan"))


def test_checkpoints_that_are_damaged_or_belong_to_others_are_refused(tmp_path):
    loop(tmp_path, plain)
    with pytest.raises(AgentError, match=r"stage\.ckpt belongs to other settings; choose another --out or delete it"):
        loop(tmp_path, plain, resume=True, identity={"steps": 4})
    (tmp_path / "stage.ckpt").write_bytes(b"half a file")
    with pytest.raises(AgentError, match=r"stage\.ckpt cannot be read .*delete it to start again"):
        loop(tmp_path, plain, resume=True)


def test_the_randomness_of_a_step_depends_on_seed_stage_and_step():
    def draw(seed: int = 0, stage: str = "encoder", step: int = 0) -> float:
        return float(step_generator(seed, stage, step).random())

    assert draw() == draw()
    assert len({draw(), draw(seed=1), draw(stage="predictor"), draw(step=1)}) == 4


def numbered_windows() -> Windows:
    """Three episodes of eight steps whose every entry says which episode and time it belongs to."""
    time, episode = torch.arange(9.0), 100 * torch.arange(3.0)[:, None]
    frames = (episode + time)[..., None]
    return Windows(visual=frames[..., None], actions=frames[:, :8] + 0.5, proprio=frames, frameskip=2)


def test_windows_put_every_action_between_its_frames():
    visual, action, proprio = numbered_windows().draw(np.random.default_rng(0), np.array([0, 2]), 50, 4)
    assert visual.shape == (50, 4, 1, 1) and action.shape == (50, 3, 2) and proprio.shape == (50, 4, 1)
    assert torch.equal(visual[..., 0], proprio)
    assert torch.equal(visual[:, 1:, 0, 0] - visual[:, :-1, 0, 0], torch.full((50, 3), 2.0))
    assert torch.equal(action, visual[:, :-1, 0] + torch.tensor([0.5, 1.5]))
    starts = set(visual[:, 0, 0, 0].tolist())
    assert starts == {0.0, 1.0, 2.0, 200.0, 201.0, 202.0}


def test_windows_longer_than_an_episode_are_refused():
    with pytest.raises(ValueError, match="Windows of 6 frames need episodes of 10 steps; these have 8"):
        numbered_windows().draw(np.random.default_rng(0), np.array([0]), 1, 6)


def test_the_split_is_fixed_disjoint_and_complete(finished):
    store = EpisodeStore(finished[0] / "data.h5")
    one, other = Episodes.load(store, 0.25), Episodes.load(store, 0.25)
    store.close()
    assert len(one.validation) == 6
    np.testing.assert_array_equal(np.sort(np.concatenate([one.train, one.validation])), np.arange(24))
    np.testing.assert_array_equal(one.train, other.train)


def test_thinned_data_give_the_windows_of_whole_data_that_begin_at_kept_frames(tmp_path):
    def windows(frameskip: int) -> tuple[Any, ...]:
        path = collect(
            "JepaWM/Wall-v0", tmp_path / f"data{frameskip}", episodes=4, steps=30, image_size=16, frameskip=frameskip
        )
        with EpisodeStore(path) as store:
            episodes = Episodes.load(store, 0.25)
        return episodes, episodes.primitive_actions

    whole, thin = windows(1), windows(5)
    torch.testing.assert_close(whole[1], thin[1], rtol=0, atol=0)
    torch.testing.assert_close(whole[0].pixels[:, ::5], thin[0].pixels, rtol=0, atol=0)
    torch.testing.assert_close(whole[0].actions.unflatten(1, (6, 5)).flatten(2), thin[0].actions, rtol=0, atol=0)


def test_a_model_step_must_begin_at_kept_frames(tmp_path):
    settings = tiny()
    settings["data"]["frameskip"] = 3
    with pytest.raises(ConfigError, match=r"model.frameskip=5 must be a multiple of data.frameskip=3"):
        train(tmp_path, settings=settings)


def test_training_on_thinned_data_gives_a_model_of_primitive_actions(tmp_path):
    settings = tiny(steps=4)
    settings["data"] |= {"frameskip": 5}
    model = load_world_model(train(tmp_path, settings=settings))
    assert model.config["action_dim"] == 2 and model.normaliser.action_mean.shape == (2,)


def test_an_encoder_may_learn_to_read_proprioception_and_labels(tmp_path):
    settings = tiny(steps=1)
    settings["encoder"] |= {"proprio": 1.0, "state": 2.0, "state_columns": [0, 1], "steps": 400}
    train(tmp_path, settings=settings)
    rows = curve(tmp_path / "encoder.csv")
    for name in ("val_proprio", "val_state"):  # 1.0: the mean of the targets
        first = next(row[name] for row in rows if row[name])
        assert float(rows[-1][name]) < min(0.7, float(first))


def test_labels_that_name_nothing_are_refused(tmp_path):
    settings = tiny()
    settings["encoder"] |= {"state": 1.0}
    with pytest.raises(ConfigError, match="state_columns and state_angles name none"):
        train(tmp_path, settings=settings)

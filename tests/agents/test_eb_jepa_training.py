"""EB-JEPA's training: the published settings, what is drawn, that it learns; and its agent plays and is verified."""

from __future__ import annotations

import csv
import json
import shutil
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from jepawm_agents.errors import AgentError, ConfigError
from jepawm_agents.heads.by_agent import world_model_of
from jepawm_agents.heads.frozen_encoder import FrozenEncoder
from jepawm_agents.planners import make_planner
from jepawm_agents.training import eb_jepa
from jepawm_agents.training.end_to_end import EndToEndTraining
from jepawm_agents.training.loop import LoopSettings, run_loop
from jepawm_agents.training.model_config import model_config
from jepawm_agents.training.recipes import load_recipe
from jepawm_agents.training.refine import encoded, stage, training_walks
from jepawm_agents.training.run import main
from jepawm_agents.training.schedules import learning_rate
from jepawm_agents.training.two_rooms import HELD_OUT, TwoRoomsWindows, sha256_of
from jepawm_agents.world_models.encoders.impala import ImpalaEncoder
from jepawm_agents.world_models.weights import build, load_world_model, world_model_notes
from jepawm_bench import evaluate
from jepawm_bench.errors import AgentFailed
from jepawm_bench.verify import verify
from jepawm_envs.data import collect
from jepawm_envs.errors import DataError
from jepawm_envs.tworooms.drawing import draw_two_channels
from jepawm_envs.tworooms.trajectories import generate

COMPACT, FULL = "compact/two_rooms", "full/two_rooms_eb_jepa"
ROOMS = "JepaWM/TwoRooms-v0"
PLANNER = {"num_samples": 24, "num_elites": 6, "iterations": 2, "horizon": 4, "execution_horizon": 1}


def tiny(**train: Any) -> dict[str, Any]:
    """Changes that make the compact recipe take a few seconds."""
    return {
        "data": {"image_size": 33},
        "encoder": {"model": {"image_size": 33, "channels": [4, 4, 8], "latent_dim": 16}},
        "model": {"frameskip": 5, "predictor": {"substeps": 5}},
        "refine": {"steps": 0, "predictor": {"family": "gated", "width": 24}},
        "train": {
            "steps": 120,
            "batch_size": 24,
            "frames": 5,
            "rollout_steps": 4,
            "inverse_dynamics_width": 16,
            "probe_width": 16,
            "learning_rate": 5e-3,
            "layout": 0.0,
            "regulariser": {"similarity": 1.0},
            "precision": "float32",
            "log_every": 1,
            "validate_every": 30,
            "checkpoint_every": 10,
            **train,
        },
    }


def quiet(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    pass


class Killed(Exception):
    """Stands for whatever ends a process."""


def train(out: Path, settings: Mapping[str, Any] | None = None, *, resume: bool = False, progress=quiet) -> Path:
    return main(COMPACT, settings=settings or tiny(), out=out, resume=resume, progress=progress)


def curve(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v and k != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, list[float]]:
    """An undisturbed tiny training and the loss of every step."""
    out, losses = tmp_path_factory.mktemp("eb_jepa"), []
    train(out, progress=lambda stage, done, total, figures: losses.append(figures["loss"]))
    return out, losses


@pytest.fixture(scope="module")
def weights(finished) -> str:
    return str(finished[0] / "model.safetensors")


# The published configuration -----------------------------------------------------------------------------


def test_the_full_recipe_is_the_published_training():
    """Transcribed from eb_jepa's train.yaml and main.py (commit 966e61e)."""
    recipe = load_recipe(FULL)
    eb_jepa.check(recipe)
    assert (
        recipe["train"]
        | {
            "steps": 12 * 260,
            "batch_size": 384,
            "frames": 17,
            "rollout_steps": 8,
            "learning_rate": 1e-3,
            "final_learning_rate": 1e-5,
            "warm_up": 0.1,
            "weight_decay": 1e-5,
            "clip_grad": 2.0,
            "precision": "bf16",
            "regulariser": {"variance": 16.0, "covariance": 8.0, "similarity": 12.0, "inverse_dynamics": 1.0},
        }
        == recipe["train"]
    )
    assert (recipe["data"]["steps"], recipe["data"]["episodes"], recipe["data"]["collisions"]) == (90, 0, "stop")
    assert (recipe["model"]["frameskip"], recipe["data"]["image_size"]) == (1, 65)


def test_the_full_recipe_has_the_published_number_of_parameters():
    training = end_to_end(load_recipe(FULL, {"train": {"batch_size": 1}}))
    parts = training.encoder, training.predictor, training.inverse_dynamics, training.probe
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    assert counts == [1_426_096, 792_576, 328_706, 263_682] and sum(counts[:3]) == 2_547_378


def test_the_learning_rate_rises_for_312_steps_and_ends_at_a_hundredth():
    settings = LoopSettings.of(load_recipe(FULL)["train"])
    keys: dict[str, Any] = {
        "start": settings.start_learning_rate,
        "final": settings.final_learning_rate,
        "warm_up": settings.warm_up,
    }
    rates = [learning_rate(step, settings.steps, peak=settings.learning_rate, **keys) for step in range(3120)]
    assert rates[0] == pytest.approx(1e-3 / 312, rel=1e-4) and rates[311] == max(rates) == 1e-3
    assert rates[312 + 1404] == pytest.approx((1e-3 + 1e-5) / 2) and rates[-1] == pytest.approx(1e-5, rel=1e-3)


def test_the_full_variant_plans_as_published():
    card = tomllib.loads((files("jepawm_agents.cards") / "eb_jepa_two_rooms.toml").read_text())
    for variant, executed, bounds in (("compact", 5, 1.7), ("full", 1, {"0": 2.45, "1": 2.45})):
        table = dict(card["variants"][variant]["planner"])
        planner: Any = make_planner(table.pop("name"), **table)
        frameskip = load_recipe(card["variants"][variant]["recipe"])["model"]["frameskip"]
        assert (frameskip, planner.horizon, planner.execution_horizon, planner.bounds) == (1, 90, executed, bounds)
        objective = card["variants"][variant]["objective"]
        assert objective.items() >= {"name": "L2", "reduce": "sum", "alpha": 0.0}.items()
        assert ("ramp" in objective) == (variant == "compact")
    assert (planner.num_samples, planner.iterations, planner.num_elites, planner.init_std) == (200, 20, 20, 2.0)


def test_every_ablation_is_a_change_that_the_recipe_takes():
    grids = tomllib.loads((files("jepawm_agents.training.recipes") / "ablations" / "eb_jepa.toml").read_text())
    for grid in grids.values():
        assert grid["recipe"] == COMPACT
        plain = load_recipe(COMPACT, grid["cells"]["published"])
        assert plain["train"]["layout"] == plain["refine"]["steps"] == 0
        for name, changes in grid["cells"].items():
            changed = load_recipe(COMPACT, changes)
            assert (changed == plain) == (name == "published"), name
            eb_jepa.check(changed)


# What is drawn -------------------------------------------------------------------------------------------


def windows(frames: int = 4, batch_size: int = 6, frameskip: int = 5, **data: Any) -> TwoRoomsWindows:
    recipe = load_recipe(COMPACT, {"data": data})
    return TwoRoomsWindows(recipe["data"], frameskip=frameskip, frames=frames, batch_size=batch_size)


def end_to_end(plan: Mapping[str, Any]) -> EndToEndTraining:
    settings, frameskip = plan["train"], plan["model"]["frameskip"]
    source = TwoRoomsWindows(
        plan["data"], frameskip=frameskip, frames=settings["frames"], batch_size=settings["batch_size"]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(model_config(plan, eb_jepa.ACTION_DIM, eb_jepa.PROPRIO_DIM))
        return EndToEndTraining(*eb_jepa._parts(model), source.of_step, source.held_out(), settings)


def test_windows_hold_the_frames_and_actions_of_one_stretch_of_a_walk():
    batch = windows(jitter=0.5).of_step(7)
    assert batch.pixels.shape == (6, 4, 65, 65, 2) and batch.actions.shape == (6, 4, 10)
    walks = generate(0, range(7 * 6, 8 * 6), jitter=0.5)
    for row in range(6):
        where = np.flatnonzero((walks.states[row, :, :2] == batch.positions[row, 0].numpy()).all(axis=1))
        assert any(
            np.array_equal(walks.states[row, start : start + 16 : 5, :2], batch.positions[row])
            and np.array_equal(walks.actions[row, start : start + 20].reshape(4, 10), batch.actions[row])
            and np.array_equal(draw_two_channels(walks.states[row, start : start + 16 : 5]), batch.pixels[row])
            for start in where
        )


@pytest.mark.parametrize("episodes", [0, 50])
def test_a_batch_is_a_function_of_seed_and_step(episodes):
    one, other = windows(episodes=episodes), windows(episodes=episodes)
    other.of_step(0)
    assert all(torch.equal(a, b) for a, b in zip(one.of_step(3), other.of_step(3), strict=True))
    assert not torch.equal(one.of_step(3).actions, one.of_step(4).actions)
    assert not torch.equal(one.of_step(3).actions, windows(episodes=episodes, seed=1).of_step(3).actions)


def test_walks_that_are_made_anew_are_hashed_by_those_of_the_first_step():
    digest = windows(episodes=0).sha256
    assert digest == windows(episodes=0).sha256
    assert digest == sha256_of(generate(0, range(windows(episodes=0).batch_size)))
    assert len({digest, windows(episodes=0, seed=1).sha256, windows(episodes=0, jitter=0.5).sha256}) == 3


def test_the_walks_of_the_recipe_are_those_that_it_names():
    text = (files("jepawm_agents.training.recipes") / "compact" / "two_rooms.toml").read_text()
    plan, reached = load_recipe(COMPACT), tomllib.loads(text)["reached"]
    source = eb_jepa._windows(plan)
    assert source.sha256 == reached["data_sha256"]
    assert sha256_of(training_walks(source, stage(plan))) == reached["refine_data_sha256"]
    for seed in (1, 2):
        path = Path(str(files("jepawm_agents"))) / "weights" / f"eb_jepa_two_rooms_seed{seed}.safetensors"
        assert world_model_notes(path)["refine_data_sha256"] == reached["refine_data_sha256"]


def test_several_processes_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(eb_jepa.Ranks, "current", lambda: eb_jepa.Ranks(0, 2))
    with pytest.raises(ConfigError, match="EB-JEPA is trained by one process"):
        eb_jepa.check(load_recipe(COMPACT))


def test_a_collapsed_encoder_raises_the_alarm(capsys):
    training = end_to_end(load_recipe(COMPACT, tiny()))
    # A healthy one is as wide as the variance term asks for; what is learned here is one dimension's width.
    with torch.no_grad():
        training.encoder.final_ln.weight.fill_(1.0)
        assert training.validate()["alarm"] == 0.0, capsys.readouterr().err
        training.encoder.final_ln.weight.fill_(1e-3)
    assert training.validate()["alarm"] >= 1.0
    assert "of the latents hardly differ between frames" in capsys.readouterr().err


def test_kept_walks_are_used_again_and_hashed_and_held_out_ones_are_others():
    source = windows(episodes=3, batch_size=40)
    starts = {tuple(layout) for layout in generate(0, range(3)).states[:, 0, 2:].astype(int).tolist()}
    drawn = source.of_step(0).pixels[:, 0, ..., 1].flatten(1)
    assert len(torch.unique(drawn, dim=0)) == len(starts) == 3
    assert source.sha256 != windows(episodes=4).sha256
    first = generate(0, [HELD_OUT]).actions[0]
    held_out = source.held_out().actions[0].reshape(-1, 2).numpy()
    assert any(np.array_equal(first[start : start + 20], held_out) for start in range(71))


def test_walks_can_come_from_a_stored_data_set(tmp_path):
    path = collect(ROOMS, tmp_path / "rooms.h5", episodes=10, steps=40, seed=4, image_size=16)
    source = windows(path=str(path))
    walks = generate(4, range(10), steps=40)
    known = {walk[step].tobytes() for walk in walks.states[:9, :, :2] for step in range(41)}
    assert all(position.numpy().tobytes() in known for position in source.of_step(0).positions.flatten(0, 1))
    held = {position.tobytes() for position in walks.states[9, :, :2]}
    assert all(position.numpy().tobytes() in held for position in source.held_out().positions.flatten(0, 1))


# The training --------------------------------------------------------------------------------------------


def test_the_loss_falls_and_the_probe_finds_the_dot(finished):
    out, losses = finished
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    rows = [row for row in curve(out / "eb_jepa.csv") if "val_4" in row]
    assert [row["step"] for row in rows] == [30, 60, 90, 120]
    chance = 22.8  # root mean squared distance of positions from their mean, 16.1 px a coordinate
    assert rows[-1]["probe_px"] < 0.6 * chance
    assert rows[-1]["val_4"] < 0.9 * rows[-1]["val_shuffled_4"]
    assert {"val_variance", "val_covariance", "val_similarity", "val_inverse_dynamics", "effective_rank"} < set(rows[0])


def test_a_training_killed_and_resumed_equals_an_undisturbed_one(tmp_path, finished):
    def kill(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if done == 37:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "parts", progress=kill)
    train(tmp_path / "parts", resume=True)
    assert curve(tmp_path / "parts" / "eb_jepa.csv") == curve(finished[0] / "eb_jepa.csv")
    for name in ("model", "probe", "inverse_dynamics"):
        one, other = (load_file(folder / f"{name}.safetensors") for folder in (finished[0], tmp_path / "parts"))
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_the_file_says_how_it_came_about_and_holds_what_plays(finished, weights):
    model = load_world_model(Path(weights))
    assert model.normaliser.is_identity() and model.config["frameskip"] == 5
    assert not any(key.startswith(("probe", "inverse")) for key in model.state_dict())
    with safe_open(weights, framework="pt") as file:
        notes = json.loads(file.metadata()["world_model"])["notes"]
    assert notes["recipe"]["name"] == COMPACT and len(notes["data_sha256"]) == 64
    assert notes["made_with"] == {"torch": str(torch.__version__), "device": "cpu", "threads": torch.get_num_threads()}
    assert notes["validation"]["probe_px"] == curve(finished[0] / "eb_jepa.csv")[-1]["probe_px"]


def test_planning_while_training_is_recorded_and_changes_nothing(tmp_path):
    played = {"every": 8, "episodes": 1, "settings": {"planner": PLANNER}}
    for name, table in (("plain", {}), ("played", {"evaluate": played})):
        train(tmp_path / name, tiny(steps=12, validate_every=12) | table)
    rows = curve(tmp_path / "played" / "eb_jepa.csv")
    assert [(row["step"], row["success_n"]) for row in rows if "success_n" in row] == [(8, 1.0), (12, 1.0)]
    models = [load_world_model(tmp_path / name / "model.safetensors").state_dict() for name in ("plain", "played")]
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])


def test_the_layout_is_learned_where_it_is_asked_for(tmp_path):
    rows = [
        curve(train(tmp_path / name, tiny(layout=weight)).parent / "eb_jepa.csv")[-1]
        for name, weight in (("asked", 100.0), ("not", 0.0))
    ]
    assert rows[0]["layout_px"] < 5.0 and "layout_px" not in rows[1]  # the places themselves deviate by 10.6


def test_the_layout_head_teaches_the_encoder_and_counts_by_its_weight():
    losses, gradients = [], []
    for weight in (0.0, 1.0, 3.0):
        training = end_to_end(load_recipe(COMPACT, tiny(layout=weight)))
        loss = training.loss_of_step(0)
        loss.backward()
        losses.append(loss.item())
        gradients.append(next(training.encoder.parameters()).grad)
    assert losses[2] - losses[0] == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-4) and losses[1] > losses[0]
    assert not torch.allclose(gradients[0], gradients[1])


def test_the_probe_teaches_the_model_nothing():
    training = end_to_end(load_recipe(COMPACT, tiny()))
    training.loss_of_step(0).backward()
    with_probe = {name: p.grad.clone() for name, p in training.named_parameters() if p.grad is not None}
    assert any(name.startswith("probe.") for name in with_probe)
    training.zero_grad(set_to_none=True)
    training.probe.loss = lambda latents, positions: torch.zeros(())  # type: ignore[method-assign]
    training.loss_of_step(0).backward()
    without = {name: p.grad for name, p in training.named_parameters() if p.grad is not None}
    assert without.keys() == {name for name in with_probe if not name.startswith("probe.")}
    assert all(torch.equal(with_probe[name], gradient) for name, gradient in without.items() if gradient is not None)


def test_encoder_and_predictor_are_clipped_apart_and_the_head_not_at_all(tmp_path):
    training = end_to_end(load_recipe(COMPACT, tiny()))
    seen: dict[str, float] = {}

    def norm(module: torch.nn.Module) -> float:
        return float(torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]).norm())

    def loss(step: int) -> torch.Tensor:
        return 1e3 * training.loss_of_step(step)

    def validate() -> dict[str, float]:
        parts = {"encoder": training.encoder, "gru": training.predictor, "head": training.inverse_dynamics}
        seen.update({name: norm(part) for name, part in parts.items()})
        return {}

    settings = LoopSettings(steps=1, learning_rate=1e-3, weight_decay=0.0, clip_grad=2.0)
    run_loop("x", training, settings, loss, validate, out=tmp_path, identity={}, resume=False, progress=quiet,
             clipped=training.clipped)  # fmt: skip
    assert 0.5 < seen["encoder"] <= 2.0 + 1e-4 and 0.5 < seen["gru"] <= 2.0 + 1e-4 and seen["head"] > 20.0


def test_bf16_is_the_encoders_and_changes_little():
    training = end_to_end(load_recipe(COMPACT, tiny()))
    exact = training.loss_of_step(0).item()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = training.loss_of_step(0)
    assert rounded.dtype == torch.float32
    rounded = rounded.item()
    assert exact != rounded and rounded == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"env": "JepaWM/Wall-v0"}}, "EB-JEPA is trained on JepaWM/TwoRooms-v0"),
        ({"data": {"collisions": "bouncy"}}, "data.collisions='bouncy' is not known; choose bounce or stop"),
        ({"data": {"collisions": "stop", "jitter": 0.5}}, "data.jitter is a number of pixels from 0 up"),
        ({"data": {"layout": [32]}}, r"data.layout=\[32\] is not possible"),
        ({"data": {"layout": [5, 30]}}, r"data.layout=\[5, 30\] is not possible"),
        ({"data": {"episodes": -1}}, "data.episodes must be at least 0"),
        ({"data": {"image_size": 64}}, "data.image_size=64 and encoder.model.image_size=65 must be equal"),
        (
            {"data": {"steps": 44}, "model": {"frameskip": 5}, "refine": {"rollout_steps": 8}},
            "walks of 45 steps; these have 44",
        ),
        ({"train": {"rollout_steps": 9}}, "train.rollout_steps=9 needs more frames than train.frames=9"),
        ({"train": {"layout": -1.0}}, "train.layout=-1.0 is not possible"),
        ({"train": {"steps": 0}}, "steps=0 is not possible"),
        ({"train": {"batch_size": 0}}, "train.batch_size=0 is not possible"),
        ({"train": {"precision": "bf61"}}, r"Unknown precision of a training 'bf61'\. Did you mean bf16"),
        ({"train": {"device": "gpu"}}, "Unknown train.device 'gpu'"),
        ({"encoder": {"model": {"stride": 0}}}, "stride=0 on 65 pixels is not possible"),
        ({"encoder": {"model": {"family": "impalla"}}}, "The encoder family of EB-JEPA is 'impala', not 'impalla'"),
        ({"data": {"path": "nowhere.h5"}, "refine": {"steps": 0}}, "There is no data set at nowhere.h5"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, changes, message):
    with pytest.raises((ConfigError, DataError), match=message):
        train(tmp_path, changes)


def test_a_store_of_another_environment_is_refused(tmp_path):
    path = collect("JepaWM/Wall-v0", tmp_path / "wall.h5", episodes=2, steps=5, image_size=16)
    with pytest.raises(ConfigError, match="does not hold every step of JepaWM/TwoRooms-v0"):
        windows(path=str(path))


@pytest.mark.parametrize(("stride", "blocks", "image_size"), [(1, 2, 65), (2, 1, 65), (3, 0, 64), (2, 1, 33)])
def test_strided_encoders_fit_their_pictures(stride, blocks, image_size):
    encoder = ImpalaEncoder(image_size=image_size, channels=(4, 8), latent_dim=6, blocks=blocks, stride=stride)
    assert encoder(torch.zeros(2, image_size, image_size, 2, dtype=torch.uint8)).shape == (2, 1, 6)


# The second stage ----------------------------------------------------------------------------------------

REFINED = {
    "steps": 60,
    "episodes": 40,
    "rollout_steps": 8,
    "batch_size": 32,
    "learning_rate": 5e-3,
    "validate_every": 20,
}


@pytest.fixture(scope="module")
def refined(finished, tmp_path_factory) -> Path:
    """The tiny training continued by the second stage, in a copy of its folder."""
    return refine(finished[0], tmp_path_factory.mktemp("refined") / "out")


def refine(first_stage: Path, out: Path, progress=quiet, **changes: Any) -> Path:
    shutil.copytree(first_stage, out, ignore=shutil.ignore_patterns("model.safetensors"))
    settings = {**tiny(), "refine": {**REFINED, "predictor": tiny()["refine"]["predictor"], **changes}}
    main(COMPACT, settings=settings, out=out, resume=True, progress=progress)
    return out


def test_the_second_stage_changes_the_predictor_alone_and_long_rollouts_gain(finished, refined):
    before, after = (load_file(out / "model.safetensors") for out in (finished[0], refined))
    encoder = {key for key in before if not key.startswith("predictor.")}
    assert encoder == {key for key in after if not key.startswith("predictor.")}
    assert all(torch.equal(before[key], after[key]) for key in encoder)
    assert sum(value.numel() for key, value in after.items() if key not in encoder) == (26 + 1) * 48 + (24 + 1) * 16
    rows = [row for row in curve(refined / "refine.csv") if "val_8" in row]
    assert rows[-1]["val_8"] < rows[0]["val_8"] and rows[-1]["val_18"] < rows[0]["val_18"]
    assert rows[-1]["val_8"] < 0.8 * rows[-1]["val_shuffled_8"]


def test_the_predictor_of_the_first_stage_may_go_on(finished, tmp_path):
    out = refine(finished[0], tmp_path / "out", predictor={"family": "same"})
    fresh = curve(refine(finished[0], tmp_path / "fresh", predictor={"family": "gru", "substeps": 5}) / "refine.csv")
    assert curve(out / "refine.csv")[0]["val_1"] < 0.8 * fresh[0]["val_1"]
    before, after = (load_file(folder / "model.safetensors") for folder in (finished[0], out))
    changed = {key.partition(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert before.keys() == after.keys() and changed == {"predictor"}


def test_latents_of_whole_walks_are_those_that_planning_sees(refined):
    model = load_world_model(refined / "model.safetensors")
    made = windows(steps=23, image_size=33)
    walks = made.whole_walks(7, 70, 0.5)
    found = encoded(model, walks, made, quiet)
    pixels = draw_two_channels(walks.states[65, 10:11], 33)
    assert found.latents.shape == (70, 5, 16) and found.actions.shape == (70, 4, 10)
    planned = model.encode(pixels, np.zeros((1, 2))).visual[0, 0]
    torch.testing.assert_close(found.latents[65, 2], planned, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model.encoder(torch.from_numpy(pixels))[0, 0], planned, atol=1e-2)
    np.testing.assert_array_equal(found.actions[65].reshape(20, 2), walks.actions[65, :20])


def test_the_second_stage_killed_and_resumed_equals_an_undisturbed_one(tmp_path, finished, refined):
    def kill(stage, done, total, figures):
        if stage == "refine" and done == 30:
            raise Killed

    with pytest.raises(Killed):
        refine(finished[0], tmp_path / "out", kill, checkpoint_every=10)
    resume_refined(tmp_path / "out")
    assert curve(tmp_path / "out/refine.csv") == curve(refined / "refine.csv")
    one, other = (load_file(out / "model.safetensors") for out in (tmp_path / "out", refined))
    assert all(torch.equal(one[key], other[key]) for key in one)


def on_given_encoder(weights: str, **changes: Any) -> dict[str, Any]:
    settings = tiny()
    refine = {**REFINED, "predictor": settings["refine"]["predictor"]}
    of_the_first = {*eb_jepa.FIRST_STAGE_ALONE, *load_recipe(COMPACT)["refine"]}
    train = {key: value for key, value in settings["train"].items() if key not in of_the_first}
    return (
        settings | {"encoder": {**settings["encoder"], "weights": weights}, "refine": refine, "train": train} | changes
    )


def test_the_second_stage_alone_is_that_of_the_whole_recipe(tmp_path, weights, refined):
    stages: set[str] = set()
    out, words = tmp_path / "out", {"resume": False, "progress": lambda stage, *_: stages.add(stage)}
    path = main(COMPACT, settings=on_given_encoder(weights), out=out, **words)
    assert stages == {"latents", "refine"}
    one, other = load_file(path), load_file(refined / "model.safetensors")
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    notes = world_model_notes(path)
    assert notes["refine_data_sha256"] == world_model_notes(refined / "model.safetensors")["refine_data_sha256"]
    assert notes["recipe"]["encoder"]["weights"] == "model.safetensors"
    load_recipe(COMPACT, {"encoder": notes["recipe"]["encoder"]})  # what a file says can be said again


def test_another_seed_gives_another_predictor_on_the_shipped_encoder(tmp_path):
    plan = {"refine": {**REFINED, "steps": 1, "episodes": 2}, "train": {"seed": 3}, "encoder": {"weights": "shipped"}}
    path = main(COMPACT, settings=plan, out=tmp_path / "out", resume=False, progress=quiet)
    trained, shipped = load_world_model(path), world_model_of("eb_jepa_two_rooms").model
    assert FrozenEncoder.of(trained).sha256() == FrozenEncoder.of(shipped).sha256()
    predictors = [next(iter(model.predictor.parameters())) for model in (trained, shipped)]
    assert predictors[0].shape == predictors[1].shape and not torch.equal(*predictors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"refine": {"steps": 0}}, "leaves the second stage alone to train"),
        ({"refine": {"predictor": {"family": "same"}}}, "leaves the second stage alone to train"),
        ({"encoder": {"weights": "shipped", "model": {"latent_dim": 8}}}, "is not the encoder that comes with eb_jepa"),
        ({"train": {"layout": 0.0, "steps": 7}}, r"train\.steps, train\.layout would have no effect"),
        ({"agent": "jepa_wm_wall"}, "the recipe's own agent eb_jepa_two_rooms"),
    ],
)
def test_a_given_encoder_that_cannot_be_built_upon_is_refused(tmp_path, changes, message):
    settings = {"encoder": {"weights": "shipped"}} | changes
    with pytest.raises(ConfigError, match=message):
        main(COMPACT, settings=settings, out=tmp_path / "out", resume=False, progress=quiet)


def resume_refined(out: Path, progress=quiet) -> None:
    plan = json.loads((out / "recipe.json").read_text())
    main(COMPACT, settings={**tiny(), "refine": plan["refine"]}, out=out, resume=True, progress=progress)


def test_a_finished_second_stage_encodes_nothing_more(tmp_path, refined):
    stages: set[str] = set()
    out = tmp_path / "out"
    shutil.copytree(refined, out)
    resume_refined(out, lambda stage, *_: stages.add(stage))
    assert stages == set() and (out / "model.safetensors").read_bytes() == (refined / "model.safetensors").read_bytes()


def test_the_second_stage_learns_from_walks_of_its_own_and_is_measured_on_others(monkeypatch, finished, tmp_path):
    asked: list[tuple[int, int, float]] = []
    made = TwoRoomsWindows.whole_walks

    def noted(self, first: int, count: int, wander: float):
        asked.append((first, count, wander))
        return made(self, first, count, wander)

    monkeypatch.setattr(TwoRoomsWindows, "whole_walks", noted)
    refine(finished[0], tmp_path / "out", wander=0.25)
    (train_first, train_count, _), (held_first, held_count, _) = sorted(set(asked))
    assert {share for _, _, share in asked} == {0.25} and train_count == 40
    assert 120 * 24 < train_first < train_first + train_count <= HELD_OUT < held_first and held_count > 0


def test_a_second_stage_of_another_encoder_is_not_continued(tmp_path, refined):
    out = tmp_path / "out"
    shutil.copytree(refined, out)
    state = torch.load(out / "eb_jepa.ckpt", weights_only=True)
    first = next(key for key in state["modules"] if key.startswith("encoder.") and key.endswith("weight"))
    state["modules"][first] += 0.01
    torch.save(state, out / "eb_jepa.ckpt")
    with pytest.raises(AgentError, match=r"refine\.ckpt belongs to other settings"):
        resume_refined(out)


def test_notes_describe_the_predictor_that_is_in_the_file(refined):
    with safe_open(refined / "model.safetensors", framework="pt") as file:
        figures = json.loads(file.metadata()["world_model"])["notes"]["validation"]
    last, first_stage = (curve(refined / f"{name}.csv")[-1] for name in ("refine", "eb_jepa"))
    assert figures["val_8"] == last["val_8"] and figures["alarm"] == last["alarm"]
    assert figures["probe_px"] == first_stage["probe_px"] and "imagined_px_8" not in figures


def test_planning_is_recorded_in_the_second_stage_too(tmp_path):
    settings = {**tiny(), "refine": {**REFINED, "predictor": tiny()["refine"]["predictor"], "validate_every": 20}}
    played = {"every": 60, "episodes": 1, "settings": {"planner": PLANNER}}
    main(COMPACT, settings={**settings, "evaluate": played, "train": {**tiny()["train"], "steps": 12}},
         out=tmp_path, resume=False, progress=quiet)  # fmt: skip
    assert curve(tmp_path / "refine.csv")[-1]["success_n"] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"refine": {"wander": 1.5}}, "refine.wander=1.5 is not possible"),
        ({"refine": {"rollout_steps": 91, "steps": 5}}, "walks of data.steps=90 have 90 model steps"),
        ({"refine": {"episodes": 0}}, "refine.episodes=0 is not possible"),
        ({"refine": {"learning": 1}}, "learning"),
        ({"refine": {"predictor": {"family": "gatd"}}}, "Unknown predictor family of a second stage 'gatd'"),
        ({"refine": {"predictor": {"family": "adaln"}}}, "Unknown predictor family of a second stage 'adaln'"),
        ({"refine": {"predictor": {"family": "gated", "width": 0}}}, "width=0 is not possible"),
        ({"refine": {"predictor": {"family": "gru", "width": 384}}}, "do not fit family 'gru'"),
        ({"refine": {"predictor": {"family": "same", "width": 8}}}, 'family "same" keeps its sizes'),
        ({"data": {"path": "walks.h5"}}, "refine.steps needs walks made anew"),
    ],
)
def test_an_impossible_second_stage_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        train(tmp_path, changes)


# The agent -----------------------------------------------------------------------------------------------


def test_the_agent_plays_two_channels_and_its_run_is_verified(tmp_path, weights):
    out = tmp_path / "run"
    result = evaluate("eb_jepa_two_rooms", ROOMS, episodes=2, weights=weights, out=out, settings={"planner": PLANNER})
    assert result.summary["n"] == 2 and all(record.plans == 40 for record in result.records)
    run = json.loads((out / "run.json").read_text())
    assert run["identity"]["settings"]["observation"] == run["agent"]["observation_options"] == {"channels": "two"}
    norms = np.concatenate([np.linalg.norm(trace["actions"], axis=-1) for trace in result.traces.values()])
    assert 0 < norms.max() <= np.hypot(1.7, 1.7) + 1e-6
    found = verify(out, replan=True, replan_episodes=1)
    assert found.passed and {verdict.verdict for verdict in found.verdicts} == {"exact"}


def test_an_agent_cannot_choose_its_physics(weights):
    settings = {"observation": {"jitter": 0.0}, "planner": PLANNER}
    with pytest.raises(AgentFailed, match="asks for the observation option 'jitter'"):
        evaluate("eb_jepa_two_rooms", ROOMS, "standard", episodes=1, weights=weights, settings=settings)

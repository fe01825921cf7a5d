"""Settings of a recipe from end to end: parts, processes, prefixes, lengths, planning between steps."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jepawm_agents.errors import AgentError, ConfigError
from jepawm_agents.loading import agent_in_memory
from jepawm_agents.training.checkpoint import Checkpoint
from jepawm_agents.training.data import Episodes
from jepawm_agents.training.planning_evaluation import PlanningEvaluation, planning_task
from jepawm_agents.training.predictor import PredictorTraining
from jepawm_agents.training.recipes import load_recipe
from jepawm_agents.training.run import main
from jepawm_agents.training.train_settings import steps_of
from jepawm_agents.world_models.weights import load_world_model
from jepawm_bench import evaluate
from jepawm_bench.cli import main as command
from jepawm_bench.errors import UsageError
from jepawm_bench.locks import locked

RECIPE = "compact/wall_dino_wm"
PLANNER = {"planner": {"num_samples": 12, "iterations": 1}}
STEPS = 8


def quiet(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    pass


def settings(made: Path | None = None, **tables: Any) -> dict[str, Any]:
    """Changes that make the recipe take less than a second; data and encoder of another training, if given."""
    files = {"data": "", "encoder": ""}
    if made is not None:
        files = {"data": str(made / "data.h5"), "encoder": str(made / "encoder.safetensors")}
    return {
        "data": {"episodes": 16, "steps": 35, "image_size": 16, "path": files["data"]},
        "encoder": {
            "steps": 5,
            "batch_size": 16,
            "weights": files["encoder"],
            "model": {"image_size": 16, "channels": [4, 8, 8], "latent_dim": 4},
        },
        "model": {
            "predictor": {
                "action_width": 8,
                "proprio_width": 8,
                "depth": 1,
                "heads": 2,
                "head_dim": 8,
                "mlp_dim": 32,
                "dropout": tables.pop("dropout", 0.0),
            }
        },
        **tables,
        "train": {
            "steps": STEPS,
            "batch_size": 8,
            "rollout_steps": 2,
            "learning_rate": 5e-3,
            "log_every": 1,
            "validate_every": 4,
            "checkpoint_every": 3,
            "validation_windows": 64,
            "device": "cpu",
            **tables.get("train", {}),
        },
    }


def train(
    out: Path, changes: dict[str, Any], *, resume: bool = False, progress: Any = quiet
) -> dict[str, torch.Tensor]:
    return load_world_model(main(RECIPE, settings=changes, out=out, resume=resume, progress=progress)).state_dict()


def curve(out: Path) -> list[dict[str, str]]:
    with (out / "predictor.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def assert_same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], tolerance: float = 0.0) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, rtol=tolerance, atol=tolerance, msg=key)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Data, encoder and an undisturbed training in one process."""
    out = tmp_path_factory.mktemp("made")
    train(out, settings())
    return out


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory) -> Path:
    """The same training on data and encoder that are there already, as all others here."""
    out = tmp_path_factory.mktemp("whole")
    assert_same(train(out, settings(made)), load_world_model(made / "model.safetensors").state_dict())
    return out


VARIANTS: dict[str, dict[str, Any]] = {
    "dropout, all prefixes": {"dropout": 0.2, "train": {"prefixes": "all", "stop_gradient": False}},
    "parts, bf16, wsd": {
        "dropout": 0.2,
        "train": {
            "accumulate": 2,
            "precision": "bf16",
            "schedule": "wsd",
            "anneal": 0.5,
            "final_weight_decay": 0.1,
            "loss": {"l1": 1.0, "cos": 0.5},
        },
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_killed_and_resumed_a_training_of_any_settings_equals_an_undisturbed_one(tmp_path, made, name):
    changes = settings(made, **VARIANTS[name])

    def killed_at(step: int) -> Callable[..., None]:
        def progress(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
            if (stage, done) == ("predictor", step):
                raise RuntimeError("killed")

        return progress

    undisturbed = train(tmp_path / "whole", changes)
    for number, step in enumerate([2, 5, 7]):
        with pytest.raises(RuntimeError, match="killed"):
            train(tmp_path / "parts", changes, resume=number > 0, progress=killed_at(step))
    assert_same(train(tmp_path / "parts", changes, resume=True), undisturbed)
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")


def test_parts_and_prefixes_are_heard(tmp_path, made, whole):
    plain = load_world_model(whole / "model.safetensors").state_dict()
    assert_same(plain, train(tmp_path / "parts", settings(made, train={"accumulate": 4})), tolerance=1e-4)
    first = train(tmp_path / "first", settings(made, train={"prefixes": "first"}))
    assert not torch.equal(first["predictor.pos_embedding"], plain["predictor.pos_embedding"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_walk_the_path_of_one(tmp_path, made, whole):
    out = tmp_path / "out"
    words = ["--recipe", RECIPE, "--out", str(out)]
    changes = settings(made)
    changes["data"]["path"] = ""  # collected again: by the first process, and read by both
    for key, value in flat(changes).items():
        words += ["--set", f"{key}={value}"]
    first, second = launched_like_torchrun(2, words)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert (first.stdout.splitlines(), second.stdout) == ([f"written to {out / 'model.safetensors'}"], "")
    plain = load_world_model(whole / "model.safetensors").state_dict()
    assert_same(plain, load_world_model(out / "model.safetensors").state_dict(), tolerance=1e-4)
    one, two = curve(whole), curve(out)
    assert [row.keys() for row in one] == [row.keys() for row in two]
    for row, other in zip(one, two, strict=True):
        assert {key: float(value) for key, value in other.items() if value} == pytest.approx(
            {key: float(value) for key, value in row.items() if value}, rel=1e-3
        )


def launched_like_torchrun(number: int, words: list[str]) -> list[subprocess.CompletedProcess[str]]:
    """``torchrun --nproc-per-node NUMBER -m jepawm_bench train WORDS``, without the time torchrun itself takes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}

    def start(rank: int) -> subprocess.CompletedProcess[str]:
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        command = [sys.executable, "-m", "jepawm_bench", "train", *words]
        return subprocess.run(command, env={**os.environ, **common, **own}, capture_output=True, text=True, timeout=800)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(start, range(number)))


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as words of a command."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found


def test_ctrl_c_is_130_says_how_to_go_on_and_loses_no_step(tmp_path, made, whole, monkeypatch, capsys):
    words = ["train", "--recipe", RECIPE, "--out", str(tmp_path)]
    for key, value in flat(settings(made)).items():
        words += ["--set", f"{key}={value}"]
    loss = PredictorTraining.loss_of_step

    def interrupted(self: PredictorTraining, step: int, *share: Any) -> torch.Tensor:
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, step, *share)

    with monkeypatch.context() as patch:
        patch.setattr(PredictorTraining, "loss_of_step", interrupted)
        assert command(words) == 130
    assert "Interrupted; continue with --resume" in capsys.readouterr().err
    assert torch.load(tmp_path / "predictor.ckpt", weights_only=True)["step"] == 5
    assert command([*words, "--resume"]) == 0
    plain = load_world_model(whole / "model.safetensors").state_dict()
    assert_same(plain, load_world_model(tmp_path / "model.safetensors").state_dict())


@pytest.mark.parametrize("stage", ["encoder", "predictor"])
def test_every_stage_stops_after_its_time_and_goes_on_with_another_limit(tmp_path, made, whole, stage):
    given = None if stage == "encoder" else made
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, settings(given, train={"max_seconds": 1e-9}))
    assert torch.load(tmp_path / f"{stage}.ckpt", weights_only=True)["step"] == 1
    with pytest.raises(AgentError, match="holds a training with other settings"):
        train(tmp_path, settings(given, train={"max_seconds": 0.0, "seed": 5}), resume=True)
    found = train(tmp_path, settings(given, train={"max_seconds": 0.0}), resume=True)
    assert_same(found, load_world_model((given or made) / "model.safetensors").state_dict())


def test_a_checkpoint_that_names_a_limit_is_continued(tmp_path):
    module, told = torch.nn.Linear(1, 1), {"train": {"max_seconds": 5.0, "seed": 1}}
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    checkpoint = Checkpoint(tmp_path / "x.ckpt", told)
    checkpoint.save(module, optimizer, 3, [])
    state = torch.load(tmp_path / "x.ckpt", weights_only=True)
    torch.save({**state, "identity": json.dumps(told, sort_keys=True)}, tmp_path / "x.ckpt")  # as first written
    assert Checkpoint(tmp_path / "x.ckpt", {"train": {"seed": 1}}).restore(module, optimizer) == (3, [])
    with pytest.raises(AgentError, match="belongs to other settings"):
        Checkpoint(tmp_path / "x.ckpt", {"train": {"seed": 2}}).restore(module, optimizer)


@pytest.mark.parametrize("stage", ["encoder", "predictor"])
def test_a_training_begun_before_there_were_such_settings_is_continued(tmp_path, made, stage):
    """``data.validation`` and ``data.sampling`` came later; nothing is other than before where they are not set."""
    given = None if stage == "encoder" else made
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, settings(given, train={"max_seconds": 1e-9}))
    note, checkpoint = tmp_path / "recipe.json", tmp_path / f"{stage}.ckpt"
    plan, state = json.loads(note.read_text()), torch.load(checkpoint, weights_only=True)
    identity = json.loads(state["identity"])
    for table in (plan["data"], identity["data"]):  # as they were written then
        assert (table.pop("validation"), table.pop("sampling")) == ("", "windows")
        table["collect"]["workers"] = 1
    note.write_text(json.dumps(plan))
    torch.save({**state, "identity": json.dumps(identity, sort_keys=True)}, checkpoint)
    with pytest.raises(AgentError, match=r"with other settings; .* They differ in data\.sampling\."):
        later = settings(given, train={"max_seconds": 0.0})
        train(tmp_path, {**later, "data": {**later["data"], "sampling": "episodes"}}, resume=True)
    found = train(tmp_path, settings(given, train={"max_seconds": 0.0}), resume=True)
    assert_same(found, load_world_model((given or made) / "model.safetensors").state_dict())


def test_two_processes_cannot_train_into_one_folder(tmp_path, made):
    with locked(tmp_path / "out"), pytest.raises(UsageError, match="out is being written by another process; wait"):
        train(tmp_path / "out", settings(made))
    with pytest.raises(UsageError, match="is being written by another process"):
        train(
            tmp_path / "out",
            settings(made),
            progress=lambda *words: train(tmp_path / "out", settings(made), resume=True),
        )


def test_planning_between_steps_is_noted_and_changes_nothing(tmp_path, made, whole):
    evaluation = {"every": 3, "episodes": 2, "settings": PLANNER}
    planned = train(tmp_path, settings(made, evaluate=evaluation))
    assert_same(planned, load_world_model(whole / "model.safetensors").state_dict())
    found = curve(tmp_path)
    assert [row["step"] for row in found if row["val_1"]] == ["4", "8"]
    assert [(row["step"], row["success_n"]) for row in found if row["success_n"]] == [
        ("3", "2.0"),
        ("6", "2.0"),
        ("8", "2.0"),
    ]
    assert all(row["success"] in ("0.0", "0.5", "1.0") for row in found if row["success_n"])


def test_planning_between_steps_gives_the_figure_that_the_weights_file_gives(made, tmp_path):
    plan = load_recipe("compact/wall", {"evaluate": {"episodes": 2, "settings": PLANNER}})
    task = planning_task(plan)
    shipped = "agents/jepawm_agents/weights/jepa_wm_wall.safetensors"
    model = load_world_model(Path(__file__).parents[2] / shipped)
    overrides = {"settings": PLANNER, "episodes": 2, "seed": task.seed, "device": "cpu"}
    expected = evaluate("jepa_wm_wall", "JepaWM/Wall-v0", "paper", **overrides)
    state = torch.random.get_rng_state()
    assert PlanningEvaluation(model.train(), plan)() == {"success": expected.success_rate, "success_n": 2.0}
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training and task.seed == 1000
    agent = agent_in_memory(model, task.settings, "cpu")
    assert agent.planner.evaluations == 12 and agent.objective.alpha == 0.1  # of the change, and of the card


def test_an_epoch_is_one_pass_over_the_windows_or_so_many_steps(made, tmp_path):
    # 14 training episodes (two of 16 are held out), 35 - 20 + 1 windows of four frames, each with five steps.
    table = {"steps": 7, "epochs": 0, "steps_per_epoch": 0, "batch_size": 8}
    assert steps_of(table, 14 * 21) == 7
    assert steps_of({**table, "epochs": 2}, 14 * 21) == 2 * 36
    assert steps_of({**table, "epochs": 2, "steps_per_epoch": 3}, 14 * 21) == 6
    assert steps_of({**table, "epochs": 2}, 5) == 2
    seen: list[int] = []
    changes = settings(made, train={"epochs": 1, "batch_size": 60})
    train(tmp_path, changes, progress=lambda stage, done, total, figures: seen.append(total))
    assert set(seen) == {14 * 16 // 60}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prefixes": "last"}, r"Unknown train\.prefixes 'last'"),
        ({"order_weights": "same"}, r"Unknown train\.order_weights 'same'"),
        ({"frames": 2}, r"train\.frames=2 is too few for train\.rollout_steps=2"),
        ({"steps": 0}, r"train\.steps=0 is too small; train for one step or one epoch at least"),
        ({"batch_size": 0}, r"train\.batch_size=0 is too small"),
        ({"accumulate": 3}, r"train\.batch_size=8 cannot be split into equal parts for 1 process\(es\) times"),
        ({"precision": "fp8"}, "Unknown precision of a training 'fp8'"),
        ({"device": "tpu"}, r"Unknown train\.device 'tpu'"),
        ({"loss": {"l2": 0.0}}, "No metric of the loss has a weight"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_written(tmp_path, made, changes, message):
    with pytest.raises(ConfigError, match=message):
        train(tmp_path / "out", settings(made, train=changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [({"protocol": "papers"}, "papers"), ({"env": "JepaWM/PushT-v0"}, "cannot play JepaWM/PushT-v0")],
)
def test_planning_that_cannot_be_is_refused_before_anything_is_written(tmp_path, made, table, message):
    with pytest.raises(UsageError, match=message):
        train(tmp_path / "out", settings(made, evaluate={"every": 1, **table}))
    assert not (tmp_path / "out").exists()


def test_the_device_is_asked_of_torch(monkeypatch, tmp_path, made):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"train\.device='cuda' was asked for, but torch sees no CUDA device"):
        train(tmp_path / "out", settings(made, train={"device": "cuda"}))


def test_latents_are_layer_normed_where_the_predictor_wants_them_so(tiny_model):
    """V-JEPA-2-AC: targets and predictions both (``video_wm.py:191, 357``)."""
    draw = torch.Generator().manual_seed(0)
    episodes = Episodes(
        pixels=torch.randint(0, 256, (5, 31, 16, 16, 3), dtype=torch.uint8, generator=draw),
        actions=torch.randn(5, 30, 2, generator=draw),
        proprio=torch.randn(5, 31, 2, generator=draw),
        train=np.arange(4),
        validation=np.array([4]),
        sha256="",
    )
    table = load_recipe("compact/wall", {"train": {"batch_size": 4, "loss": {"l2": 0.0, "l1": 1.0}}})["train"]
    training = PredictorTraining(tiny_model("action_token", normalize_latents=True), episodes, table)
    given: list[torch.Tensor] = []
    training.model.predictor.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    training._distance = lambda prediction, target: given.extend([prediction, target]) or target.sum()  # type: ignore
    training.loss_of_step(0)
    assert len(given) >= 3
    for latents in given:
        torch.testing.assert_close(latents.mean(dim=-1), torch.zeros(latents.shape[:-1]), atol=1e-5, rtol=0)
        # Variance 1 up to layer norm's epsilon, which counts where an untrained encoder is nearly constant.
        assert (latents.var(dim=-1, unbiased=False) < 1.0 + 1e-4).all()
    assert (given[0].var(dim=-1, unbiased=False) > 0.5).any()

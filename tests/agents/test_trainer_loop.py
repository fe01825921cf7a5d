"""The loop: parts of a batch, dropout, precision, interruptions, curves and logs."""

from __future__ import annotations

import csv
import os
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jepawm_agents.errors import ConfigError
from jepawm_agents.training.distributed import WHOLE, Share
from jepawm_agents.training.loggers import TensorBoardLog, check_logs, make_logs
from jepawm_agents.training.loop import LoopSettings, run_loop

BATCH, STEPS = 12, 8


class Regression:
    """A small network with dropout that learns a fixed linear map; batches are a function of the step."""

    def __init__(self, dropout: float = 0.0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(3, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 1))
        self.dtypes: set[torch.dtype] = set()

    def loss(self, step: int, share: Share = WHOLE) -> Tensor:
        x = torch.randn(BATCH, 3, generator=torch.Generator().manual_seed(step))[share.of(BATCH)]
        out = self.net(x)
        self.dtypes.add(out.dtype)
        return (out.float()[:, 0] - x.sum(dim=1)).square().mean()


def fit(
    task: Regression, out: Path, *, resume: bool = False, progress: Any = None, **settings: Any
) -> dict[str, float]:
    loop = {key: settings.pop(key) for key in ("evaluate", "evaluate_every", "logs", "validate") if key in settings}
    table = {"steps": STEPS, "learning_rate": 0.05, "weight_decay": 0.01, "log_every": 1, "validate_every": 4}
    return run_loop(
        "fit",
        task.net,
        LoopSettings(**{**table, "checkpoint_every": 3, **settings}),
        task.loss,
        loop.pop("validate", dict),
        out=out,
        identity={},
        resume=resume,
        progress=progress or (lambda *told: None),
        splits=True,
        **loop,
    )


def weights(task: Regression) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in task.net.parameters()])


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "fit.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def told_losses(losses: list[float]) -> Callable[..., None]:
    return lambda stage, done, total, figures: losses.append(figures["loss"])


def test_shares_are_disjoint_equal_and_complete():
    parts = [Share(index, 3).of(12) for index in range(3)]
    assert [list(range(12))[part] for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert WHOLE.of(12) == slice(0, 12)


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_gives_the_path_of_the_whole_batch(tmp_path, parts):
    whole, split = Regression(), Regression()
    one: list[float] = []
    other: list[float] = []
    (tmp_path / "a").mkdir()
    fit(whole, tmp_path / "a", progress=told_losses(one))
    (tmp_path / "b").mkdir()
    fit(split, tmp_path / "b", accumulate=parts, progress=told_losses(other))
    assert other == pytest.approx(one, rel=1e-5)
    torch.testing.assert_close(weights(split), weights(whole), rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_no_mean_cannot_be_taken_in_parts(tmp_path):
    net = nn.Linear(1, 1)
    settings = LoopSettings(steps=1, learning_rate=0.1, weight_decay=0.0, accumulate=2)
    with pytest.raises(ConfigError, match="accumulate=2: the loss of stage fit is no mean of parts; use 1"):
        run_loop(
            "fit", net, settings, lambda step: net.weight.sum(), dict,
            out=tmp_path, identity={}, resume=False, progress=lambda *told: None,
        )  # fmt: skip


VARIANTS: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": 0.3},
    "parts": {"dropout": 0.3, "accumulate": 3},
    "bf16": {"dropout": 0.3, "precision": "bf16"},
    "schedules": {"schedule": "wsd", "anneal": 0.5, "final_weight_decay": 1.0, "betas": [0.8, 0.9], "clip_grad": 0.0},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_killed_anywhere_and_resumed_it_ends_where_an_undisturbed_one_does(tmp_path, name):
    settings = dict(VARIANTS[name])
    dropout = settings.pop("dropout", 0.0)
    whole = Regression(dropout)
    (tmp_path / "whole").mkdir()
    fit(whole, tmp_path / "whole", **settings)

    def kill_at(step: int) -> Callable[..., None]:
        def progress(stage: str, done: int, total: int, figures: Any) -> None:
            if done == step:
                raise RuntimeError("killed")

        return progress

    (tmp_path / "parts").mkdir()
    for number, step in enumerate([2, 5, 7]):
        torch.randn(number + 1)  # wherever the global generator stands
        with pytest.raises(RuntimeError, match="killed"):
            fit(Regression(dropout), tmp_path / "parts", resume=number > 0, progress=kill_at(step), **settings)
    resumed = Regression(dropout)
    fit(resumed, tmp_path / "parts", resume=True, **settings)
    assert torch.equal(weights(resumed), weights(whole))
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_dropout_differs_from_step_to_step_and_leaves_the_global_generator_alone(tmp_path):
    masks: list[Tensor] = []
    task = Regression(0.5)
    task.net[2].register_forward_hook(lambda module, given, out: masks.append(out.detach() == 0))
    state = torch.random.get_rng_state()
    fit(task, tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len({bytes(mask.numpy().tobytes()) for mask in masks}) == STEPS


def test_bf16_computes_in_bfloat16_keeps_weights_in_float32_and_learns(tmp_path):
    task, losses = Regression(), []
    fit(task, tmp_path, precision="bf16", steps=60, progress=told_losses(losses))
    assert task.dtypes == {torch.bfloat16}
    assert weights(task).dtype == torch.float32
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_saves_the_step_and_going_on_changes_nothing(tmp_path, number):
    whole = Regression()
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    fit(whole, tmp_path / "whole", checkpoint_every=100)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    reached: list[int] = []

    def progress(stage: str, done: int, total: int, figures: Any) -> None:
        reached.append(done)
        if done == 4:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        fit(Regression(), tmp_path / "parts", checkpoint_every=100, progress=progress)
    assert reached == [1, 2, 3, 4, 5]  # the step after the signal is finished
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    resumed, more = Regression(), []
    fit(resumed, tmp_path / "parts", checkpoint_every=100, resume=True, progress=told_losses(more))
    assert len(more) == STEPS - 5
    assert torch.equal(weights(resumed), weights(whole))


def test_an_interruption_at_the_last_step_is_not_lost(tmp_path):
    def progress(stage: str, done: int, total: int, figures: Any) -> None:
        if done == total:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(Regression(), tmp_path, progress=progress)
    assert rows(tmp_path)[-1]["step"] == str(STEPS)


def test_a_second_interruption_stops_at_once(tmp_path):
    def stubborn() -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second signal was swallowed")

    with pytest.raises(KeyboardInterrupt):
        fit(Regression(), tmp_path, validate=stubborn)


def test_when_its_time_is_spent_a_training_stops_at_a_checkpoint_and_can_go_on(tmp_path, capsys):
    whole = Regression()
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    fit(whole, tmp_path / "whole")
    for step in range(1, STEPS):
        with pytest.raises(KeyboardInterrupt):
            fit(Regression(), tmp_path / "parts", max_seconds=1e-9, resume=True)
        assert f"max_seconds=1e-09 are spent at step {step} of {STEPS} of stage fit" in capsys.readouterr().err
    last = Regression()
    fit(last, tmp_path / "parts", max_seconds=1e-9, resume=True)
    assert torch.equal(weights(last), weights(whole))


def test_costly_figures_have_their_own_rhythm_and_leave_other_rows_empty(tmp_path):
    taken: list[int] = []

    def evaluate() -> dict[str, float]:
        taken.append(len(taken))
        return {"success": 0.5}

    last = fit(Regression(), tmp_path, validate=lambda: {"val": 1.0}, evaluate=evaluate, evaluate_every=3)
    assert [(row["val"], row["success"]) for row in rows(tmp_path)] == [
        ("", ""),
        ("", ""),
        ("", "0.5"),
        ("1.0", ""),
        ("", ""),
        ("", "0.5"),
        ("", ""),
        ("1.0", "0.5"),
    ]
    assert all(float(row["loss"]) > 0 for row in rows(tmp_path))
    assert last["success"] == 0.5 and len(taken) == 3


def test_tensorboard_shows_losses_rates_and_figures_once_each_after_a_resume(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings = {"tensorboard": True, "wandb": False, "wandb_project": ""}

    def fitted(resume: bool, kill: bool) -> None:
        def progress(stage: str, done: int, total: int, figures: Any) -> None:
            if kill and done == 5:
                raise RuntimeError("killed")

        logs = make_logs(settings, "fit", tmp_path, {})
        fit(Regression(), tmp_path, resume=resume, progress=progress, logs=logs, validate=lambda: {"val": 2.0})

    with pytest.raises(RuntimeError, match="killed"):
        fitted(resume=False, kill=True)  # the checkpoint is that of step 3
    fitted(resume=True, kill=False)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "fit"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, STEPS + 1))
    assert [(event.step, event.value) for event in events.Scalars("val")] == [(4, 2.0), (8, 2.0)]
    assert {"learning_rate", "gradient_norm"} <= set(events.Tags()["scalars"])


class FakeWandb(types.ModuleType):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.started: list[dict[str, Any]] = []
        self.told: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def init(self, **settings: Any) -> FakeWandb:
        self.started.append(settings)
        self.id = "abc"
        return self

    def log(self, figures: dict[str, float], step: int) -> None:
        self.told.append((step, figures))

    def finish(self) -> None:
        self.finished += 1


def test_wandb_is_told_the_recipe_and_the_figures_and_goes_on_in_the_same_run(tmp_path, monkeypatch):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    settings = {"tensorboard": False, "wandb": True, "wandb_project": "mine"}

    def fitted(resume: bool) -> None:
        fit(
            Regression(), tmp_path, resume=resume, logs=make_logs(settings, "fit", tmp_path, {"a": 1}), max_seconds=1e-9
        )

    with pytest.raises(KeyboardInterrupt):
        fitted(resume=False)
    with pytest.raises(KeyboardInterrupt):
        fitted(resume=True)
    first, second = wandb.started
    assert (first["project"], first["config"], first["id"]) == ("mine", {"a": 1}, None)
    assert (second["id"], second["resume"]) == ("abc", "allow")
    assert [step for step, _ in wandb.told] == [1, 2] and wandb.finished == 2
    assert wandb.told[0][1].keys() == {"loss", "learning_rate", "gradient_norm"}


@pytest.mark.parametrize(
    ("name", "remedy"), [("tensorboard", r'pip install "jepawm-bench\[train\]"'), ("wandb", "pip install wandb")]
)
def test_a_log_whose_package_is_absent_is_refused_with_the_remedy(monkeypatch, name, remedy):
    monkeypatch.setattr("jepawm_agents.training.loggers.find_spec", lambda package: None)
    asked = {"tensorboard": False, "wandb": False, name: True}
    with pytest.raises(
        ConfigError, match=f"log.{name}=true needs the package {name}, which is not installed: {remedy}"
    ):
        check_logs(asked)


def test_no_log_is_made_that_is_not_asked_for(tmp_path):
    assert make_logs({"tensorboard": False, "wandb": False, "wandb_project": ""}, "fit", tmp_path, {}) == []
    assert isinstance(
        make_logs({"tensorboard": True, "wandb": False, "wandb_project": ""}, "fit", tmp_path, {})[0], TensorBoardLog
    )

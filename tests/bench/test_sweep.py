"""Sweeps: the right cells, each once, whatever interrupts, and a table of what came out."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from jepawm_bench.errors import MissingExtra, UsageError
from jepawm_bench.sweeps import backends, make_cells, sweep
from jepawm_bench.sweeps.outcome import figures_of
from jepawm_bench.sweeps.work_list import WorkList

PLUGIN = Path(__file__).parents[1] / "plugin"
WALL = "JepaWM/Wall-v0"


@pytest.fixture
def everywhere(plugin, monkeypatch):
    """The stranger's package in this process and in those of the cells."""
    paths = [str(PLUGIN), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def events(out: Path) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in (out / "work.jsonl").read_text().splitlines()]
    return [(line["cell"], line["event"]) for line in lines]


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# Grids


def test_cells_are_all_combinations_the_last_varying_fastest():
    cells = make_cells(["planner.num_samples=100,300", "option:seed=1,2", "planner.name=cem,mppi"])
    assert len(cells) == 8
    assert cells[0].labels == {"planner.num_samples": "100", "seed": "1", "planner.name": "cem"}
    assert cells[1].labels["planner.name"] == "mppi" and cells[4].labels["planner.num_samples"] == "300"
    assert cells[1].arguments == ("--set", "planner.num_samples=100", "--seed", "1", "--set", "planner.name=mppi")
    assert cells[0].name == "planner.num_samples=100,seed=1,planner.name=cem"


def test_values_are_numbers_lists_or_words():
    def arguments(grid: str) -> list[str]:
        return [cell.arguments[1] for cell in make_cells([grid])]

    assert arguments("a=1,2.5,true") == ["a=1", "a=2.5", "a=true"]
    assert arguments("a=[1, 2],[3]") == ["a=[1, 2]", "a=[3]"]
    assert arguments("a=random,first") == ["a=random", "a=first"]
    assert [cell.name for cell in make_cells(["a=[1, 2],[3]"])] == ["a=_1_2_", "a=_3_"]


@pytest.mark.usefixtures("plugin")
def test_an_ablation_is_a_grid_that_a_package_brings():
    cells = make_cells(["ablation:example_length", "option:seed=1"])
    assert [cell.name for cell in cells] == ["example_length=short,seed=1", "example_length=long,seed=1"]
    assert cells[1].arguments == ("--set", "epochs=3", "--set", "table.text=a b", "--seed", "1")
    with pytest.raises(UsageError, match=r"[Uu]nknown ablation 'exampel_length'.*example_length"):
        make_cells(["ablation:exampel_length"])


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        ([], "A sweep needs something to vary"),
        (["planner.horizon"], "is not of the form KEY=VALUE,VALUE"),
        (["=1,2"], "is not of the form KEY=VALUE,VALUE"),
        (["a="], "is not of the form KEY=VALUE,VALUE"),
        (["a=1,2", "a=3"], "Two grids vary the same"),
        (["a=1,1"], "Two cells of the sweep have the same name"),
    ],
)
def test_grids_that_are_none_are_refused(grids, message):
    with pytest.raises(UsageError, match=message):
        make_cells(grids)


# Whole sweeps


def test_a_sweep_of_runs_gives_the_figures_of_its_cells(cli, tmp_path):
    out = tmp_path / "sweep"
    words = ("--agent", "do_nothing", "--env", WALL, "--episodes", 2, "--workers", 1)
    answer = cli("sweep", "run", *words, "--grid", "option:seed=3,4", "--out", out)
    assert answer.code == 0, answer.err
    assert "written to" in answer.out
    for row, seed in zip(rows(out), ("3", "4"), strict=True):
        summary = json.loads((out / f"cells/seed={seed}/summary.json").read_text())
        assert (row["seed"], row["state"], row["n"]) == (seed, "done", "2")
        assert float(row["median_final_distance"]) == summary["median_final_distance"]
        assert summary["seed"] == int(seed)
    before = events(out)
    again = cli("sweep", "run", *words, "--grid", "option:seed=3,4", "--out", out, "--resume")
    assert again.code == 0 and events(out) == before  # nothing was left to do


@pytest.mark.usefixtures("everywhere")
def test_a_sweep_of_trainings_passes_every_setting_and_a_failure_stops_no_other(cli, tmp_path):
    out = tmp_path / "sweep"
    words = ("train", "--recipe", "example/tiny", "--set", "shared=7")
    answer = cli("sweep", *words, "--grid", "epochs=2,101,3", "--out", out)
    assert answer.code == 1
    assert "epochs=101 did not end well" in answer.err and "epochs=101.log" in answer.err
    assert "the loss is not finite" in (out / "logs/epochs=101.log").read_text()
    assert [row["state"] for row in rows(out)] == ["done", "failed", "done"]
    for epochs in (2, 3):
        made = json.loads((out / f"cells/epochs={epochs}/model.json").read_text())
        assert made == {"recipe": "example/tiny", "settings": {"shared": 7, "epochs": epochs}, "resume": False}
    assert cli("sweep", *words, "--grid", "epochs=2,101,3", "--out", out, "--resume").code == 1
    assert events(out)[-2:] == [("epochs=101", "begun"), ("epochs=101", "failed")]  # the others stay
    assert [event for _, event in events(out)].count("begun") == 4


@pytest.mark.usefixtures("everywhere")
def test_the_cells_of_an_ablation_are_trained(cli, tmp_path):
    out = tmp_path / "sweep"
    arguments = ("--recipe", "example/tiny", "--grid", "ablation:example_length", "--backend-set", "jobs=2")
    assert cli("sweep", "train", *arguments, "--out", out).code == 0
    made = json.loads((out / "cells/example_length=long/model.json").read_text())
    assert made["settings"] == {"epochs": 3, "table": {"text": "a b"}}


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_goes_on_where_it_stopped(start, cli, tmp_path, number):
    out = tmp_path / "sweep"
    slow = ("--agent", "example_drift", "--env", WALL, "--episodes", 8, "--workers", 1, "--set", "seconds=0.05")
    words = ("sweep", "run", *slow, "--grid", "option:seed=1,2", "--out", out)
    process = start(*words)
    episodes = out / "cells/seed=1/episodes.jsonl"
    deadline = time.monotonic() + 120
    while not (episodes.exists() and episodes.read_text().count("\n") >= 2):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Repeat the command with --resume" in err
    assert events(out) == [("seed=1", "begun")]
    assert "Interrupted: " in (out / "logs/seed=1.log").read_text()
    kept = episodes.read_text().splitlines()
    assert 2 <= len(kept) < 8 and not (out / "cells/seed=2").exists()
    refused = cli(*words)
    assert refused.code == 2 and "holds a sweep already; add --resume" in refused.err
    assert cli(*words, "--resume").code == 0
    assert [row["state"] for row in rows(out)] == ["done", "done"]
    assert episodes.read_text().splitlines()[: len(kept)] == kept  # played once


@pytest.mark.usefixtures("everywhere")
def test_a_sweep_in_the_background_of_a_shell_leaves_nothing_behind_when_it_is_terminated(tmp_path):
    """Such a shell has its processes ignore SIGINT, and they hand that on."""
    out = tmp_path / "sweep"
    slow = ("--agent", "example_drift", "--env", WALL, "--episodes", "8", "--workers", "1", "--set", "seconds=1")
    sweeping = (sys.executable, "-m", "jepawm_bench", "sweep", "run", *slow, "--grid", "option:seed=1,2")
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *sweeping, "--out", str(out)], stderr=subprocess.PIPE, text=True
    )
    episodes = out / "cells/seed=1/episodes.jsonl"
    wait_until(lambda: episodes.exists() and episodes.read_text().count("\n") >= 1)
    (child,) = children(process.pid)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert not Path(f"/proc/{child}").exists()
    assert "Interrupted: " in (out / "logs/seed=1.log").read_text()
    assert 1 <= episodes.read_text().count("\n") < 8 and not (out / "cells/seed=2").exists()


def children(pid: int) -> list[str]:
    """Of every thread of a process."""
    return [child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Parts


def test_a_folder_of_another_sweep_and_options_of_the_sweep_itself_are_refused(tmp_path):
    cells = make_cells(["a=1,2"])
    WorkList(tmp_path, {"command": "run", "words": [], "cells": {}}, resume=False)
    with pytest.raises(UsageError, match="holds another sweep; choose another --out"):
        sweep("run", [], cells, tmp_path, resume=True)
    with pytest.raises(UsageError, match="A sweep sets --json itself"):
        sweep("run", ["--json"], cells, tmp_path / "new")
    with pytest.raises(UsageError, match=r"'slrum'.*slurm"):
        sweep("run", [], cells, tmp_path / "new", backend="slrum")
    assert not (tmp_path / "new").exists()


def test_a_torn_line_of_the_work_list_loses_nothing_else(tmp_path):
    work = WorkList(tmp_path, {}, resume=False)
    work.note("a", "done")
    with (tmp_path / "work.jsonl").open("a") as file:
        file.write('{"cell": "b", "ev')
    again = WorkList(tmp_path, {}, resume=True)
    again.note("c", "failed")
    assert again.states(["a", "b", "c"]) == {"a": "done", "b": "waiting", "c": "failed"}


def test_figures_of_a_training_are_the_last_row_of_its_last_curve(tmp_path):
    for number, stage in enumerate(("predictor", "encoder")):  # the later one in the alphabet is the earlier here
        (tmp_path / f"{stage}.csv").write_text(f"step,loss\n1,9\n2,{number}\n")
        os.utime(tmp_path / f"{stage}.csv", (number, number))
    assert figures_of(tmp_path) == {"step": "2", "loss": "1"}
    assert figures_of(tmp_path / "absent") == {}


def jobs_of(tmp_path: Path) -> list[backends.Job]:
    codes = {"good": 0, "bad": 3}
    return [
        backends.Job(
            name, (sys.executable, "-c", f"print('{name}'); raise SystemExit({code})"), tmp_path / f"{name}.log"
        )
        for name, code in codes.items()
    ]


@pytest.mark.parametrize(
    ("backend", "package", "settings"),
    [("local", None, {"jobs": 2}), ("slurm", "submitit", {"cluster": "local"}), ("ray", "ray", {"num_cpus": 1})],
)
def test_every_backend_runs_every_job_and_tells_how_it_ended(tmp_path, backend, package, settings):
    if package:
        pytest.importorskip(package)
    begun = []
    jobs = jobs_of(tmp_path)
    ended = dict(backends.BACKENDS[backend](jobs, begun.append, settings))
    assert {job.name: code for job, code in ended.items()} == {"good": 0, "bad": 3}
    assert sorted(job.name for job in begun) == ["bad", "good"]
    assert [job.log.read_text().strip() for job in jobs] == ["good", "bad"]


def python(tmp_path: Path, name: str, code: str) -> backends.Job:
    return backends.Job(name, (sys.executable, "-c", code), tmp_path / f"{name}.log")


def test_a_job_that_the_cluster_loses_ends_as_failed_and_the_others_go_on(tmp_path):
    pytest.importorskip("submitit")
    kill = "import os, signal, time; os.kill(os.getppid(), signal.SIGKILL)"  # as SLURM does at a limit of memory
    jobs = [python(tmp_path, "slow", "import time; time.sleep(4)"), python(tmp_path, "lost", kill)]
    jobs.append(python(tmp_path, "good", "print(1)"))
    ended = [(job.name, code) for job, code in backends.run_on_slurm(jobs, lambda job: None, {"cluster": "local"})]
    assert sorted(ended) == [("good", 0), ("lost", backends.LOST), ("slow", 0)]
    assert ended[-1][0] == "slow"  # told as they end, not as they were submitted
    assert "The job was lost and ends as failed: UncompletedJobError" in jobs[1].log.read_text()


def test_submitted_jobs_are_cancelled_when_the_sweep_stops(tmp_path, monkeypatch):
    submitit, kept = pytest.importorskip("submitit"), []
    as_completed = submitit.helpers.as_completed
    monkeypatch.setattr(
        submitit.helpers, "as_completed", lambda handles, **how: kept.extend(handles) or as_completed(handles, **how)
    )
    tell = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    jobs = [python(tmp_path, "good", "print(1)"), python(tmp_path, "endless", tell)]
    working = backends.run_on_slurm(jobs, lambda job: None, {"cluster": "local"})
    job, code = next(working)
    assert (job.name, code) == ("good", 0)
    pid = tmp_path / "pid"
    wait_until(lambda: pid.exists() and bool(pid.read_text()))
    assert Path(f"/proc/{pid.read_text()}").exists()
    working.close()
    wait_until(lambda: not Path(f"/proc/{pid.read_text()}").exists())
    wait_until(lambda: all(handle.done() for handle in kept))


def test_a_job_that_cannot_be_submitted_cancels_those_that_were(tmp_path, monkeypatch):
    cancelled = []

    class Executor:
        def __init__(self, **settings):
            self.left = ["1", "2"]

        def update_parameters(self, **settings):
            pass

        def submit(self, *words):
            number = self.left.pop(0)  # an IndexError at the third

            def cancel(check):
                cancelled.append(number)
                raise OSError("scancel: Invalid job id")

            return SimpleNamespace(job_id=number, cancel=cancel)

    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=Executor))
    jobs = [python(tmp_path, name, "") for name in ("a", "b", "c")]
    with pytest.raises(IndexError):
        list(backends.run_on_slurm(jobs, lambda job: None, {}))
    assert cancelled == ["1", "2"]  # the second too, though the first could not be
    assert "could not be cancelled and may still run: OSError: scancel: Invalid" in jobs[0].log.read_text()


class Ray:
    """As much of Ray as the backend uses, in this process: jobs end as they were submitted, ``lost`` is lost."""

    def __init__(self):
        self.cancelled = []

    def init(self, **settings):
        pass

    def remote(self, work):
        return SimpleNamespace(options=lambda **settings: SimpleNamespace(remote=lambda command, log: (command, log)))

    def wait(self, references, num_returns):
        return references[:num_returns], references[num_returns:]

    def get(self, reference):
        if reference[1].stem == "lost":
            raise RuntimeError("The worker died unexpectedly.")
        return backends.run_command(*reference)

    def cancel(self, reference):
        self.cancelled.append(reference[1].stem)


def test_ray_too_goes_on_after_a_lost_job_and_cancels_what_waits(tmp_path, monkeypatch):
    ray = Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)
    jobs = [python(tmp_path, name, "") for name in ("lost", "good", "waiting")]
    working = backends.run_on_ray(jobs, lambda job: None, {})
    assert [(job.name, code) for job, code in (next(working), next(working))] == [("lost", 1), ("good", 0)]
    assert "lost and ends as failed: RuntimeError: The worker died" in jobs[0].log.read_text()
    working.close()
    assert ray.cancelled == ["waiting"]


@pytest.mark.parametrize(("backend", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_backend_whose_package_is_missing_says_how_to_get_it(tmp_path, monkeypatch, backend, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingExtra, match=rf'Backend \'{backend}\' .*{package} .*pip install "jepawm-bench\[cluster\]"'
    ):
        list(backends.BACKENDS[backend](jobs_of(tmp_path), print, {}))


def test_settings_that_a_backend_has_not_are_refused(tmp_path):
    with pytest.raises(UsageError, match="--backend-set job is unknown here; there is jobs"):
        list(backends.run_here(jobs_of(tmp_path), print, {"job": 2}))
    with pytest.raises(UsageError, match="--backend-set jobs=0 is not possible"):
        list(backends.run_here(jobs_of(tmp_path), print, {"jobs": 0}))

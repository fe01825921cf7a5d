"""Runs are verified by several processes as by one."""

import shutil

import pytest

from jepawm_bench.errors import DamagedRun
from jepawm_bench.verify import verify
from jepawm_bench.verify_many import RUNS_A_WORKER, verify_many


@pytest.fixture
def runs(make_run, tmp_path):
    """Enough copies of a run for two processes, one of them forged."""
    run = make_run("random", episodes=2)
    folders = [shutil.copytree(run, tmp_path / f"copy{number}") for number in range(2 * RUNS_A_WORKER)]
    episodes = folders[3] / "episodes.jsonl"
    episodes.write_text(episodes.read_text().replace('"success":false', '"success":true'))
    return [(folder, None) for folder in folders]


def test_several_processes_find_what_one_finds(runs):
    found = verify_many(runs, workers=2)
    assert [number for number, one in enumerate(found) if not one.passed] == [3]
    assert found == verify_many(runs) == [verify(path) for path, _ in runs]


def test_a_damaged_run_ends_the_work_of_all(runs):
    (runs[5][0] / "run.json").write_text("{")
    with pytest.raises(DamagedRun, match="copy5"):
        verify_many(runs, workers=2)


def test_few_runs_start_no_process(runs, monkeypatch):
    monkeypatch.setattr("jepawm_envs.data.ordered.ProcessPoolExecutor", None)
    assert len(verify_many(runs[: 2 * RUNS_A_WORKER - 1], workers=8)) == 2 * RUNS_A_WORKER - 1

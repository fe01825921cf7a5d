"""Runs on disk: kept episode by episode, resumed, refused when damaged."""

import json
import shutil

import numpy as np
import pytest

from jepawm_bench import evaluate
from jepawm_bench.errors import DamagedRun, UsageError
from jepawm_bench.results import TIMINGS
from jepawm_bench.run_folder import RunFolder
from jepawm_bench.verify import read_claims

WALL = "JepaWM/Wall-v0"
CONTRACT_SUMMARY = {
    "agent", "variant", "env", "protocol", "n", "success_rate", "ci_low", "ci_high", "success_any_rate",
    "median_final_distance", "plan_seconds_mean",
}  # fmt: skip
CONTRACT_EPISODE = {
    "episode", "seed", "init_state", "goal_state", "success", "success_any", "steps_to_success", "final_distance",
    "min_distance", "return", "steps", "plans", "model_evaluations", "plan_seconds", "env_seconds",
}  # fmt: skip


def run(folder, episodes=5, **options):
    return evaluate("random", WALL, episodes=episodes, out=folder, **options)


def interrupted(folder, after=3, episodes=5):
    """A run stopped after some episodes, as by Ctrl-C."""

    def stop(done, total, successes):
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, episodes, progress=stop)
    return folder


def without_times(summary):
    return {key: value for key, value in summary.items() if not key.endswith("seconds_mean")}


def test_a_finished_run_holds_what_the_contract_says(tmp_path):
    run(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "run.json", "episodes.jsonl", "traces.npz", "summary.json",
    }  # fmt: skip
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "run/episodes.jsonl").read_text().splitlines()]
    assert summary.keys() >= CONTRACT_SUMMARY
    assert [line["episode"] for line in lines] == list(range(5))
    assert all(line.keys() >= CONTRACT_EPISODE for line in lines)
    with np.load(tmp_path / "run/traces.npz") as traces:
        assert traces["states_00004"].shape == (31, 2)
        assert traces["actions_00004"].shape == (30, 2)


def test_the_description_says_where_a_result_comes_from(tmp_path):
    run(tmp_path / "run")
    data = RunFolder(tmp_path / "run").read_run()
    assert data["identity"]["tasks_sha256"]
    assert data["versions"].keys() >= {"python", "numpy", "gymnasium", "torch", "jepawm-bench"}
    assert data["card"]["kind"] == "floor"
    assert data["started"] <= data["finished"]


def test_the_same_command_gives_the_same_records(tmp_path):
    results = [run(tmp_path / name) for name in "ab"]
    first, second = ([record.outcome() for record in result.records] for result in results)
    assert first == second
    assert (tmp_path / "a/traces.npz").read_bytes() == (tmp_path / "b/traces.npz").read_bytes()


def test_only_the_timings_may_differ():
    assert TIMINGS == ("plan_seconds", "env_seconds")


def test_an_interrupted_run_keeps_what_was_finished_and_is_resumed(tmp_path):
    folder = interrupted(tmp_path / "run")
    assert len(RunFolder(folder).read_records()) == 3
    lines_before = (folder / "episodes.jsonl").read_text().splitlines()
    resumed = run(folder, resume=True)
    assert (folder / "episodes.jsonl").read_text().splitlines()[:3] == lines_before  # not played again
    assert without_times(resumed.summary) == without_times(run(tmp_path / "undisturbed").summary)
    assert (folder / "traces.npz").read_bytes() == (tmp_path / "undisturbed/traces.npz").read_bytes()


def test_a_torn_last_line_is_dropped_and_played_again(tmp_path):
    folder = interrupted(tmp_path / "run")
    content = (folder / "episodes.jsonl").read_bytes()
    (folder / "episodes.jsonl").write_bytes(content[:-25])
    resumed = run(folder, resume=True)
    assert without_times(resumed.summary) == without_times(run(tmp_path / "undisturbed").summary)


@pytest.mark.parametrize("damage", ["not json", "{}", '{"episode": 1}', "[]"])
def test_other_damage_is_named_by_file_and_line(tmp_path, damage):
    folder = interrupted(tmp_path / "run")
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    (folder / "episodes.jsonl").write_text("\n".join([lines[0], damage, *lines[2:]]) + "\n")
    with pytest.raises(DamagedRun, match=r"episodes\.jsonl, line 2: not an episode record"):
        run(folder, resume=True)


def test_an_episode_twice_is_damage(tmp_path):
    folder = interrupted(tmp_path / "run")
    lines = (folder / "episodes.jsonl").read_text().splitlines()
    (folder / "episodes.jsonl").write_text("\n".join([*lines, lines[0]]) + "\n")
    with pytest.raises(DamagedRun, match="line 4: episode 0 appears twice"):
        run(folder, resume=True)


def test_an_episode_of_other_tasks_is_damage(tmp_path):
    folder = interrupted(tmp_path / "run")
    text = (folder / "episodes.jsonl").read_text()
    (folder / "episodes.jsonl").write_text(text.replace('"init_state":[', '"init_state":[1', 1))
    with pytest.raises(DamagedRun, match="episode 0 is not a task of this run"):
        run(folder, resume=True)


@pytest.mark.parametrize("damage", ["missing", "empty", "torn"])
def test_a_damaged_trace_is_named(tmp_path, damage):
    folder = interrupted(tmp_path / "run")
    trace = folder / "traces/00001.npz"
    content = trace.read_bytes()
    trace.unlink()
    if damage != "missing":
        trace.write_bytes(b"" if damage == "empty" else content[:50])
    with pytest.raises(DamagedRun, match=r"00001\.npz is (missing|damaged)"):
        run(folder, resume=True)


def test_a_damaged_description_is_named(tmp_path):
    folder = interrupted(tmp_path / "run")
    (folder / "run.json").write_text("{")
    with pytest.raises(DamagedRun, match=r"run\.json is damaged"):
        run(folder, resume=True)


def test_a_run_is_never_overwritten(tmp_path):
    run(tmp_path / "done", 1)
    with pytest.raises(UsageError, match="holds a finished run; choose another with --out"):
        run(tmp_path / "done", 1)
    with pytest.raises(UsageError, match="holds an unfinished run; continue it with --resume"):
        run(interrupted(tmp_path / "half", 1, 2))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a run folder"):
        run(tmp_path / "notes", resume=True)


def test_another_run_is_not_resumed_and_the_difference_is_named(tmp_path):
    folder = interrupted(tmp_path / "run")
    with pytest.raises(UsageError, match=r"seed was 1 and is now 2"):
        run(folder, resume=True, seed=2)
    with pytest.raises(UsageError, match=r"agent was 'random' and is now 'oracle'"):
        evaluate("oracle", WALL, episodes=5, out=folder, resume=True)


def edit_description(folder, change):
    data = json.loads((folder / "run.json").read_text())
    change(data)
    (folder / "run.json").write_text(json.dumps(data))


def test_every_attempt_is_noted(tmp_path):
    folder = interrupted(tmp_path / "run")
    run(folder, resume=True)
    attempts = RunFolder(folder).read_run()["attempts"]
    assert len(attempts) == 2
    assert all(each.keys() == {"started", "device", "versions", "source"} for each in attempts)


def test_a_run_from_before_attempts_were_noted_is_resumed(tmp_path):
    folder = interrupted(tmp_path / "run")
    edit_description(folder, lambda data: data.pop("attempts"))
    run(folder, resume=True)
    assert len(RunFolder(folder).read_run()["attempts"]) == 2


def test_other_versions_are_said_and_another_device_is_refused(tmp_path, cli):
    folder = interrupted(tmp_path / "run")
    words = ("run", "--agent", "random", "--env", WALL, "--episodes", 5, "--workers", 1, "--out", folder, "--resume")
    edit_description(folder, lambda data: data["effort"].update(device="cuda"))
    refused = cli(*words)
    assert refused.code == 2
    assert "was begun on cuda and would be resumed on cpu" in refused.err
    edit_description(folder, lambda data: data["effort"].update(device="cpu"))
    edit_description(folder, lambda data: data["attempts"][0]["versions"].update(numpy="1.0"))
    assert "resumed with other versions" in cli(*words).out


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    before = run(tmp_path / "run")
    content = (tmp_path / "run/summary.json").read_bytes()
    assert run(tmp_path / "run", resume=True).summary == before.summary
    assert (tmp_path / "run/summary.json").read_bytes() == content


def test_a_run_killed_while_it_was_tidying_up_is_finished(tmp_path):
    run(tmp_path / "run")
    folder = tmp_path / "run"
    shutil.copytree(folder, tmp_path / "killed")
    (tmp_path / "killed/summary.json").unlink()  # traces are joined already, the summary is not written
    run(tmp_path / "killed", resume=True)
    assert without_times(read_claims(tmp_path / "killed").summary) == without_times(read_claims(folder).summary)


@pytest.mark.usefixtures("plugin")
def test_the_traceback_of_a_failing_agent_is_kept(tmp_path):
    with pytest.raises(Exception, match="battery"):
        evaluate("example_crash", WALL, episodes=4, out=tmp_path / "run")
    assert "RuntimeError: the battery is empty" in (tmp_path / "run/error.log").read_text()
    assert len(RunFolder(tmp_path / "run").read_records()) == 2

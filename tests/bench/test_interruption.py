"""Real processes, really killed."""

import json
import signal
import time

import pytest

from jepawm_bench.run_folder import RunFolder

WALL = "JepaWM/Wall-v0"
SLOW = ("run", "--agent", "example_drift", "--env", WALL, "--episodes", "8", "--set", "seconds=0.05")


def wait_for_episodes(folder, number, process):
    """Wait until some episodes are on disk, but not all."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        file = folder / "episodes.jsonl"
        if file.is_file() and file.read_bytes().count(b"\n") >= number:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    raise AssertionError("no episode was finished within a minute")


def summary_without_times(folder):
    summary = json.loads((folder / "summary.json").read_text())
    return {key: value for key, value in summary.items() if not key.endswith("seconds_mean")}


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("workers", [1, 2])
def test_after_sigkill_a_resumed_run_gives_the_undisturbed_summary(start, cli, tmp_path, workers):
    folder, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    process = start(*SLOW, "--workers", workers, "--out", folder)
    wait_for_episodes(folder, 2, process)
    process.kill()
    process.communicate()
    kept = len(RunFolder(folder).read_records(drop_torn_line=True))
    assert 2 <= kept < 8

    fast = ("run", "--agent", "example_drift", "--env", WALL, "--episodes", "8", "--workers", 1)
    assert cli(*SLOW, "--workers", 1, "--out", folder, "--resume").code == 0
    assert cli(*SLOW, "--workers", 1, "--out", undisturbed).code == 0
    assert summary_without_times(folder) == summary_without_times(undisturbed)
    assert (folder / "traces.npz").read_bytes() == (undisturbed / "traces.npz").read_bytes()
    assert cli(*fast, "--out", folder, "--resume").code == 2  # other settings are another run


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_is_130_keeps_what_was_finished_and_says_how_to_go_on(start, tmp_path, workers):
    folder = tmp_path / "run"
    process = start(*SLOW, "--workers", workers, "--out", folder)
    wait_for_episodes(folder, 2, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    kept = len(RunFolder(folder).read_records())
    assert process.returncode == 130
    assert 2 <= kept < 8
    assert f"Interrupted: {kept} of 8 episodes are finished" in err
    assert "--resume" in err
    assert "Traceback" not in err


def test_a_second_process_on_one_folder_is_refused_and_the_first_is_not_disturbed(start, cli, tmp_path):
    folder = tmp_path / "run"
    first = start(*SLOW, "--set", "seconds=0.4", "--workers", 1, "--out", folder)
    wait_for_episodes(folder, 1, first)
    for extra in ((), ("--resume",)):
        second = start(*SLOW, "--workers", 1, "--out", folder, *extra)
        _, err = second.communicate(timeout=60)
        assert first.poll() is None
        assert second.returncode == 2
        assert "is being written by another process" in err
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "episodes.jsonl", "run.json", "summary.json", "traces.npz",
    ]  # fmt: skip
    assert cli("verify", folder).code == 0


def test_workers_end_when_their_parent_is_killed(start, tmp_path):
    folder = tmp_path / "run"
    process = start(*SLOW, "--workers", 2, "--out", folder)
    wait_for_episodes(folder, 1, process)
    children = _children(process.pid)
    assert len(children) >= 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(_alive(child) for child in children):
        time.sleep(0.05)
    assert not [child for child in children if _alive(child)]


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

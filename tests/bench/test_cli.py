"""The command line: what it prints, and its exit codes."""

import json

import pytest
from PIL import Image

WALL = "JepaWM/Wall-v0"
QUICK = ("run", "--agent", "do_nothing", "--env", WALL, "--episodes", 2, "--workers", 1)


def test_help_and_version(cli):
    answer = cli("--help")
    assert answer.code == 0
    for command in ("run", "list", "leaderboard", "compare", "verify", "tasks", "data", "train", "sweep", "doctor"):
        assert command in answer.out
    assert cli("--version").out.startswith("jepawm-bench ")


@pytest.mark.parametrize("what", ["envs", "agents", "planners", "protocols", "datasets", "recipes", "ablations"])
def test_every_list_prints_a_table_and_json(cli, what):
    assert cli("list", what).code == 0
    rows = cli("list", what, "--json").last_json
    assert isinstance(rows, list)
    assert all(isinstance(row, dict) for row in rows)


def test_the_last_line_of_a_json_run_is_the_summary(cli, tmp_path):
    answer = cli(*QUICK, "--out", tmp_path / "run", "--json")
    assert answer.code == 0
    assert answer.last_json == json.loads((tmp_path / "run/summary.json").read_text())
    assert answer.last_json["n"] == 2


def test_a_run_prints_its_rates_and_where_it_lies(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = cli(*QUICK)
    assert "0.0 to 65.8" in answer.out  # Wilson, 0 of 2
    assert "runs/do_nothing-wall-paper-seed1-n2" in answer.out
    assert (tmp_path / "runs/do_nothing-wall-paper-seed1-n2/summary.json").is_file()


def test_a_run_whose_agent_disowns_it_says_so_below_its_rates(cli, tmp_path):
    assert "Not a result" not in cli(*QUICK, "--out", tmp_path / "run").out
    path = tmp_path / "run/run.json"
    run = json.loads(path.read_text())
    run["agent"] = {**(run["agent"] or {}), "unranked": "Its encoder is random."}
    path.write_text(json.dumps(run))
    shown = cli(*QUICK, "--out", tmp_path / "run", "--resume")  # nothing is left to do
    assert shown.code == 0 and "Not a result to rank: Its encoder is random." in shown.out


def test_the_default_folder_names_what_is_not_the_default(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        assert cli(*QUICK).code == 0  # the same command again is another run
    name = "do_nothing-wall-paper-seed1-n2"
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {name, f"{name}-2", f"{name}-3"}
    assert cli(*QUICK, "--out", f"runs/{name}").code == 2

    (tmp_path / f"runs/{name}-3/summary.json").unlink()
    refused = cli(*QUICK)
    assert refused.code == 2
    assert f"{name}-3 holds an unfinished run; continue it with --resume" in refused.err
    assert cli(*QUICK, "--resume").code == 0
    assert (tmp_path / f"runs/{name}-3/summary.json").is_file()
    assert f"{name}-3" in cli(*QUICK, "--resume").out  # nothing left to do
    assert len(list((tmp_path / "runs").iterdir())) == 3


@pytest.mark.usefixtures("plugin")
def test_runs_that_differ_have_different_default_folders(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drift = ("run", "--env", WALL, "--episodes", 1, "--workers", 1, "--agent")
    for words in (("example_drift",), ("example_drift@wild",), ("example_drift", "--set", "scale=0.1")):
        assert cli(*drift, *words).code == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert "example_drift-wild-wall-paper-seed1-n1" in names
    assert len(names) == 3
    assert not any(name.endswith("-2") for name in names)


def test_the_stored_command_repeats_the_run(cli, tmp_path):
    first = cli(*QUICK, "--seed", 3, "--out", tmp_path / "a", "--json").last_json
    words = first["command"].split()[1:]
    second = cli(*words, "--workers", 1, "--out", tmp_path / "b", "--json").last_json
    assert second["tasks_sha256"] == first["tasks_sha256"]
    assert second["command"] == first["command"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--agent", "oracel", "--env", WALL), "Did you mean oracle?"),
        (("run", "--agent", "oracle@fancy", "--env", WALL), "Unknown variant of oracle 'fancy'"),
        (("run", "--agent", "oracle", "--env", "JepaWM/Wal-v0"), "Did you mean JepaWM/Wall-v0?"),
        (("run", "--agent", "oracle"), "say which, for example --env JepaWM/Wall-v0"),
        (("run", "--agent", "oracle", "--env", WALL, "--protocol", "standrad"), "Did you mean standard?"),
        (("run", "--agent", "oracle", "--env", WALL, "--episodes", 0), "--episodes 0 is not possible"),
        (("run", "--agent", "oracle", "--env", WALL, "--episodes", "many"), "Invalid value for '--episodes'"),
        (("run", "--agent", "oracle", "--env", WALL, "--workers", -1), "--workers -1 is not possible"),
        (("run", "--agent", "oracle", "--env", WALL, "--device", "gpu"), "Unknown device 'gpu'"),
        (("run", "--agent", "oracle", "--env", WALL, "--set", "oops"), "KEY=VALUE"),
        (("run", "--agent", "oracle", "--env", WALL, "--planner", "cem", "--workers", 1), "it has no settings"),
        (("run", "--agent", "oracle", "--env", WALL, "--seed", 0), "--seed 0 is not possible under protocol 'paper'"),
        (("run", "--agent", "oracle", "--env", WALL, "--video", -1), "--video -1 is not possible"),
        (("run", "--agent", "jepa_wm_droid"), "plays JepaWM/Droid-v0, an environment that this version does not have"),
        (("run", "--agent", "jepa_wm_droid", "--env", WALL), "an environment that this version does not have yet"),
        (("run",), "Missing option '--agent'"),
        (("run", "--agnet", "oracle"), "--agnet"),
        (("lsit",), "Did you mean 'list'?"),
        (("list", "agnets"), "Did you mean agents?"),
        (("tasks", "show", "nowhere.json"), "cannot be read"),
        (("tasks", "make", "--env", WALL, "--split", "train", "--out", "x.json"), "Unknown split 'train'"),
        (("verify", "nowhere"), "is not a run folder"),
        (("compare", "nowhere", "elsewhere"), "is not a run folder"),
        (("train", "--recipe", "nothing/at-all"), "Unknown recipe 'nothing/at-all'"),
    ],
)
def test_wrong_usage_is_2_and_a_sentence(cli, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    answer = cli(*words)
    assert answer.code == 2
    assert message in answer.err
    assert "Traceback" not in answer.err
    assert "0/" not in answer.err  # no progress bar of what never began
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("agent", "message"),
    [("example_crash", "the battery is empty"), ("example_heavy", 'pip install "jepawm-bench[agents]"')],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_fails_is_1_and_a_sentence(cli, tmp_path, agent, message, workers):
    words = ("run", "--agent", agent, "--env", WALL, "--episodes", 4, "--workers", workers, "--out", tmp_path / "run")
    answer = cli(*words)
    assert answer.code == 1
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_films_show_the_episode_beside_its_goal(cli, tmp_path):
    assert cli(*QUICK, "--out", tmp_path / "run", "--video", 1).code == 0
    assert [path.name for path in (tmp_path / "run/videos").iterdir()] == ["00000.gif"]
    with Image.open(tmp_path / "run/videos/00000.gif") as image:
        assert image.size == (224 + 4 + 224, 224)


def test_a_manifest_is_made_once_and_shown(cli, tmp_path):
    words = ("tasks", "make", "--env", WALL, "--split", "dev", "--count", 3, "--out", tmp_path / "wall.json")
    assert cli(*words).code == 0
    assert cli(*words).code == 2  # frozen
    shown = cli("tasks", "show", tmp_path / "wall.json")
    assert "3 tasks on JepaWM/Wall-v0" in shown.out
    assert "wall/strict@1: position < 1.41" in shown.out
    (tmp_path / "wall.json").write_text((tmp_path / "wall.json").read_text().replace("100001", "100009"))
    damaged = cli("tasks", "show", tmp_path / "wall.json")
    assert damaged.code == 1
    assert "was changed after it was made" in damaged.err


@pytest.mark.usefixtures("plugin")
def test_training_reaches_a_strangers_trainer(cli, tmp_path):
    words = ("train", "--recipe", "example/tiny", "--out", tmp_path)
    assert cli(*words, "--set", "optimizer.lr=1e-3", "--resume").code == 0
    written = json.loads((tmp_path / "model.json").read_text())
    assert written == {"recipe": "example/tiny", "settings": {"optimizer": {"lr": 1e-3}}, "resume": True}
    refused = cli(*words, "--set", "epochs=0")
    assert refused.code == 2
    assert "epochs must be at least 1" in refused.err
    failed = cli(*words, "--set", "epochs=101")
    assert failed.code == 1
    assert "the loss is not finite" in failed.err
    assert "RuntimeError" in (tmp_path / "error.log").read_text()
    assert "example/tiny" in [row["name"] for row in cli("list", "recipes", "--json").last_json]


def test_data_is_collected_and_described(cli, tmp_path, monkeypatch):
    pytest.importorskip("jepawm_envs.data")
    words = ("data", "collect", "--env", WALL, "--episodes", 2, "--steps", 5, "--image-size", 16)
    answer = cli(*words, "--out", tmp_path / "data.h5")
    assert answer.code == 0, answer.err
    assert cli("data", "info", next(tmp_path.iterdir())).code == 0

"""The study of planners: its runs are apart from the ranked tables, its page is generated and checked."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from jepawm_bench.errors import DamagedRun, UsageError
from jepawm_bench.leaderboard import Row, read_runs
from jepawm_bench.planner_page import planner_page
from jepawm_bench.planner_study import (
    PlannerRow,
    Published,
    equal_budgets,
    groups,
    planner_rows,
    published_planners,
    split_runs,
)

REFERENCE = Path(__file__).parents[2] / "leaderboards" / "reference"
WALL = "JepaWM/Wall-v0"
SMALL = {"planner.num_samples": 10, "planner.iterations": 2}


def entry(planner, evaluations, success=50.0, *, budget="", changes="", objective="L2", agent="a", weights=None):
    row = Row(WALL, "paper", agent, "", "agent", 96, success, "40.0 to 60.0", evaluations=evaluations)
    return PlannerRow(row, "compact", planner, budget, changes, objective, weights)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Run folders by name: CEM in two settings and random shooting of the true simulator, two episodes each."""
    from jepawm_bench.cli import main

    folder = tmp_path_factory.mktemp("runs")
    asked = {
        "cem": ("cem", SMALL),
        "cem-15": ("cem", {**SMALL, "planner.max_evaluations": 15}),
        "random_shooting": ("random_shooting", SMALL),
    }
    for name, (planner, settings) in asked.items():
        words = ["run", "--agent", "true_simulator", "--env", WALL, "--planner", planner, "--episodes", "2"]
        words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        assert main([*words, "--workers", "1", "--out", str(folder / f"{name}-seed1")]) == 0
    return folder


@pytest.fixture
def board(tmp_path, made, cli):
    """A leaderboards folder with a ranked run and the study."""
    home = tmp_path / "leaderboards"
    shutil.copytree(REFERENCE, home / "reference")
    shutil.copytree(made, home / "wall" / "planners")
    words = ("--env", WALL, "--episodes", 2, "--workers", 1, "--out", home / "wall/paper/random-seed1")
    assert cli("run", "--agent", "random", *words).code == 0
    return home


# Rows


def test_runs_in_a_folder_of_planners_are_the_study(board):
    ranked, study = split_runs(read_runs(board), board)
    assert [path.name for path, _ in ranked] == ["random-seed1"]
    assert [path.name for path, _ in study] == ["cem-15-seed1", "cem-seed1", "random_shooting-seed1"]


def test_a_row_says_which_planner_and_what_was_overridden(made):
    rows = {(entry.planner, entry.budget): entry for entry in planner_rows(read_runs(made))}
    assert set(rows) == {("cem", ""), ("cem", "max_evaluations=15"), ("random_shooting", "")}
    assert {entry.changes for entry in rows.values()} == {"iterations=2, num_samples=10"}
    assert rows["cem", ""].setting == "iterations=2, num_samples=10"
    assert rows["cem", "max_evaluations=15"].setting == "max_evaluations=15, iterations=2, num_samples=10"
    assert [rows[key].row.evaluations for key in rows if key[0] == "cem" and key[1]] == [15]
    assert rows["random_shooting", ""].row.evaluations == 20


def test_a_run_without_a_planner_is_refused(board):
    shutil.move(board / "wall/paper/random-seed1", board / "wall/planners/random-seed1")
    with pytest.raises(UsageError, match=r"random-seed1 lies among .* but random has no planner; move it"):
        planner_rows(split_runs(read_runs(board), board)[1])


def test_the_best_comes_first_and_agents_are_apart():
    runs = [entry("gd", 1000, 10.0), entry("cem", 9000, 90.0), entry("cem", 9000, 80.0, agent="b")]
    found = groups(runs)
    assert {key[2]: [one.planner for one in rows] for key, rows in found.items()} == {"a": ["gd", "cem"], "b": ["cem"]}


def edit_run(folder, change):
    data = json.loads((folder / "run.json").read_text())
    change(data)
    (folder / "run.json").write_text(json.dumps(data))


def test_a_run_that_its_agent_does_not_rank_is_refused(board, cli):
    reason = "The image encoder has random weights."
    edit_run(board / "wall/planners/cem-seed1", lambda run: run["agent"].update(unranked=reason))
    answer = cli("leaderboard", "--write", "--root", board)
    assert answer.code == 2 and not (board / "planners.md").exists()
    assert "planners/cem-seed1 lies among the runs of the planner study" in answer.err
    assert "no result to rank: The image encoder has random weights. Move it out" in answer.err


def test_other_weights_are_a_group_of_their_own_and_named(board):
    rows = [entry("cem", 9000.0, weights="a" * 64), entry("gd", 9000.0, weights="b" * 64), entry("gd", 9000.0)]
    found = {key.player: [one.planner for one in group] for key, group in groups(rows).items()}
    assert found == {"a@compact": ["gd"], "a@compact, weights=aaaaaaaa": ["cem"], "a@compact, weights=bbbbbbbb": ["gd"]}
    edit_run(board / "wall/planners/cem-seed1", lambda run: run["identity"].update(weights_sha256="c" * 64))
    text = planner_page(planner_rows(split_runs(read_runs(board), board)[1]), [], board)
    foreign = text[text.index("true_simulator@default, weights=cccccccc\n") :]
    assert "planners/cem-seed1" in foreign and "planners/cem-15-seed1" not in foreign
    assert "Equal compute" not in foreign


def test_a_budget_counts_when_two_planners_spent_it():
    rows = [entry("cem", 9000.0), entry("mppi", 9000.0), entry("gd", 1000.0), entry("gd", 1000.0), entry("icem", 1752)]
    assert equal_budgets(rows) == [9000]
    assert equal_budgets([*rows, entry("adam", 1000.0)]) == [1000, 9000]
    assert equal_budgets([entry("cem", 0.5), entry("gd", 0.5)]) == []  # a mean of different episodes


# The published table


def test_the_published_planners_are_those_of_the_paper():
    found = {
        (one.env, one.agent, one.title, one.objective): one
        for one in published_planners(REFERENCE / "published_planners.csv")
    }
    cem = found[WALL, "JEPA-WM", "CEM", "L2"]
    assert (cem.success, cem.std, cem.evaluations, cem.planner) == (78.8, 3.9, 9000, "cem")
    nevergrad = found[WALL, "DINO-WM", "Nevergrad (NGOpt)", "L1"]
    assert (nevergrad.success, nevergrad.std, nevergrad.evaluations) == (24.6, 5.2, 9000)
    adam = found[WALL, "JEPA-WM", "Adam", "L2"]
    assert (adam.success, adam.std, adam.evaluations, adam.planner) == (1.1, 1.1, 1000, "gd")  # 500 steps, twice each
    assert found["JepaWM/MetaworldReach-v0", "DINO-WM", "gradient descent", "L2"].success == 62.2
    assert len(found) == 128


def test_the_two_published_tables_agree():
    """Table 1 prints the rows of CEM with L2."""
    with open(REFERENCE / "published.csv", encoding="utf-8", newline="") as lines:
        first = {
            (line["env"], line["agent"]): (float(line["success_percent"]), float(line["std"]))
            for line in csv.DictReader(lines)
            if line["source"].endswith("table 1")
        }
    found = published_planners(REFERENCE / "published_planners.csv")
    again = {
        (one.env, one.agent): (one.success, one.std) for one in found if (one.title, one.objective) == ("CEM", "L2")
    }
    assert first == again


def test_a_damaged_table_is_named_and_a_missing_one_is_empty(tmp_path):
    assert published_planners(tmp_path / "none.csv") == []
    (tmp_path / "some.csv").write_text("env,protocol\nx,paper\n")
    with pytest.raises(DamagedRun, match=r"some\.csv is not a table of published planners"):
        published_planners(tmp_path / "some.csv")


# The page


def published(planner, title, success, agent="JEPA-WM", objective="L2"):
    return Published(WALL, "paper", agent, planner, title, objective, success, 1.0, 9000, "a paper, table 2")


def test_the_page_shows_settings_equal_compute_and_what_was_published(tmp_path):
    rows = [
        entry("cem", 9000.0, 90.0),
        entry("mppi", 9000.0, 85.0),
        entry("cem", 1000.0, 60.0, budget="max_evaluations=1000"),
        entry("cem", 1000.0, 70.0, changes="num_samples=100"),
        entry("gd", 1000.0, 40.0),
        entry("icem", 1752.0, 88.0),
    ]
    shown = [published("cem", "CEM", 78.8), published("cem", "CEM", 64.1, "DINO-WM"), published("gd", "Adam", 1.1)]
    shown += [published("cem", "CEM", 46.7, objective="L1"), dataclasses.replace(shown[0], env="JepaWM/PushT-v0")]
    lines = planner_page(rows, shown, tmp_path).splitlines()
    assert f"## {WALL}, protocol `paper`, a@compact" in lines
    assert "| cem | max_evaluations=1000 | 96 | 60.0 | 40.0 to 60.0 | 1000 |  |  |  |" in lines
    assert "| icem | default | 96 | 88.0 | 40.0 to 60.0 | 1752 |  |  |  |" in lines
    # Equal compute: two planners spent 1,000 and two 9,000; iCEM's number is its own.
    assert "| planner | other settings | 1,000 evaluations | 9,000 evaluations |" in lines
    assert "| cem | default | 60.0 (40.0 to 60.0) | 90.0 (40.0 to 60.0) |" in lines
    assert "| cem | num_samples=100 | 70.0 (40.0 to 60.0) |  |" in lines
    assert "| gd | default | 40.0 (40.0 to 60.0) |  |" in lines
    # As published, beside our default setting with the same objective.
    assert "| CEM | L2 | 9,000 | 78.8 ± 1.0 | 64.1 ± 1.0 | cem | 90.0 (40.0 to 60.0) |" in lines
    assert "| CEM | L1 | 9,000 | 46.7 ± 1.0 |  | cem |  |" in lines
    assert "| Adam | L2 | 9,000 | 1.1 ± 1.0 |  | gd | 40.0 (40.0 to 60.0) |" in lines


def test_the_better_of_two_rows_that_spent_the_same_stands_in_the_table_of_equal_compute(tmp_path):
    rows = [entry("cem", 9000.0, 90.0), entry("cem", 9000.0, 70.0, budget="max_evaluations=9000"), entry("gd", 9000.0)]
    assert "| cem | default | 90.0 (40.0 to 60.0) |" in planner_page(rows, [], tmp_path).splitlines()


def test_pages_are_written_and_checked(board, cli):
    assert cli("leaderboard", "--write", "--root", board).code == 0
    page = (board / "planners.md").read_text()
    assert "[seed 1](wall/planners/cem-15-seed1)" in page and "*JEPA-WM*" in page
    assert "true_simulator" not in (board / "wall.md").read_text()
    checked = cli("leaderboard", "--check", "--root", board)
    assert checked.code == 0 and "2 pages are up to date, 4 runs are what they claim" in checked.out
    (board / "planners.md").write_text(page.replace("78.8", "60.0"))
    assert "planners.md is not what the run folders give" in cli("leaderboard", "--check", "--root", board).err


def test_a_forged_run_of_the_study_fails_the_check(board, cli):
    path = board / "wall/planners/cem-seed1/episodes.jsonl"
    path.write_text(path.read_text().replace('"success":false', '"success":true'))
    assert cli("leaderboard", "--write", "--root", board).code == 0
    assert "cem-seed1 is not what it claims" in cli("leaderboard", "--check", "--root", board).err


def test_the_page_goes_with_its_runs(board, cli):
    assert cli("leaderboard", "--write", "--root", board).code == 0
    shutil.rmtree(board / "wall/planners")
    assert "planners.md has no finished run behind it" in cli("leaderboard", "--check", "--root", board).err


def test_the_study_is_printed_after_the_ranked_table(board, cli):
    out = cli("leaderboard", "--root", board, "--env", "wall").out
    assert out.index("random") < out.index("true_simulator@default on") < out.index("random_shooting")
    assert cli("leaderboard", "--root", board, "--env", "push-t").code == 2

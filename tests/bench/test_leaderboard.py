"""Tables are generated, ranked, and checked."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from jepawm_bench.errors import DamagedRun, UsageError
from jepawm_bench.leaderboard import Row, by_task, measured_rows, ranks, read_runs, reference_rows, tables, trainings
from jepawm_bench.leaderboard_page import cells, family_page, page

REFERENCE = Path(__file__).parents[2] / "leaderboards" / "reference" / "published.csv"
WALL = "JepaWM/Wall-v0"


@pytest.fixture
def board(tmp_path, cli, monkeypatch):
    """A leaderboards folder with two agents, one of them with two seeds."""
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "leaderboards"
    (home / "reference").mkdir(parents=True)
    (home / "reference/published.csv").write_bytes(REFERENCE.read_bytes())
    for agent, seed in (("oracle", 1), ("random", 1), ("random", 2)):
        out = home / f"wall/standard/{agent}-seed{seed}"
        words = ("--protocol", "standard", "--episodes", 4, "--seed", seed, "--workers", 1, "--out", out)
        assert cli("run", "--agent", agent, "--env", WALL, *words).code == 0
    assert (
        cli("run", "--agent", "oracle", "--env", WALL, "--episodes", 4, "--out", home / "wall/paper/oracle").code == 0
    )
    return home


def row(kind, success, agent="a"):
    return Row(WALL, "paper", agent, "compact", kind, 96, success, "")


def test_only_agents_are_ranked_and_equals_share_a_place():
    rows = [
        row("ceiling", 100),
        row("agent", 90),
        row("agent", 90),
        row("published", 80),
        row("agent", 70),
        row("floor", 0),
    ]
    assert ranks(rows) == [None, 1, 1, None, 3, None]


def test_trainings_of_one_agent_are_summed_up_beside_their_rows(tmp_path):
    rows = [
        dataclasses.replace(row("agent", success), variant=variant, recipe=recipe)
        for success, variant, recipe in ((90, "compact", "x"), (80, "compact-seed1", "x"), (10, "official", "y"))
    ]
    rows.append(dataclasses.replace(rows[1], success=0, variant="compact-seed2", partial=True))
    (group,) = trainings(rows)
    assert [one.variant for one in group] == ["compact", "compact-seed1"]
    text = page(WALL, {"paper": rows}, tmp_path)
    assert "| a | 2 | 85.0 ± 7.1 | 80.0 to 90.0 | compact, compact-seed1 |" in text
    assert "trainings" not in page(WALL, {"paper": rows[1:]}, tmp_path)


def test_settings_but_not_weights_tell_trainings_apart(board):
    ((path, claims), *_) = read_runs(board / "wall/paper")

    def recipe(**settings) -> str:
        spec = dataclasses.replace(claims.spec, settings={**claims.spec.settings, **settings})
        (made,) = measured_rows([(path, dataclasses.replace(claims, spec=spec))])
        return made.recipe

    assert recipe(weights="a", horizon=3) == recipe(weights="b", horizon=3) != recipe(weights="a", horizon=4)
    chosen = dataclasses.replace(claims, spec=dataclasses.replace(claims.spec, weights="file"))
    assert measured_rows([(path, chosen)])[0].recipe == ""


def test_the_papers_figures_are_there():
    rows = {row.agent: row for row in reference_rows(REFERENCE) if row.env == WALL}
    assert (rows["JEPA-WM"].success, rows["DINO-WM"].success) == (78.8, 64.1)
    assert rows["JEPA-WM"].n == 96


def test_a_table_of_published_figures_alone_is_not_made():
    assert tables(reference_rows(REFERENCE)) == {}


def test_a_damaged_reference_table_is_named(tmp_path):
    (tmp_path / "published.csv").write_text("env,protocol\nx,paper\n")
    with pytest.raises(DamagedRun, match=r"published\.csv is not a table"):
        reference_rows(tmp_path / "published.csv")


def test_seeds_are_pooled_into_one_row(board):
    rows = {(row.protocol, row.agent): row for row in measured_rows(read_runs(board))}
    pooled = rows["standard", "random"]
    assert (pooled.n, pooled.repeats, pooled.seeds, len(pooled.runs)) == (4, 2, (1, 2), 2)
    assert pooled.spread == "0.0 to 49.0"  # Wilson, 0 of 4: the seeds share their tasks
    assert cells(pooled, None)[4] == "4 x 2 (partial)"


def test_a_task_that_two_seeds_of_the_published_rule_share_counts_once(tmp_path, cli):
    for seed in (1, 2):  # task seeds 1 to 6, and 4, 6, 8, 10, 12, 14
        words = ("--episodes", 6, "--seed", seed, "--workers", 1, "--out", tmp_path / f"seed{seed}")
        assert cli("run", "--agent", "oracle", "--env", WALL, *words).code == 0
    (pooled,) = measured_rows(read_runs(tmp_path))
    assert (pooled.n, pooled.repeats) == (10, 1)


def test_a_task_counts_by_the_share_of_its_seeds(board):
    (_, first), (_, second) = read_runs(board / "wall/standard")[1:]
    hit = dataclasses.replace(second.records[0], success=True)
    assert by_task([*first.records, hit, *second.records[1:]], lambda record: record.success) == [0.5, 0, 0, 0]


def test_partial_rows_are_listed_and_not_ranked():
    short = dataclasses.replace(row("agent", 100), n=5, partial=True)
    assert ranks([short, row("agent", 90)]) == [None, 1]
    assert cells(short, None)[4] == "5 (partial)"


def test_other_weights_or_settings_are_another_row(board):
    (path, claims), *_ = read_runs(board / "wall/standard")
    other = dataclasses.replace(claims, identity={**claims.identity, "weights_sha256": "1" * 64})
    assert len(measured_rows([(path, claims), (path, other)])) == 2
    changed = dataclasses.replace(claims, spec=dataclasses.replace(claims.spec, settings={"a": 1}))
    assert len(measured_rows([(path, claims), (path, changed)])) == 2


def test_chosen_weights_are_in_the_label(board):
    claims = read_runs(board / "wall/standard")[0][1]
    spec = dataclasses.replace(claims.spec, weights="w.safetensors")
    other = dataclasses.replace(claims, spec=spec, identity={**claims.identity, "weights_sha256": "12345678abc"})
    assert (claims.label, other.label) == ("default", "default, weights=12345678")


def test_a_seed_cannot_count_twice(board):
    runs = read_runs(board)
    with pytest.raises(UsageError, match="have the same seed"):
        measured_rows([*runs, runs[0]])


def test_pages_are_written_checked_and_found_stale(board, cli):
    assert cli("leaderboard", "--check").code == 1
    assert cli("leaderboard", "--write").code == 0
    assert cli("leaderboard", "--check").code == 0
    text = (board / "wall.md").read_text()
    assert "| *JEPA-WM* | CEM, L2; arXiv 2512.24497, table 1 | published | 96 | 78.8 | ± 3.9 |" in text
    assert "[seed 2](wall/standard/random-seed2)" in text
    assert (
        "jepawm-bench run --agent random@default --env JepaWM/Wall-v0 --protocol standard --episodes 4 --seed 2" in text
    )
    (board / "wall.md").write_text(text.replace("78.8", "60.0"))
    stale = cli("leaderboard", "--check")
    assert stale.code == 1
    assert "run 'jepawm-bench leaderboard --write'" in stale.err


def test_a_forged_run_fails_the_check(board, cli):
    assert cli("leaderboard", "--write").code == 0
    path = board / "wall/standard/random-seed1/episodes.jsonl"
    path.write_text(path.read_text().replace('"success":false', '"success":true'))
    assert cli("leaderboard", "--write").code == 0  # the page agrees with the forged run
    answer = cli("leaderboard", "--check")
    assert answer.code == 1
    assert "random-seed1 is not what it claims" in answer.err


def test_a_forged_trace_in_the_middle_fails_the_check(board, cli):
    path = board / "wall/standard/random-seed1/traces.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["actions_00002"] = -arrays["actions_00002"]  # the scores still follow from the states
    np.savez(path, **arrays)
    assert cli("leaderboard", "--write").code == 0
    answer = cli("leaderboard", "--check")
    assert answer.code == 1
    assert "random-seed1 is not what it claims" in answer.err


def test_a_page_without_runs_fails_the_check(board, cli):
    assert cli("leaderboard", "--write").code == 0
    (board / "push-t.md").write_text("# invented\n")
    assert "has no finished run behind it" in cli("leaderboard", "--check").err


def test_runs_of_any_folder_are_printed_beside_the_published_rows(board, cli):
    answer = cli("leaderboard", "--runs", board / "wall/paper", "--root", board)
    assert answer.code == 0
    for word in ("oracle", "JEPA-WM", "78.8"):
        assert word in answer.out


def test_what_cannot_be_shown_is_said(board, cli, tmp_path, monkeypatch):
    assert "no finished runs" in cli("leaderboard", "--runs", tmp_path / "leaderboards/reference").err
    assert "not a folder" in cli("leaderboard", "--runs", tmp_path / "nowhere").err
    assert "Unknown environment" in cli("leaderboard", "--env", "Wal").err
    assert cli("leaderboard", "--runs", board, "--check").code == 2
    assert "use it with --check" in cli("leaderboard", "--workers", 2).err


def test_an_overridden_setting_makes_another_row():
    plain = row("agent", 50)
    assert dataclasses.replace(plain, variant="compact, planner.name=mppi") != plain


def test_a_benchmark_of_many_environments_is_one_table_with_its_mean(tmp_path):
    def measured(env, agent, kind, outcomes, command="jepawm-bench run"):
        rate = 100 * sum(outcomes) / len(outcomes)
        settings = {"outcomes": tuple(map(float, outcomes)), "commands": (command,)}
        return Row(env, "standard", agent, "default", kind, len(outcomes), rate, "", **settings)

    reach, push = "JepaWM/MetaworldReach-v0", "JepaWM/MetaworldPush-v0"
    board = {
        (reach, "standard"): [measured(reach, "oracle", "ceiling", [1, 1]), measured(reach, "random", "floor", [0, 1])],
        (push, "standard"): [measured(push, "oracle", "ceiling", [1, 0, 0, 0])],
    }
    lines = family_page("metaworld", board, tmp_path).splitlines()
    assert "| environment | oracle (ceiling) | random (floor) |" in lines
    assert f"| {reach} | 100.0 | 50.0 |" in lines
    assert f"| {push} | 25.0 |  |" in lines
    (mean,) = [line for line in lines if line.startswith("| mean of 2 |")]
    assert "62.5 (" in mean  # each environment counts the same, whatever its number of tasks
    assert "| evaluations an episode | 0 | 0 |" in lines
    assert "1 environments" in mean  # random played one of the two
    assert lines.count("jepawm-bench run") == 2


def test_a_run_whose_agent_disowns_it_is_shown_and_not_ranked(board):
    path = board / "wall/standard/random-seed1/run.json"
    run = json.loads(path.read_text())
    run["agent"]["unranked"], run["card"]["kind"] = "Its encoder is random.", "agent"
    path.write_text(json.dumps(run))
    rows = [row for row in measured_rows(read_runs(board)) if row.unranked]
    assert [row.variant for row in rows] == ["default (unranked)"]
    whole = dataclasses.replace(rows[0], partial=False)
    assert ranks([whole]) == [None] and ranks([dataclasses.replace(whole, unranked=False)]) == [1]

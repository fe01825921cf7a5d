"""A forged record fails."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jepawm_bench.errors import UsageError
from jepawm_bench.scoring import score
from jepawm_bench.summary import summarise
from jepawm_bench.tasks import make_world
from jepawm_bench.verify import DIFFERENT, EXACT, SAME_OUTCOME, read_claims, verify

PLUGIN = Path(__file__).parents[1] / "plugin"


def edit_lines(folder, episode, **fields):
    path = folder / "episodes.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[episode] |= fields
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def edit_summary(folder, **fields):
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def edit_trace(folder, name, change):
    path = folder / "traces.npz"
    with np.load(io.BytesIO(path.read_bytes())) as file:
        arrays = dict(file)
    arrays[name] = change(arrays[name])
    np.savez(path, **arrays)


def forge_consistently(folder, change, episode=0):
    """Change the states of an episode, and its record and the summary so that all agree."""
    edit_trace(folder, f"states_{episode:05d}", change)
    recompute(folder, episode)


def recompute(folder, episode):
    """Make the record of an episode and the summary follow from its trace."""
    claims = read_claims(folder)
    env, states = make_world(claims.spec.env), claims.traces[episode]["states"]
    result = score(env, states, claims.records[episode].goal_state)
    main = next(iter(result.predicates.values()))
    met = env.predicates[0].met(env.distances(states[1:], np.array(claims.records[episode].goal_state)))
    edit_lines(
        folder,
        episode,
        steps=len(states) - 1,
        **{"return": float(met.sum()) - len(met)},
        success=main.final,
        success_any=main.any,
        steps_to_success=main.steps_to_success,
        final_distance=result.final_distance,
        min_distance=result.min_distance,
        predicates={name: value.to_json() for name, value in result.predicates.items()},
    )
    claims = read_claims(folder)
    edit_summary(folder, **summarise(claims.spec, claims.records, claims.summary["tasks_sha256"]))


@pytest.fixture
def run(make_run):
    return make_run("random")


def test_an_honest_run_passes_exactly(run):
    found = verify(run, replan=True, replan_episodes=None)
    assert found.passed
    assert [verdict.verdict for verdict in found.verdicts] == [EXACT] * 12
    assert {verdict.how for verdict in found.verdicts} == {"replayed", "planned again"}


def test_every_episode_is_replayed_unless_a_number_is_given(run):
    assert [verdict.episode for verdict in verify(run).verdicts] == [0, 1, 2, 3, 4, 5]
    few = [[verdict.episode for verdict in verify(run, episodes=3).verdicts] for _ in range(2)]
    assert few[0] == few[1] == sorted(set(few[0])) and len(few[0]) == 3
    assert len(verify(run, episodes=1).verdicts) == 1


@pytest.mark.parametrize(
    "forged",
    [
        {"success": True},
        {"success_any": True},
        {"final_distance": 0.5},
        {"min_distance": 0.0},
        {"steps_to_success": 3},
        {"return": -7.0},
    ],
)
def test_a_forged_score_is_found(run, forged):
    edit_lines(run, 4, **forged)
    found = verify(run)
    assert not found.passed
    assert any(f"Episode 4: {next(iter(forged))}" in problem for problem in found.problems)


def test_a_forged_predicate_is_found(run):
    record = json.loads((run / "episodes.jsonl").read_text().splitlines()[1])
    record["predicates"]["wall/strict@1"]["final"] = True
    edit_lines(run, 1, predicates=record["predicates"])
    assert any("Episode 1: predicates" in problem for problem in verify(run).problems)


def test_a_forged_summary_is_found(run):
    edit_summary(run, success_rate=1.0)
    assert verify(run).problems == ("summary.json: success_rate does not follow from the episodes.",)


def test_states_moved_to_the_goal_are_found_by_replaying(run):
    goal = np.array(read_claims(run).records[0].goal_state)
    forge_consistently(run, lambda states: np.concatenate([states[:-1], goal[None]]))
    found = verify(run)
    assert found.problems == ()
    assert found.verdicts[0].verdict == DIFFERENT
    assert not found.passed


def test_an_episode_cut_at_its_first_hit_is_found(make_run):
    run = make_run("oracle")
    for name in ("states", "actions"):
        edit_trace(run, f"{name}_00002", lambda array: array[:-5])
    edit_lines(run, 2, plans=25)
    recompute(run, 2)
    assert any("Episode 2: it lasts 25 actions" in problem for problem in verify(run).problems)


def test_an_episode_played_longer_is_found(run):
    edit_trace(run, "states_00002", lambda states: np.concatenate([states, states[-1:]]))
    edit_trace(run, "actions_00002", lambda actions: np.concatenate([actions, np.zeros((1, 2))]))
    recompute(run, 2)
    assert any("the protocol's budget is 30" in problem for problem in verify(run).problems)


@pytest.mark.parametrize("plans", [0, 31])
def test_an_impossible_number_of_plans_is_found(run, plans):
    edit_lines(run, 2, plans=plans)
    assert any(f"Episode 2: {plans} plans cannot be" in problem for problem in verify(run).problems)


def test_actions_that_are_no_numbers_are_found(run):
    edit_trace(run, "actions_00001", lambda actions: np.full_like(actions, np.nan))
    assert any("Episode 1: the trace holds actions" in problem for problem in verify(run).problems)


def test_states_that_the_simulator_contradicts_are_found_in_any_episode(run):
    shift = np.linspace(0, 1e-3, 31)[:, None]
    forge_consistently(run, lambda states: states + shift, episode=3)  # too little to change a success
    found = verify(run)
    assert found.problems == ()
    assert [verdict.verdict for verdict in found.verdicts] == [EXACT] * 3 + [DIFFERENT] + [EXACT] * 2
    assert not found.passed


def test_another_way_to_the_same_outcome_is_said(run):
    forge_consistently(run, lambda states: states + np.linspace(0, 1e-9, len(states))[:, None])
    found = verify(run)
    assert found.verdicts[0].verdict == SAME_OUTCOME
    assert found.passed


def test_actions_of_somebody_else_are_found_by_planning_again(make_run):
    nothing, oracle = make_run("do_nothing"), make_run("oracle")
    for name in ("episodes.jsonl", "traces.npz", "summary.json"):
        shutil.copy(oracle / name, nothing / name)
    edit_summary(nothing, agent="do_nothing", command=json.loads((nothing / "run.json").read_text())["command"])
    assert verify(nothing).passed  # consistent, and the simulator agrees
    assert [verdict.verdict for verdict in verify(nothing, replan=True).verdicts[6:]] == [DIFFERENT] * 3


@pytest.mark.parametrize("change", [lambda lines: lines[:-1], lambda lines: lines[::-1]], ids=["left out", "reordered"])
def test_episodes_left_out_are_found(run, change):
    path = run / "episodes.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(change(lines)))
    assert any("each once and in order" in problem for problem in verify(run).problems)


def test_easier_tasks_are_found(run):
    edit_lines(run, 2, goal_state=[20.0, 20.0])
    assert any("Episode 2: seed, bin or states" in problem for problem in verify(run).problems)


def edit_description(folder, change):
    data = json.loads((folder / "run.json").read_text())
    change(data)
    (folder / "run.json").write_text(json.dumps(data))


def test_a_floor_that_calls_itself_an_agent_is_found(run):
    edit_description(run, lambda data: data["card"].update(kind="agent"))
    assert verify(run).problems == ("run.json: random is called 'agent' and is 'floor' in the catalogue.",)


def test_settings_that_the_catalogue_does_not_give_are_found(run):
    edit_description(run, lambda data: data["identity"]["settings"].update(horizon=9))
    assert any("the settings are not those of random@default" in problem for problem in verify(run).problems)


def test_an_agent_that_is_not_installed_is_noted(make_run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(PLUGIN))
        run = make_run("example_drift")
        assert verify(run).notes == ()
    found = verify(run)
    assert found.passed
    assert "'example_drift' is not installed" in found.notes[0]


@pytest.mark.usefixtures("plugin")
def test_other_weights_cannot_plan_the_same_again(make_run):
    run = make_run("example_drift")
    assert verify(run, replan=True).passed
    (run / "run.json").write_text((run / "run.json").read_text().replace("0" * 64, "1" * 64))
    with pytest.raises(UsageError, match="has other weights now"):
        verify(run, replan=True)


@pytest.fixture(scope="module")
def planned_once(tmp_path_factory):
    """A run of a planner with a limit of evaluations: one plan an episode, 15 candidates."""
    from jepawm_bench.cli import main

    folder = tmp_path_factory.mktemp("planned") / "run"
    words = ["--planner", "cem", *PLANNER, "--set", "planner.max_evaluations=15", "--out", str(folder)]
    assert main(["run", "--agent", "true_simulator", "--env", WALL, "--workers", "1", *words]) == 0
    return folder


WALL = "JepaWM/Wall-v0"
PLANNER = ["--set", "planner.num_samples=10", "--set", "planner.iterations=2", "--episodes", "2"]


@pytest.fixture
def planned(planned_once, tmp_path):
    return shutil.copytree(planned_once, tmp_path / "planned")


def forge_spending(folder, **fields):
    """Change what an episode spent, and the summary so that it follows."""
    edit_lines(folder, 1, **fields)
    claims = read_claims(folder)
    edit_summary(folder, **summarise(claims.spec, claims.records, claims.summary["tasks_sha256"]))


def planned_again(folder):
    found = verify(folder, replan=True, replan_episodes=None)
    assert found.problems == ()
    return [verdict.verdict for verdict in found.verdicts if verdict.how == "planned again"]


def test_an_honest_run_within_its_budget_passes(planned):
    assert [record.model_evaluations for record in read_claims(planned).records] == [15, 15]
    assert planned_again(planned) == [EXACT, EXACT]


@pytest.mark.parametrize("spent", [16, -1, 7.5, True])
def test_impossible_evaluations_are_found_without_planning_again(planned, spent):
    forge_spending(planned, model_evaluations=spent)
    (problem,) = verify(planned).problems
    assert f"Episode 1: {spent!r} evaluations cannot be" in problem


@pytest.mark.parametrize("forged", [{"model_evaluations": 14}, {"plans": 2}], ids=["evaluations", "plans"])
def test_possible_but_forged_spending_is_found_by_planning_again(planned, forged):
    forge_spending(planned, **forged)
    assert verify(planned).passed  # nothing in the folder contradicts it
    assert planned_again(planned) == [EXACT, DIFFERENT]


def test_a_limit_of_time_leaves_the_evaluations_open(tmp_path, cli):
    folder = tmp_path / "timed"
    words = ("--planner", "cem", *PLANNER, "--set", "planner.max_seconds=60", "--workers", 1, "--out", folder)
    assert cli("run", "--agent", "true_simulator", "--env", WALL, *words).code == 0
    forge_spending(folder, model_evaluations=10)
    assert planned_again(folder) == [EXACT, EXACT]
    forge_spending(folder, plans=2)
    assert planned_again(folder) == [EXACT, DIFFERENT]


def test_the_command_says_it_in_its_exit_code(run, cli):
    honest = cli("verify", run, "--episodes", "all", "--agent")
    assert honest.code == 0
    assert "6 scores follow from the traces, 12 repetitions agree" in honest.out
    edit_lines(run, 0, success=True)
    forged = cli("verify", run)
    assert forged.code == 1
    assert "NOT what it claims" in forged.out
    assert cli("verify", run / "nowhere").code == 2
    assert cli("verify", run, "--episodes", "some").code == 2


@pytest.fixture
def arm_run(tmp_path, cli):
    """A run in an environment that records a part of its states, whose success the simulator states."""
    pytest.importorskip("metaworld")
    folder = tmp_path / "arm"
    words = ("--env", "JepaWM/MetaworldReach-v0", "--episodes", 3, "--workers", 1, "--out", folder)
    assert cli("run", "--agent", "do_nothing", *words).code == 0
    return folder


def claim_success(states):
    return np.where(np.arange(states.shape[1]) == 0, np.float32(1.0), states).astype(states.dtype)


def test_an_honest_run_of_a_partly_recorded_environment_passes_exactly(arm_run):
    found = verify(arm_run)
    assert found.passed and [verdict.verdict for verdict in found.verdicts] == [EXACT] * 3


@pytest.mark.parametrize("episode", [0, 1, 2])
def test_a_claimed_success_is_the_first_to_be_replayed(arm_run, episode):
    forge_consistently(arm_run, claim_success, episode)
    found = verify(arm_run, episodes=1)
    assert not found.passed
    assert [(verdict.episode, verdict.verdict) for verdict in found.verdicts] == [(episode, DIFFERENT)]


@pytest.mark.parametrize("width", [2, 9])
def test_a_trace_of_another_width_is_said_to_be_one(arm_run, width):
    edit_trace(arm_run, "states_00001", lambda states: np.resize(states, (len(states), width)))
    found = verify(arm_run)
    assert any("Episode 1: the trace does not start" in problem for problem in found.problems)


def test_a_moved_start_is_found_by_the_replay(arm_run):
    edit_trace(arm_run, "states_00000", lambda states: np.concatenate([states[:1] + 1, states[1:]]))
    assert not verify(arm_run).passed


def test_a_run_with_the_published_jitter_is_replayed_with_it(tmp_path, cli):
    folder = tmp_path / "rooms"
    words = ("--env", "JepaWM/TwoRooms-v0", "--episodes", 4, "--workers", 1, "--out", folder)
    assert cli("run", "--agent", "random", *words).code == 0
    found = verify(folder)
    assert found.passed and [verdict.verdict for verdict in found.verdicts] == [EXACT] * 4

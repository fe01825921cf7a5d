"""Whole runs: floors and ceilings where they must be, and the same records however they are made."""

import dataclasses

import numpy as np
import pytest

from jepawm_bench import Chunk, evaluate
from jepawm_bench.errors import AgentFailed, UsageError

WALL = "JepaWM/Wall-v0"


def outcomes(result):
    return [record.outcome() for record in result.records]


def test_floors_and_ceilings_are_where_they_must_be():
    oracle, straight, nothing = (
        evaluate(name, WALL, "standard", episodes=40) for name in ("oracle", "straight_line", "do_nothing")
    )
    assert oracle.success_rate == 1.0
    assert nothing.success_rate == 0.0
    assert {record.bin for record in straight.records if record.success} == {"straight"}
    assert straight.summary["bins"]["straight"]["success_rate"] == 1.0


def test_the_paper_protocol_is_96_episodes_of_30_steps():
    result = evaluate("do_nothing", WALL)
    assert (result.summary["n"], result.summary["seed"]) == (96, 1)
    assert {record.steps for record in result.records} == {30}
    assert result.traces[95]["states"].shape == (31, 2)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("agent", ["random", "oracle", "example_drift", "example_looker"])
def test_records_do_not_depend_on_the_batch(agent):
    single, four, sixteen = (evaluate(agent, WALL, episodes=18, batch=batch) for batch in (1, 4, 16))
    assert outcomes(single) == outcomes(four) == outcomes(sixteen)
    for name, array in single.traces[17].items():
        assert np.array_equal(array, sixteen.traces[17][name])


@pytest.mark.usefixtures("plugin")
def test_records_do_not_depend_on_the_number_of_workers():
    alone = evaluate("example_drift", WALL, episodes=9)
    assert outcomes(evaluate("example_drift", WALL, episodes=9, workers=2, batch=2)) == outcomes(alone)


def test_the_seed_changes_random_actions_on_frozen_tasks():
    first, second = (evaluate("random", WALL, "standard", 3, seed=seed) for seed in (1, 2))
    assert first.summary["tasks_sha256"] == second.summary["tasks_sha256"]
    assert outcomes(first) != outcomes(second)


@pytest.mark.usefixtures("plugin")
def test_settings_of_a_protocol_and_overrides_reach_the_agent():
    paper = evaluate("example_drift", WALL, episodes=1)
    standard = evaluate("example_drift", WALL, "standard", episodes=1)
    overridden = evaluate("example_drift", WALL, episodes=1, settings={"scale": 0.25})
    first = [result.traces[0]["actions"][0] for result in (paper, standard, overridden)]
    assert first[1] == pytest.approx(first[0] / 2)
    assert first[2] == pytest.approx(first[1])
    assert "--set scale=0.25" in overridden.summary["command"]


@pytest.mark.usefixtures("plugin")
def test_planner_traces_are_kept():
    assert evaluate("example_drift", WALL, episodes=1).traces[0]["plan_best"].shape == (5, 3)


class GoRight:
    """An agent of the user's own."""

    obs_type, image_size = "state", 0

    def reset(self, observation, keys):
        assert set(observation) == {"observation", "achieved_goal", "desired_goal", "state", "goal_state"}
        assert observation["goal_state"].dtype == np.float64

    def act(self, observation, steps_left):
        return Chunk(np.tile([1.0, 0.0], (len(observation["state"]), 1, 1)))


def test_an_object_can_be_scored_without_a_package():
    result = evaluate(GoRight(), WALL, episodes=4)
    assert result.summary["agent"] == "GoRight"
    assert result.records[0].plans == 30


@pytest.mark.parametrize(
    "useless", [{"settings": {"a": 1}}, {"weights": "w.safetensors"}, {"workers": 2}, {"device": "cuda"}]
)
def test_what_an_object_cannot_be_told_is_refused(useless):
    with pytest.raises(UsageError, match=f"an agent object and {next(iter(useless))}"):
        evaluate(GoRight(), WALL, episodes=1, **useless)


@pytest.mark.usefixtures("plugin")
def test_an_agent_that_fails_is_named_with_its_episode():
    with pytest.raises(
        AgentFailed, match="'example_crash' failed in episode 2: RuntimeError: the battery is empty"
    ) as info:
        evaluate("example_crash", WALL, episodes=4)
    assert "play.py" in info.value.trace
    with pytest.raises(AgentFailed, match=r"'example_nan' failed in episode \d: .*not finite"):
        evaluate("example_nan", WALL, episodes=4, workers=2)


@pytest.mark.usefixtures("plugin")
def test_what_cannot_be_meant_is_refused():
    for wrong, message in (
        ({"agent": "example_drift@wlid"}, "Did you mean wild"),
        ({"env_id": "JepaWM/Wal-v0"}, "Did you mean JepaWM/Wall-v0"),
        ({"protocol": "papre"}, "Did you mean paper"),
        ({"workers": 0}, "--workers 0 is not possible"),
        ({"batch": 0}, "--batch 0 is not possible"),
        ({"device": "gpu"}, "Unknown device 'gpu'"),
        ({"settings": {"scael": 1}}, "unknown setting 'scael'"),
    ):
        with pytest.raises(UsageError, match=message):
            evaluate(**{"agent": "example_drift", "env_id": WALL, "episodes": 1, **wrong})


def test_a_record_survives_json_exactly():
    (record,) = evaluate("random", WALL, episodes=1).records
    again = type(record).from_json(record.to_json())
    assert dataclasses.asdict(again) == dataclasses.asdict(record)

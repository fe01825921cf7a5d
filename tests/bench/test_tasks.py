"""Which tasks are played."""

import json

import numpy as np
import pytest

from jepawm_bench.canonical import canonical_json
from jepawm_bench.errors import BenchError, DamagedManifest, UsageError
from jepawm_bench.manifest_maker import make_manifest, refusal
from jepawm_bench.manifests import load_manifest, packaged_manifest
from jepawm_bench.protocols import NOTHING, all_protocols, find_protocol, short_name
from jepawm_bench.task_lists import load_tasks, published_seed
from jepawm_bench.tasks import Task, make_world, tasks_hash
from jepawm_envs.goal_sources import follow
from jepawm_envs.registration import ENVIRONMENTS

PAPER = find_protocol("paper", "JepaWM/Wall-v0")
STANDARD = find_protocol("standard", "JepaWM/Wall-v0")
MANY = [protocol for protocol in all_protocols() if protocol.frozen]
SLOW_ORACLES = ("JepaWM/PushT-v0",)
SLOW_SAMPLE = ("JepaWM/MetaworldReach-v0", "JepaWM/MetaworldDrawerClose-v0")
FROZEN = [protocol for protocol in MANY if not ENVIRONMENTS[protocol.env_id].slow or protocol.env_id in SLOW_SAMPLE]
"""The task lists that are looked at with the simulator."""
OFFICIAL = [protocol for protocol in FROZEN if protocol.oracle_meets == NOTHING]
every_list = pytest.mark.parametrize("split", ["dev", "test"])


def label(protocol):
    return f"{short_name(protocol.env_id)}-{protocol.name}"


def tasks_of(protocol, episodes, seed=1, split="test"):
    return load_tasks(protocol, episodes=episodes, seed=seed, split=split)


def test_the_published_seed_rule():
    assert [published_seed(1, episode) for episode in range(3)] == [1, 2, 3]
    assert [published_seed(234, episode) for episode in (0, 5)] == [54756, 55926]
    assert published_seed(100_000, 7) == 10_000_700_000 % (2**32 - 2)


def test_the_first_paper_task_is_the_published_check_vector():
    (task,) = tasks_of(PAPER, 1)
    assert task.seed == 1
    assert task.init_state == pytest.approx((51.50990578, 7.40562724), abs=1e-8)
    assert task.goal_state == pytest.approx((14.98980049, 22.27476257), abs=1e-8)


def test_paper_tasks_follow_the_seed_and_frozen_tasks_do_not():
    assert tasks_hash(tasks_of(PAPER, 3, seed=1)) != tasks_hash(tasks_of(PAPER, 3, seed=2))
    assert tasks_hash(tasks_of(STANDARD, 3, seed=1)) == tasks_hash(tasks_of(STANDARD, 3, seed=2))
    assert tasks_hash(tasks_of(STANDARD, 3, split="dev")) != tasks_hash(tasks_of(STANDARD, 3, split="test"))


def test_fewer_episodes_are_the_first_ones():
    assert tasks_of(PAPER, 5)[:2] == tasks_of(PAPER, 2)
    assert tasks_of(STANDARD, 5)[:2] == tasks_of(STANDARD, 2)


@pytest.mark.parametrize(("episodes", "seed"), [(0, 1), (-3, 1), (1, -1)])
def test_impossible_numbers_are_refused(episodes, seed):
    with pytest.raises(UsageError, match="not possible"):
        tasks_of(PAPER, episodes, seed)


def test_no_more_tasks_than_the_manifest_has():
    with pytest.raises(UsageError, match="more than the 200 tasks"):
        tasks_of(STANDARD, 201)


@every_list
@pytest.mark.parametrize("protocol", MANY, ids=label)
def test_every_frozen_list_has_its_number_of_tasks_in_order(protocol, split):
    manifest = packaged_manifest(protocol, split)
    assert [task.index for task in manifest.tasks] == list(range(protocol.episodes))
    assert manifest.header["budget"] == protocol.budget
    assert {task.env_id for task in manifest.tasks} == {protocol.env_id}
    assert len({(task.init_state, task.goal_state) for task in manifest.tasks}) == protocol.episodes


@every_list
@pytest.mark.parametrize("protocol", FROZEN, ids=label)
def test_frozen_tasks_are_open_at_the_start_and_solved_by_the_oracle(protocol, split):
    env = make_world(protocol.env_id, protocol.env_settings)
    tasks = packaged_manifest(protocol, split).tasks
    few = ENVIRONMENTS[protocol.env_id].slow or protocol.env_id in SLOW_ORACLES
    chosen = tasks[:: len(tasks) // 3] if few else tasks
    assert [refusal(env, task, protocol) for task in chosen] == [None] * len(chosen)


@every_list
@pytest.mark.parametrize("protocol", FROZEN, ids=label)
def test_the_maker_still_gives_the_frozen_tasks(protocol, split):
    few = ENVIRONMENTS[protocol.env_id].slow or protocol.env_id in SLOW_ORACLES
    number = 2 if few else 12
    again = make_manifest(protocol, split, count=number)
    assert again.tasks == packaged_manifest(protocol, split).tasks[:number]


@pytest.mark.parametrize("protocol", OFFICIAL, ids=label)
def test_a_published_list_is_kept_whole(protocol):
    header = packaged_manifest(protocol, "test").header
    assert header["attrition"]["candidates"] == header["attrition"]["accepted"] == protocol.episodes


def test_dev_and_test_share_no_task():
    dev, test = (packaged_manifest(STANDARD, split).tasks for split in ("dev", "test"))
    assert not {task.init_state for task in dev} & {task.init_state for task in test}


def test_the_straight_bin_is_what_a_straight_line_solves():
    env = make_world("JepaWM/Wall-v0")
    for task in packaged_manifest(STANDARD, "test").tasks[:40]:
        goal = np.array(task.goal_state)
        end = follow(env, env.straight_line_action, np.array(task.init_state), goal, STANDARD.budget)[-1]
        assert env.is_success(end, goal) == (task.bin == "straight")


def test_a_changed_manifest_is_refused(tmp_path):
    path = tmp_path / "wall.json"
    manifest = make_manifest(STANDARD, "dev", count=3)
    manifest.write(path)
    assert load_manifest(path) == manifest
    data = json.loads(path.read_text())
    data["tasks"][1]["goal_state"][0] += 1e-9
    path.write_text(json.dumps(data))
    with pytest.raises(DamagedManifest, match="was changed after it was made"):
        load_manifest(path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": "x", "sha256": "0", "tasks": []}'])
def test_what_is_no_manifest_is_said(tmp_path, text):
    path = tmp_path / "wall.json"
    path.write_text(text)
    with pytest.raises(DamagedManifest, match=r"wall\.json"):
        load_manifest(path)


def test_a_changed_predicate_needs_a_new_manifest(monkeypatch):
    world = type(make_world("JepaWM/Wall-v0"))
    monkeypatch.setattr(world, "predicates", world.predicates[:1])
    with pytest.raises(BenchError, match="needs a new version"):
        tasks_of(STANDARD, 1)


def test_a_task_survives_json_exactly():
    (task,) = tasks_of(PAPER, 1)
    assert Task.from_json(json.loads(canonical_json(task.to_json()))) == task


def test_unknown_protocols_environments_and_splits_are_answered_with_names():
    with pytest.raises(UsageError, match="Did you mean standard"):
        find_protocol("standart", "JepaWM/Wall-v0")
    with pytest.raises(UsageError, match="not defined for JepaWM/Nowhere-v0"):
        find_protocol("paper", "JepaWM/Nowhere-v0")
    with pytest.raises(UsageError, match=r"Unknown split 'tset'\. Did you mean test"):
        tasks_of(STANDARD, 1, split="tset")

"""Agents come in by entry points, a stranger's like ours."""

import pytest

from jepawm_bench import evaluate
from jepawm_bench.agent import AgentCard, AgentRequest
from jepawm_bench.errors import MissingExtra, UsageError
from jepawm_bench.registry import load_registry, make_agent

WALL = "JepaWM/Wall-v0"


def request(name, **settings):
    return AgentRequest(load_registry().card(name), "default", settings, WALL, "paper", "cpu")


def test_the_floors_and_the_oracle_are_there():
    registry = load_registry()
    kinds = {name: registry.cards[name].kind for name in ("do_nothing", "random", "straight_line", "oracle")}
    assert kinds == {"do_nothing": "floor", "random": "floor", "straight_line": "floor", "oracle": "ceiling"}


@pytest.mark.usefixtures("plugin")
def test_a_strangers_package_needs_an_entry_point_and_nothing_else():
    assert load_registry().owners["example_drift"] == "example-agents"
    assert evaluate("example_drift", WALL, episodes=2).summary["variant"] == "gentle"
    assert evaluate("example_drift@wild", WALL, episodes=2).summary["variant"] == "wild"


def test_without_the_package_its_agents_are_unknown():
    with pytest.raises(UsageError, match="Unknown agent 'example_drift'"):
        load_registry().card("example_drift")


def test_the_nearest_name_is_suggested():
    with pytest.raises(UsageError, match="Did you mean straight_line"):
        load_registry().card("straightline")


def write_package(folder, name, body):
    (folder / f"{name}.py").write_text(body)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[jepawm_bench.agents]\nx = {name}:all_cards\n")


def test_two_packages_cannot_claim_one_name(tmp_path, monkeypatch):
    write_package(
        tmp_path,
        "greedy_pkg",
        "from jepawm_bench.agent import AgentCard\ndef all_cards():\n    return [AgentCard('random', 'a:b')]\n",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"'random' comes from both .*greedy_pkg"):
        load_registry()


def test_a_broken_package_does_not_take_the_others_down(tmp_path, monkeypatch):
    write_package(tmp_path, "broken_pkg", "raise RuntimeError('half installed')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = load_registry()
    assert "random" in registry.cards
    assert "half installed" in registry.broken["broken_pkg"]
    with pytest.raises(UsageError, match="half installed"):
        registry.card("agent_of_the_broken_package")


@pytest.mark.usefixtures("plugin")
def test_a_missing_extra_is_a_pip_line():
    with pytest.raises(MissingExtra, match=r'a_package_that_nobody_has.*pip install "jepawm-bench\[agents\]"'):
        make_agent(request("example_heavy"))


@pytest.mark.parametrize(
    "fields",
    [{"name": "a b"}, {"factory": "nowhere"}, {"kind": "hero"}, {"variants": {}}],
    ids=lambda fields: str(fields),
)
def test_a_card_that_cannot_work_is_refused(fields):
    with pytest.raises(UsageError):
        AgentCard(**{"name": "a", "factory": "m:f", **fields})


def test_baselines_refuse_settings():
    with pytest.raises(
        UsageError, match=r"'random' could not be made: it has no settings, but was given planner\.name"
    ):
        make_agent(request("random", planner={"name": "cem"}))

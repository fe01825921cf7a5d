"""Agents may choose what their environment shows, and nothing else about it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from jepawm_bench import evaluate
from jepawm_bench.agent import Chunk
from jepawm_bench.errors import AgentFailed
from jepawm_bench.player import Conditions, Player
from jepawm_bench.protocols import find_protocol
from jepawm_bench.task_lists import load_tasks

ROOMS = "JepaWM/TwoRooms-v0"


class Watcher:
    """Stands still and remembers the shape of what it saw."""

    obs_type = "pixels"
    image_size = 65

    def __init__(self, **options: Any):
        self.observation_options = options
        self.shapes: set[tuple[int, ...]] = set()

    def reset(self, observation, keys) -> None:
        self.shapes |= {observation["pixels"].shape, observation["goal_pixels"].shape}

    def act(self, observation, steps_left) -> Chunk:
        return Chunk(np.zeros((len(observation["pixels"]), steps_left, 2)))


def player(env_id: str = ROOMS, settings: dict[str, Any] | None = None, **options: Any) -> Player:
    return Player(Watcher(**options), Conditions("watcher", env_id, 5, 1, settings or {}))


def test_an_agent_sees_the_channels_that_it_asks_for(tmp_path):
    shapes = {}
    for name, options in (("plain", {}), ("two", {"channels": "two"})):
        agent = Watcher(**options)
        result = evaluate(agent, ROOMS, episodes=2, out=tmp_path / name)
        shapes[name] = agent.shapes
        run = json.loads((tmp_path / name / "run.json").read_text())
        assert run["agent"].get("observation_options", {}) == options
        assert [record.success for record in result.records] == [False, False]
    assert shapes == {"plain": {(1, 65, 65, 3)}, "two": {(1, 65, 65, 2)}}


def test_what_is_shown_changes_nothing_else():
    protocol = find_protocol("paper", ROOMS)
    (task,) = load_tasks(protocol, episodes=1, seed=1, split="test")
    plain, two = player(), player(channels="two")
    one, other = plain.play([task]), two.play([task])
    assert one[0].record.outcome() == other[0].record.outcome()
    np.testing.assert_array_equal(one[0].trace["states"], other[0].trace["states"])


@pytest.mark.parametrize("option", ["jitter", "collisions", "clip_actions", "factors", "terminate_on_success"])
def test_physics_and_success_are_not_the_agents_to_choose(option):
    with pytest.raises(
        AgentFailed, match=f"'watcher' asks for the observation option '{option}'.* it can choose chann"
    ):
        Player(Watcher(**{option: 0.0}), Conditions("watcher", ROOMS, 5, 1))


def test_environments_without_options_offer_none():
    with pytest.raises(AgentFailed, match=r"'channels', which an agent cannot choose on JepaWM/Wall-v0; .* none there"):
        player("JepaWM/Wall-v0", channels="two")


def test_what_a_protocol_fixes_stays():
    with pytest.raises(AgentFailed, match="it can choose none there"):
        player(settings={"channels": "rgb"}, channels="two")


def test_an_unknown_value_is_refused_by_the_environment():
    (task,) = load_tasks(find_protocol("paper", ROOMS), episodes=1, seed=1, split="test")
    with pytest.raises(AgentFailed, match="channels='three' is not known; choose one of rgb, two"):
        player(channels="three").play([task])

"""One batch of episodes, in lockstep."""

from typing import Any

import numpy as np
import pytest

from jepawm_bench.agent import Chunk, EpisodeKey
from jepawm_bench.errors import AgentFailed
from jepawm_bench.player import Conditions, Player
from jepawm_bench.rollout import roll_out
from jepawm_bench.tasks import Task


class CountingEnv:
    """A point on a line that counts how often it is drawn."""

    def __init__(self):
        self.drawn = 0
        self.action_space = type("Space", (), {"shape": (1,)})

    @property
    def unwrapped(self):
        return self

    def trace(self, states):
        return states

    def trace_actions(self, actions):
        return actions

    def reset(self, *, seed, options):
        self.state, self.goal = options["init_state"], options["goal_state"]
        return self._observe()

    def step(self, action):
        self.state = self.state + action
        observation, info = self._observe()
        return observation, -1.0, False, False, info

    def _observe(self):
        env = self

        class Lazy(dict):
            def __getitem__(self, key):
                env.drawn += 1
                return np.zeros((4, 4, 3), np.uint8)

        return Lazy(pixels=None), {"state": self.state, "goal_state": self.goal}


class Scripted:
    """Answers chunks of given lengths and remembers what it was told."""

    obs_type, image_size = "pixels", 4

    def __init__(self, *lengths, actions=None):
        self.lengths, self.actions = list(lengths), actions
        self.steps_left, self.keys = [], []
        self.evaluations: Any = 5

    def reset(self, observation, keys):
        self.keys = list(keys)

    def act(self, observation, steps_left):
        self.steps_left.append(steps_left)
        if self.actions is not None:
            return Chunk(self.actions)
        return Chunk(np.ones((len(self.keys), self.lengths.pop(0), 1)), model_evaluations=self.evaluations)


def task(index):
    return Task(index, "x", (float(index),), (9.0,), index, "test", {"bin": "all"})


def test_a_chunk_is_executed_to_its_end_and_the_last_one_is_cut():
    agent = Scripted(4, 4, 4)
    (rollout,) = roll_out(agent, [CountingEnv()], [task(0)], 10, seed=1)
    assert agent.steps_left == [10, 6, 2]
    assert [state.item() for state in rollout.states] == list(range(11))
    assert (len(rollout.actions), rollout.plans, rollout.model_evaluations) == (10, 3, 15)
    assert rollout.reward == -10


def test_evaluations_may_differ_between_the_episodes_of_a_batch():
    agent = Scripted(2, 2)
    agent.evaluations = np.array([5, 0])
    played = roll_out(agent, [CountingEnv(), CountingEnv()], [task(0), task(1)], 4, seed=1)
    assert [rollout.model_evaluations for rollout in played] == [10, 0]
    agent = Scripted(2)
    agent.evaluations = np.array([5])
    with pytest.raises(AgentFailed, match=r"model_evaluations of shape \(1,\); .* each of the 2 episodes"):
        roll_out(agent, [CountingEnv(), CountingEnv()], [task(0), task(1)], 2, seed=1)


def test_images_are_drawn_once_a_plan_and_never_after_the_end():
    env = CountingEnv()
    roll_out(Scripted(5, 5), [env], [task(0)], 10, seed=1)
    assert env.drawn == 2


def test_the_agent_is_told_the_keys_of_its_episodes():
    agent = Scripted(3)
    roll_out(agent, [CountingEnv(), CountingEnv()], [task(7), task(3)], 3, seed=5)
    assert agent.keys == [EpisodeKey(5, 7), EpisodeKey(5, 3)]


@pytest.mark.parametrize("shape", [(1, 0, 1), (2, 3, 1), (1, 3, 2), (1, 3)])
def test_actions_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(AgentFailed, match=r"actions of shape .*; expected \(1, T, 1\)"):
        roll_out(Scripted(actions=np.zeros(shape)), [CountingEnv()], [task(0)], 3, seed=1)


def test_actions_that_are_not_finite_are_refused():
    with pytest.raises(AgentFailed, match="not finite"):
        roll_out(Scripted(actions=np.full((1, 1, 1), np.inf)), [CountingEnv()], [task(0)], 3, seed=1)


def test_an_agent_that_wants_to_see_the_impossible_is_refused():
    agent = Scripted()
    agent.obs_type = "smell"
    with pytest.raises(AgentFailed, match="'smell'; there are pixels, state"):
        Player(agent, Conditions("sniffer", "JepaWM/Wall-v0", 30, 1))

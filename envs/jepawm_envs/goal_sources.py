"""Where a task's goal comes from: the four sources of the published evaluation, and its fixed task list.

Facts: jepa-wms ``plan_evaluator.py:257-453``. Every source is a function of the seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jepawm_envs.errors import InvalidOption

if TYPE_CHECKING:
    from jepawm_envs.data.store import EpisodeStore
    from jepawm_envs.goal_env import GoalEnv, State

RANDOM_STATE, EXPERT, DSET, RANDOM_ACTION, OFFICIAL = "random_state", "expert", "dset", "random_action", "official"
SOURCES = (RANDOM_STATE, EXPERT, DSET, RANDOM_ACTION, OFFICIAL)

LAW_STEPS = 100
"""Length of an episode of the behaviour law, where that stands in for a data set."""


@dataclass(frozen=True)
class Drawn:
    """A start, a goal, and how they were found."""

    init: State
    goal: State
    provenance: str


def draw_task(env: GoalEnv, source: str, seed: int, *, steps: int, data: EpisodeStore | None = None) -> Drawn:
    """The task that belongs to a seed.

    Args:
        env: the bare environment.
        source: ``random_state``: start and goal from the published sampler. ``expert``: the goal is where the
            scripted expert ends. ``dset``: a segment of recorded behaviour, its actions replayed in the simulator
            from its first state; the goal is where the replay ends. ``random_action``: as ``dset`` with normal
            actions of the data set's mean and deviation; of the environment's ``behaviour_std`` and mean zero where
            there is no data set. ``official``: entry ``seed`` of a published task list.
        seed: of everything that is drawn.
        steps: environment steps between start and goal, for the sources that act.
        data: recorded behaviour for ``dset`` and ``random_action``; without it the environment's behaviour law
            gives one episode a seed.

    Raises:
        InvalidOption: for an unknown source, one that the environment has not, or too short data.
    """
    if source == RANDOM_STATE:
        init, goal = env.task_states(seed)
        return Drawn(init, goal, source)
    if source == EXPERT:
        return _expert(env, seed, steps)
    if source in (DSET, RANDOM_ACTION):
        return _replayed(env, source, seed, steps, data)
    if source == OFFICIAL:
        return _official(env, seed)
    raise InvalidOption(f"Goal source {source!r} is not known; choose one of {', '.join(SOURCES)}.")


def _expert(env: Any, seed: int, steps: int) -> Drawn:
    if getattr(env, "goals_are_expert_ends", False):  # then the published sampler already is this source
        init, goal = env.task_states(seed)
        return Drawn(init, goal, EXPERT)
    if not hasattr(env, "expert_action"):
        raise InvalidOption(f"{type(env).__name__} has no expert; choose another goal source.")
    init, target = env.sample_states(seed)
    path = follow(env, env.expert_action, init, target, steps)
    return Drawn(init, path[-1], EXPERT)


def follow(env: Any, controller: Any, init: State, goal: State, steps: int) -> NDArray[np.float64]:
    """States (steps + 1, S) of an episode in which a controller chooses every action."""
    _, info = env.reset(seed=0, options={"init_state": init, "goal_state": goal})
    states = [info["state"]]
    goal_state = info["goal_state"]
    for _ in range(steps):
        states.append(env.step(controller(states[-1], goal_state))[4]["state"])
    return np.stack(states)


def _replayed(env: GoalEnv, source: str, seed: int, steps: int, data: EpisodeStore | None) -> Drawn:
    random = np.random.default_rng(seed)
    states, actions = _episode(env, random, data)
    if len(actions) < steps:
        raise InvalidOption(f"Episodes of {len(actions)} steps are too short for goals {steps} steps away.")
    first = int(random.integers(len(actions) - steps + 1))
    init, chosen = states[first], actions[first : first + steps]
    if source == RANDOM_ACTION:
        mean, std = (0.0, env.behaviour_std) if data is None else _action_statistics(data)
        chosen = random.normal(mean, std, size=chosen.shape)
    goal = _replay(env, init, chosen)
    return Drawn(init, goal, source if data is None else f"{source} of {data.sha256()[:12]}")


def _replay(env: GoalEnv, init: State, actions: NDArray[np.float64]) -> State:
    """Where a real episode ends; imagining it with ``simulate`` would lose what a simulator remembers of contacts."""
    _, info = env.reset(seed=0, options={"init_state": init})
    for action in actions:
        info = env.step(action)[4]
    return info["state"]


def _action_statistics(data: EpisodeStore) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    actions = data.actions.reshape(-1, data.actions.shape[-1])
    return actions.mean(axis=0), actions.std(axis=0)


def _episode(env: GoalEnv, random: np.random.Generator, data: EpisodeStore | None):
    if data is None:
        return env.random_episode(random, LAW_STEPS)
    episode = int(random.integers(data.meta["episodes"]))
    return data.states[episode], data.actions[episode]


def _official(env: Any, index: int) -> Drawn:
    if not hasattr(env, "sample_sequence"):
        raise InvalidOption(f"{type(env).__name__} has no published task list; choose another goal source.")
    init, goal = env.sample_sequence(0, index + 1)[index]
    return Drawn(init, goal, OFFICIAL)

"""What the environment tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

from jepawm_envs.goal_env import GoalEnv
from jepawm_envs.goal_sources import follow
from jepawm_envs.registration import ENVIRONMENTS

WALL = "JepaWM/Wall-v0"
OF_THE_SLOW = ("JepaWM/MetaworldReach-v0", "JepaWM/MetaworldDrawerClose-v0")
"""Stand for their 40 siblings where every id would take long; ``test_every_id.py`` looks at all."""
SIBLINGS = tuple(f"JepaWM/PointMaze{maze}-v0" for maze in ("Open", "Medium", "Large"))
"""The same class with another maze."""
MakeEnv = Callable[..., GoalEnv]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with an argument ``env_id`` runs for every quick environment and some of the slow.

    One with ``quick_id`` leaves the slow ones out.
    """
    quick = [record.id for record in ENVIRONMENTS.values() if not record.slow and record.id not in SIBLINGS]
    if "env_id" in metafunc.fixturenames:
        _parametrize(metafunc, "env_id", [*quick, *OF_THE_SLOW])
    if "quick_id" in metafunc.fixturenames:
        _parametrize(metafunc, "quick_id", quick)


def _parametrize(metafunc: pytest.Metafunc, name: str, ids: list[str]) -> None:
    metafunc.parametrize(name, ids, ids=[env_id.removeprefix("JepaWM/") for env_id in ids])


@pytest.fixture
def make_env() -> Iterator[MakeEnv]:
    """``make_env(id, **settings)``: the bare environment, with small and, where slow, fast images unless told else."""
    made: list[gymnasium.Env] = []

    def make(env_id: str = WALL, **settings: Any) -> GoalEnv:
        quality = "fast" if ENVIRONMENTS[env_id].slow else "paper"
        env = gymnasium.make(env_id, **{"image_size": 32, "render_quality": quality, **settings})
        made.append(env)
        bare = env.unwrapped
        assert isinstance(bare, GoalEnv)
        return bare

    yield make
    for env in made:
        env.close()


@pytest.fixture
def solved_task(make_env: MakeEnv) -> Callable[[str], dict[str, np.ndarray]]:
    """``solved_task(id)``: reset options of a task that is solved at the start and stays so while nothing is done."""

    def find(env_id: str) -> dict[str, np.ndarray]:
        env: Any = make_env(env_id, obs_type="state")
        init, goal = env.sample_states(3)
        if "Metaworld" in env_id:  # solved is what the simulator says, so the expert must have been there
            state = follow(env, env.expert_action, init, goal, 120)[-1]
            return {"init_state": state, "goal_state": goal}
        if "PointMaze" in env_id:
            init[2:] = 0.0  # at rest
        return {"init_state": init, "goal_state": init}

    return find

"""What the environment tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import pytest

from jepawm_envs.goal_env import GoalEnv

WALL = "JepaWM/Wall-v0"
MakeEnv = Callable[..., GoalEnv]


@pytest.fixture
def make_env() -> Iterator[MakeEnv]:
    """``make_env(id, **settings)``: the bare environment, 32-pixel images unless told otherwise."""
    made: list[gymnasium.Env] = []

    def make(env_id: str = WALL, **settings: Any) -> GoalEnv:
        env = gymnasium.make(env_id, **{"image_size": 32, **settings})
        made.append(env)
        bare = env.unwrapped
        assert isinstance(bare, GoalEnv)
        return bare

    yield make
    for env in made:
        env.close()

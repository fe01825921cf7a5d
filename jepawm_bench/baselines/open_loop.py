"""Agents that do not look: zero actions and random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from jepawm_bench.agent import AgentRequest, Chunk, EpisodeKey
from jepawm_bench.baselines.request import refuse_settings


class _OpenLoop:
    obs_type = "state"
    image_size = 0

    def __init__(self, request: AgentRequest):
        refuse_settings(request)
        env = gymnasium.make(request.env_id, obs_type="state", render_mode=None, disable_env_checker=True)
        space = env.action_space
        if not isinstance(space, gymnasium.spaces.Box):
            raise ValueError(f"it needs a box of actions, but {request.env_id} has {type(space).__name__}.")
        self.low, self.high = space.low.astype(np.float64), space.high.astype(np.float64)
        self.keys: Sequence[EpisodeKey] = ()
        self.step = 0
        env.close()

    def reset(self, observation: Mapping[str, NDArray[Any]], keys: Sequence[EpisodeKey]) -> None:
        self.keys, self.step = tuple(keys), 0


class DoNothing(_OpenLoop):
    """Zero actions until the end."""

    def act(self, observation: Mapping[str, NDArray[Any]], steps_left: int) -> Chunk:
        """Zeros (E, steps_left, A)."""
        return Chunk(np.zeros((len(self.keys), steps_left, *self.low.shape)))


class Random(_OpenLoop):
    """Actions drawn uniformly from the action space, each from its own (seed, episode, step)."""

    def act(self, observation: Mapping[str, NDArray[Any]], steps_left: int) -> Chunk:
        """Draws (E, steps_left, A)."""
        steps = range(self.step, self.step + steps_left)
        self.step += steps_left
        return Chunk(np.array([[self._draw(key, step) for step in steps] for key in self.keys]))

    def _draw(self, key: EpisodeKey, step: int) -> NDArray[np.float64]:
        return np.random.default_rng((key.seed, key.episode, step)).uniform(self.low, self.high)

"""Agents scripted by the environment itself, which know the true state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepawm_bench.agent import AgentRequest, Chunk, EpisodeKey
from jepawm_bench.baselines.request import refuse_settings
from jepawm_bench.tasks import make_world

Controller = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


class Scripted:
    """Asks a controller of the environment for one action at a time.

    Args:
        controller: from state (S,) and goal state (S,) to an action (A,).
    """

    obs_type = "state"
    image_size = 0

    def __init__(self, controller: Controller):
        self.controller = controller

    def reset(self, observation: Mapping[str, NDArray[Any]], keys: Sequence[EpisodeKey]) -> None:
        """Nothing is remembered."""

    def act(self, observation: Mapping[str, NDArray[Any]], steps_left: int) -> Chunk:
        """One action for every episode, (E, 1, A)."""
        pairs = zip(observation["state"], observation["goal_state"], strict=True)
        return Chunk(np.array([[self.controller(state, goal)] for state, goal in pairs], dtype=np.float64))


def straight_line(request: AgentRequest) -> Scripted:
    """The walker that ignores obstacles."""
    return _scripted(request, "straight_line_action")


def oracle(request: AgentRequest) -> Scripted:
    """The scripted expert."""
    return _scripted(request, "expert_action")


def _scripted(request: AgentRequest, method: str) -> Scripted:
    refuse_settings(request)
    controller = getattr(make_world(request.env_id, request.env_settings), method, None)
    if controller is None:
        raise ValueError(f"{request.env_id} has no {method}().")
    return Scripted(controller)

"""Windows of Two Rooms walks: states are kept or made anew, pictures are drawn of the frames that are used.

A published trajectory is 91 positions and 90 actions, its last position unused, so frames and actions come in pairs
(eb_jepa ``wall_dataset.py:1042-1055``, commit 966e61e).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from jepawm_agents.errors import ConfigError
from jepawm_agents.training.data import step_generator
from jepawm_envs.data import EpisodeStore
from jepawm_envs.tworooms.drawing import draw_two_channels
from jepawm_envs.tworooms.physics import COLLISIONS, DOOR_Y, WALL_X
from jepawm_envs.tworooms.trajectories import Trajectories, generate

ENV = "JepaWM/TwoRooms-v0"
HELD_OUT = 2**31
"""Number of the first walk that is not trained on."""
HELD_OUT_WINDOWS = 256


class Batch(NamedTuple):
    """B windows of T frames, ``frameskip`` environment steps apart."""

    pixels: Tensor
    """(B, T, H, W, 2) uint8: dot and walls."""
    actions: Tensor
    """(B, T, frameskip * 2), pixels, primitive actions side by side; action t leads from frame t to frame t + 1."""
    positions: Tensor
    """(B, T, 2), pixels."""
    layouts: Tensor
    """(B, 2), wall_x and door_y, pixels."""


class TwoRoomsWindows:
    """Where the batches of a training come from; each is a function of the seed and the number of its step.

    Args:
        data: table ``data`` of a recipe.
        frameskip: environment steps between two frames.
        frames: T.
        batch_size: B.

    Raises:
        ConfigError: for data of another environment, or walks too short for a window.
        DataError: if ``data.path`` cannot be read.
    """

    def __init__(self, data: Mapping[str, Any], *, frameskip: int, frames: int, batch_size: int):
        self.data, self.frameskip, self.frames, self.batch_size = data, frameskip, frames, batch_size
        self._kept: Trajectories | None = None
        if data["path"]:
            self._kept, held_out = _read(Path(data["path"]), data["validation_share"])
        else:
            held_out = self._generate(range(HELD_OUT, HELD_OUT + HELD_OUT_WINDOWS))
            if data["episodes"]:
                self._kept = self._generate(range(data["episodes"]))
        self._held_out = held_out
        if held_out.actions.shape[1] < frames * frameskip:
            raise ConfigError(
                f"A window of {frames} frames, {frameskip} steps apart, needs walks of {frames * frameskip} steps; "
                f"these have {held_out.actions.shape[1]}."
            )

    @property
    def sha256(self) -> str:
        """Hash of the walks that are trained on; where every step makes new ones, of those of the first step."""
        return sha256_of(self._of_step(0) if self._kept is None else self._kept)

    def of_step(self, step: int) -> Batch:
        """The batch of step k."""
        random = step_generator(self.data["seed"], "windows", step)
        if self._kept is None:
            walks = self._of_step(step)
            return self._cut(walks, np.arange(self.batch_size), random)
        return self._cut(self._kept, random.integers(0, len(self._kept.actions), size=self.batch_size), random)

    def held_out(self) -> Batch:
        """Windows of walks that are not trained on, the same every time."""
        random = np.random.default_rng(0)
        which = np.arange(HELD_OUT_WINDOWS) % len(self._held_out.actions)
        return self._cut(self._held_out, which, random)

    def whole_walks(self, first: int, count: int, wander: float) -> Trajectories:
        """Walks with the numbers from ``first`` on, a share of them wandering, made anew."""
        return self._generate(range(first, first + count), wander)

    def _of_step(self, step: int) -> Trajectories:
        """The walks that step k makes; seed and law of the data decide them."""
        return self._generate(range(step * self.batch_size, (step + 1) * self.batch_size))

    def _generate(self, numbers: range, wander: float = 0.0) -> Trajectories:
        data = self.data
        layout = tuple(data["layout"]) if data["layout"] else None
        law = {"collisions": data["collisions"], "jitter": data["jitter"], "wander": wander}
        return generate(data["seed"], numbers, steps=data["steps"], layout=layout, **law)

    def _cut(self, walks: Trajectories, which: np.ndarray, random: np.random.Generator) -> Batch:
        """One window of each of these walks, somewhere in it."""
        span = self.frames * self.frameskip
        starts = random.integers(0, walks.actions.shape[1] - span + 1, size=len(which))[:, None]
        states = walks.states[which[:, None], starts + self.frameskip * np.arange(self.frames)]
        actions = walks.actions[which[:, None], starts + np.arange(span)]
        return Batch(
            torch.from_numpy(draw_two_channels(states, self.data["image_size"])),
            torch.from_numpy(actions.reshape(len(which), self.frames, -1)),
            torch.from_numpy(np.ascontiguousarray(states[..., :2])),
            torch.from_numpy(np.ascontiguousarray(states[:, 0, 2:])),
        )


def sha256_of(walks: Trajectories) -> str:
    """Hash of walks."""
    return hashlib.sha256(walks.states.tobytes() + walks.actions.tobytes()).hexdigest()


def check_data(data: Mapping[str, Any]) -> None:
    """Refuse a table ``data`` that asks for something impossible.

    Raises:
        ConfigError: naming it.
    """
    if data["env"] != ENV:
        raise ConfigError(f"data.env={data['env']!r} is not possible; EB-JEPA is trained on {ENV}.")
    if data["collisions"] not in COLLISIONS:
        raise ConfigError(f"data.collisions={data['collisions']!r} is not known; choose {' or '.join(COLLISIONS)}.")
    if data["episodes"] < 0 or data["steps"] < 1:
        raise ConfigError("data.episodes must be at least 0 (new walks at every step) and data.steps at least 1.")
    if data["jitter"] < 0 or (data["jitter"] and data["collisions"] == "stop"):
        raise ConfigError('data.jitter is a number of pixels from 0 up, and 0 with data.collisions="stop".')
    limits = (WALL_X, DOOR_Y)
    layout = data["layout"]
    fits = len(layout) == 2 and all(low <= value <= high for value, (low, high) in zip(layout, limits, strict=True))
    if layout and not fits:
        raise ConfigError(
            f"data.layout={layout} is not possible; it is empty, or [wall_x, door_y] with wall_x from {WALL_X[0]} to "
            f"{WALL_X[1]} and door_y from {DOOR_Y[0]} to {DOOR_Y[1]}."
        )


def _read(path: Path, share: float) -> tuple[Trajectories, Trajectories]:
    """Walks of a stored data set, those to train on and the last ``share`` of them, held out."""
    with EpisodeStore(path) as store:
        if store.meta.get("env") != ENV or store.meta.get("frameskip", 1) != 1:
            raise ConfigError(f"{path} does not hold every step of {ENV}; leave data.path empty or name another.")
        states, actions = store.states.astype(np.float32), store.actions.astype(np.float32)
    kept = len(states) - max(1, round(len(states) * share))
    if kept < 1:
        raise ConfigError(f"{path} holds {len(states)} walks; train on at least two.")
    return Trajectories(states[:kept], actions[:kept]), Trajectories(states[kept:], actions[kept:])

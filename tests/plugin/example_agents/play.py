"""How they play."""

import time

import numpy as np

from jepawm_bench.agent import Chunk


class Base:
    """Remembers keys, refuses settings it does not know."""

    obs_type = "state"
    image_size = 0
    known = ()

    def __init__(self, request):
        unknown = sorted(set(request.settings) - set(self.known))
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]!r}; there are: {', '.join(self.known) or 'none'}.")
        self.settings = request.settings
        self.provenance = {"weights_sha256": "0" * 64}

    def reset(self, observation, keys):
        """Start over."""
        self.keys, self.plans = keys, 0


class Drift(Base):
    """Chunks of 7 actions, which do not divide the budget."""

    known = ("scale", "seconds")

    def act(self, observation, steps_left):
        """Draw from (seed, episode, plan)."""
        time.sleep(self.settings["seconds"])
        draws = [np.random.default_rng((key.seed, key.episode, self.plans)).normal(size=(7, 2)) for key in self.keys]
        self.plans += 1
        trace = {"best": np.zeros((len(self.keys), 3))}
        return Chunk(self.settings["scale"] * np.array(draws), model_evaluations=11, trace=trace)


class Looker(Base):
    """Walks by the colour of what it sees."""

    obs_type = "pixels"
    image_size = 16

    def act(self, observation, steps_left):
        """Brightness decides."""
        bright = observation["pixels"].mean(axis=(1, 2, 3)) - observation["goal_pixels"].mean(axis=(1, 2, 3))
        return Chunk(np.repeat(bright[:, None, None], 2, axis=2).repeat(10, axis=1) / 10)


class Crash(Base):
    """Fails at the third task."""

    def act(self, observation, steps_left):
        """Raise, or stand still."""
        if any(key.episode == 2 for key in self.keys):
            raise RuntimeError("the battery is empty")
        return Chunk(np.zeros((len(self.keys), steps_left, 2)))


class NotANumber(Base):
    """A planner that diverged."""

    def act(self, observation, steps_left):
        """NaN."""
        return Chunk(np.full((len(self.keys), 1, 2), np.nan))

"""Collecting behaviour data: every episode is a function of (seed, episode number) alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from jepawm_envs.data.store import FORMAT, completed, create_store, open_store, read_meta
from jepawm_envs.errors import DataError, InvalidOption
from jepawm_envs.goal_env import GoalEnv
from jepawm_envs.registration import register_all

FLUSH_EVERY = 64


def collect(
    env_id: str,
    out: str | Path,
    *,
    episodes: int = 1920,
    steps: int = 50,
    seed: int = 0,
    image_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Record episodes of an environment's published behaviour law.

    An interrupted collection continues where it stopped when called again with the same arguments.

    Args:
        env_id: a registered id.
        out: the ``.h5`` file to write.
        episodes: how many; 1,920 are published for Wall.
        steps: actions an episode; 50 for Wall.
        seed: of the data set; episode k draws from (seed, k).
        image_size: height and width of the stored frames.
        progress: called with (episodes done, episodes).

    Returns:
        The path of the file.

    Raises:
        InvalidOption: for counts below one.
        DataError: if ``out`` holds another data set.
    """
    if min(episodes, steps) < 1:
        raise InvalidOption(f"episodes={episodes} and steps={steps} must both be at least 1.")
    register_all()
    env = gymnasium.make(env_id, obs_type="pixels", image_size=image_size).unwrapped
    if not isinstance(env, GoalEnv):
        raise InvalidOption(f"{env_id} is not an environment of this suite.")
    path = Path(out)
    meta = {
        "format": FORMAT,
        "env": env_id,
        "episodes": episodes,
        "steps": steps,
        "seed": seed,
        "image_size": image_size,
        "behaviour": "published",
    }
    file = _open_or_create(path, meta, env)
    with file:
        for episode in range(completed(file), episodes):
            random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(episode,)))
            states, actions = env.random_episode(random, steps)
            file["states"][episode], file["actions"][episode] = states, actions  # type: ignore[index]
            file["proprio"][episode] = env.proprio(states)  # type: ignore[index]
            file["pixels"][episode] = env.draw(states, image_size)  # type: ignore[index]
            file.attrs["completed"] = episode + 1
            if (episode + 1) % FLUSH_EVERY == 0:
                file.flush()
            if progress is not None:
                progress(episode + 1, episodes)
    return path


def _open_or_create(path: Path, meta: dict[str, Any], env: GoalEnv):
    if path.exists():
        file = open_store(path, "r+")
        found = read_meta(file, path)
        if found != meta:
            file.close()
            differing = ", ".join(f"{key}={found.get(key)!r}" for key in meta if found.get(key) != meta[key])
            raise DataError(f"{path} holds another data set ({differing}); choose another --out or delete it.")
        return file
    frames, size = meta["steps"] + 1, meta["image_size"]
    proprio = env.proprio(np.zeros(env.state_dim)).shape[-1]
    shapes = {
        "states": ((frames, env.state_dim), "f8"),
        "actions": ((meta["steps"], env.action_dim), "f8"),
        "proprio": ((frames, proprio), "f4"),
        "pixels": ((frames, size, size, 3), "u1"),
    }
    return create_store(path, meta, shapes)

"""Collecting behaviour data: every episode is a function of (seed, episode number) alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from jepawm_envs.data import hdf5
from jepawm_envs.data.codecs import DEFAULT_CODEC, find_codec
from jepawm_envs.data.episode import Episode
from jepawm_envs.data.native import EncodedEpisode, NativeWriter, encode
from jepawm_envs.data.ordered import in_order
from jepawm_envs.errors import InvalidOption
from jepawm_envs.goal_env import GoalEnv
from jepawm_envs.registration import register_all


def collect(
    env_id: str,
    out: str | Path,
    *,
    episodes: int = 1920,
    steps: int = 50,
    seed: int = 0,
    image_size: int = 64,
    workers: int = 1,
    codec: str | None = None,
    settings: Mapping[str, Any] | None = None,
    frameskip: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Record episodes of an environment's published behaviour law.

    An interrupted collection continues where it stopped when called again with the same arguments; how many
    workers there are may change and changes nothing in the data. With several workers, a script that calls this
    needs the ``if __name__ == "__main__"`` of every spawning program.

    Args:
        env_id: a registered id.
        out: the ``.h5`` file (:mod:`jepawm_envs.data.hdf5`) or folder (:mod:`jepawm_envs.data.native`) to write.
        episodes: how many; 1,920 are published for Wall.
        steps: actions an episode; 50 for Wall.
        seed: of the data set; episode k draws from (seed, k).
        image_size: height and width of the stored frames.
        workers: processes that play; with 1 this one plays.
        codec: how a native store keeps frames, ``deflate`` when None; an ``.h5`` file has its own compression.
        settings: more arguments of the environment, JSON values, such as ``channels`` of Two Rooms.
        frameskip: keep every k-th frame and state; a row of the actions then holds the k actions between two of
            them side by side. Drawing is most of the work, and a model that acts k steps at once needs no more.
        progress: called with (episodes done, episodes).

    Returns:
        The path of the file or folder.

    Raises:
        InvalidOption: for counts below one, steps that frameskip does not divide, an unknown codec or a foreign
            environment.
        DataError: if ``out`` holds another data set, or a worker died.
    """
    if min(episodes, steps) < 1:
        raise InvalidOption(f"episodes={episodes} and steps={steps} must both be at least 1.")
    if frameskip < 1 or steps % frameskip:
        raise InvalidOption(f"steps={steps} must be a multiple of frameskip={frameskip}, which is at least 1.")
    if workers < 1:
        raise InvalidOption(f"workers={workers} is not possible; somebody must play.")
    make_env(env_id, image_size, settings).close()  # refuses what cannot be collected before anything is written
    path = Path(out)
    meta = {
        "format": hdf5.FORMAT,  # of what is recorded, whatever the container: part of the hash of the data
        "env": env_id,
        "episodes": episodes,
        "steps": steps // frameskip,
        "seed": seed,
        "image_size": image_size,
        "behaviour": "published",
        **({"settings": dict(settings)} if settings else {}),
        **({"frameskip": frameskip} if frameskip > 1 else {}),
    }
    writer, encoding = _writer(path, meta, codec)
    with closing(writer):
        left, player = range(writer.seen, episodes), _Player(meta, encoding)
        with closing(player), closing(in_order(player, left, min(workers, max(1, len(left))))) as recorded:
            for episode in recorded:
                writer.append(episode)
                if progress is not None:
                    progress(writer.seen, episodes)
        if not writer.complete:
            writer.finish()
    return path


def make_env(env_id: str, image_size: int, settings: Mapping[str, Any] | None = None) -> GoalEnv:
    """The bare environment that plays.

    Raises:
        InvalidOption: if it is not one of this suite, or has no such setting.
    """
    register_all()
    try:
        env = gymnasium.make(env_id, obs_type="pixels", image_size=image_size, **(settings or {})).unwrapped
    except TypeError as problem:
        if not settings:
            raise
        raise InvalidOption(f"{env_id} cannot be made with {dict(settings)}: {problem}") from None
    if not isinstance(env, GoalEnv):
        raise InvalidOption(f"{env_id} is not an environment of this suite.")
    return env


def record(env: GoalEnv, seed: int, episode: int, steps: int, image_size: int, frameskip: int = 1) -> Episode:
    """Episode number ``episode`` of the data set of ``seed``."""
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(episode,)))
    states, actions = env.random_episode(random, steps)
    states, actions = states[::frameskip], actions.reshape(-1, frameskip * actions.shape[1])
    return Episode(
        pixels=_pictures(env, states, image_size),
        frame_arrays={"states": np.asarray(states, np.float64), "proprio": env.proprio(states)},
        step_arrays={"actions": np.asarray(actions, np.float64)},
    )


def _pictures(env: GoalEnv, states: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """What an agent sees in every state, (T + 1, size, size, C); at once where that is a drawing."""
    if type(env).observe_pixels is GoalEnv.observe_pixels:
        return env.draw(states, size)
    return np.stack([env.observe_pixels(state, size) for state in states])


def _writer(path: Path, meta: dict[str, Any], codec: str | None) -> tuple[Any, str | None]:
    """The writer that belongs to a path, and the codec that players use before they hand episodes over."""
    if path.suffix not in hdf5.SUFFIXES:
        name = find_codec(codec or DEFAULT_CODEC).name
        lossy = {} if find_codec(name).lossless else {"codec": name}
        return NativeWriter(path, {**meta, **lossy}, name), name
    if codec is not None:
        raise InvalidOption(f"codec={codec!r} is for native stores; {path.name} is HDF5. Give --out without a suffix.")
    return hdf5.Hdf5Writer(path, meta), None


class _Player:
    """Plays episodes of one data set and encodes their frames."""

    def __init__(self, meta: dict[str, Any], codec: str | None):
        self.meta, self.codec = meta, codec
        self.env: GoalEnv | None = None

    def __call__(self, episode: int) -> Episode | EncodedEpisode:
        meta = self.meta
        self.env = self.env or make_env(meta["env"], meta["image_size"], meta.get("settings"))
        frameskip = meta.get("frameskip", 1)
        steps = meta["steps"] * frameskip
        recorded = record(self.env, meta["seed"], episode, steps, meta["image_size"], frameskip)
        return recorded if self.codec is None else encode(recorded, find_codec(self.codec))

    def close(self) -> None:
        """Close the environment of this process."""
        if self.env is not None:
            self.env.close()

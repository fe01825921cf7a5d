"""Films of episodes: what was seen on the left, the goal on the right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jepawm_bench.errors import BenchError
from jepawm_bench.protocols import find_protocol
from jepawm_bench.results import EpisodeRecord, RunResult, Trace

SIZE = 224
GAP = 4
FRAME_MS = 100
LAST_FRAME_MS = 1000


def write_films(result: RunResult, number: int) -> list[Path]:
    """Write ``videos/00000.gif``, ... of the first episodes into the run folder.

    Args:
        result: of a run that has a folder.
        number: films to write; all there are when it is more.

    Raises:
        BenchError: when the run has no folder.
    """
    if result.path is None:
        raise BenchError("A run without a folder has no place for films; give evaluate() a folder with out=.")
    rules = find_protocol(result.summary["protocol"], result.summary["env"])
    settings = {"image_size": SIZE, **rules.env_settings}
    env: Any = gymnasium.make(rules.env_id, disable_env_checker=True, **settings).unwrapped
    paths = []
    for record in result.records[:number]:
        path = result.path / "videos" / f"{record.episode:05d}.gif"
        path.parent.mkdir(exist_ok=True)
        _write_gif(path, film(env, record, result.traces[record.episode]))
        paths.append(path)
    return paths


def film(env: Any, record: EpisodeRecord, trace: Trace) -> list[NDArray[np.uint8]]:
    """One frame (224, 452, 3) for every state of the replayed episode: the state, a grey gap, the goal."""
    gap = np.full((SIZE, GAP, 3), 128, dtype=np.uint8)
    options = {"init_state": np.array(record.init_state), "goal_state": np.array(record.goal_state)}
    env.reset(seed=record.seed, options=options)
    goal = env.draw(env.goal_state, SIZE)
    pictures = [env.render()]
    for action in trace["actions"]:
        env.step(action)
        pictures.append(env.render())
    return [np.concatenate([picture, gap, goal], axis=1) for picture in pictures]


def _write_gif(path: Path, frames: list[NDArray[np.uint8]]) -> None:
    images = [Image.fromarray(frame) for frame in frames]
    durations = [FRAME_MS] * (len(images) - 1) + [LAST_FRAME_MS]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0)

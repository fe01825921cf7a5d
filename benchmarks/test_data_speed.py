"""Random windows of training data: from a store that decodes only their frames, and from whole episodes.

One round reads 16 windows of 4 frames, 5 steps apart, out of episodes of 100 steps (the sizes of the published 2-D
data sets); ``windows_per_second`` is in the extra information of the JSON. Files lie in the page cache.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jepawm_envs.data import EpisodeStore, WindowIndex, collect, read_windows
from jepawm_envs.data.readers.images import read_film

EPISODES, STEPS, WINDOWS, FRAMES, FRAMESKIP = 12, 100, 16, 4, 5
SPAN = (FRAMES - 1) * FRAMESKIP
SIZES = (64, 224)
CONTAINERS = {"raw": "raw", "deflate": "deflate", "png": "png", "jpeg": "jpeg", "h5": None}


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, str], Path]:
    """``stored(size, container)``: Wall episodes, collected once."""
    folder = tmp_path_factory.mktemp("data")

    def make(size: int, container: str) -> Path:
        path = folder / (f"{size}.h5" if container == "h5" else f"{size}-{container}")
        codec = CONTAINERS[container]
        return collect("JepaWM/Wall-v0", path, episodes=EPISODES, steps=STEPS, image_size=size, codec=codec)

    return make


@pytest.fixture(scope="session")
def films(stored, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[Path]]:
    """``films(size)``: the same episodes as MP4 files, as DINO-WM keeps them."""
    av, folder = pytest.importorskip("av"), tmp_path_factory.mktemp("films")

    def make(size: int) -> list[Path]:
        paths = [folder / f"{size}-{episode}.mp4" for episode in range(EPISODES)]
        with EpisodeStore(stored(size, "raw")) as store:
            for episode, path in enumerate(paths):
                with av.open(str(path), "w") as container:
                    stream = container.add_stream("libx264", rate=10)
                    stream.width = stream.height = size
                    stream.pix_fmt = "yuv420p"
                    for image in store.frames(episode):
                        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                    container.mux(stream.encode())
        return paths

    return make


def timed(benchmark, read: Callable[[np.ndarray, np.ndarray], object]) -> None:
    """Time reading 16 windows, other ones in each round."""
    index, random = WindowIndex.of([STEPS] * EPISODES, FRAMES, FRAMESKIP), np.random.default_rng(0)
    benchmark.pedantic(read, setup=lambda: (index.draw(random, WINDOWS), {}), rounds=10, warmup_rounds=1)
    if benchmark.stats is not None:  # None when benchmarks are switched off
        benchmark.extra_info["windows_per_second"] = round(WINDOWS / benchmark.stats.stats.median, 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("container", list(CONTAINERS))
def test_16_windows(benchmark, stored, container, size):
    with EpisodeStore(stored(size, container)) as store:
        timed(
            benchmark,
            lambda episodes, starts: read_windows(store, episodes, starts, frames=FRAMES, frameskip=FRAMESKIP),
        )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("container", ["deflate", "h5"])
def test_16_windows_cut_from_whole_episodes(benchmark, stored, container, size):
    with EpisodeStore(stored(size, container)) as store:

        def read(episodes: np.ndarray, starts: np.ndarray) -> object:
            return np.stack(
                [
                    store.frames(int(episode))[start : start + SPAN + 1 : FRAMESKIP]
                    for episode, start in zip(episodes, starts, strict=True)
                ]
            )

        timed(benchmark, read)


@pytest.mark.parametrize("size", SIZES)
def test_16_windows_cut_from_whole_films(benchmark, films, size):
    """What the reference does (``traj_dset.py:133``): decode the episode, keep four frames."""
    paths = films(size)

    def read(episodes: np.ndarray, starts: np.ndarray) -> object:
        return np.stack(
            [
                read_film("", paths[episode]).frames[start : start + SPAN + 1 : FRAMESKIP]
                for episode, start in zip(episodes, starts, strict=True)
            ]
        )

    timed(benchmark, read)

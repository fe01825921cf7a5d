"""Windows: every one counted once, drawn evenly, read exactly."""

from __future__ import annotations

import numpy as np
import pytest

from jepawm_envs.data import EpisodeStore, WindowIndex, collect, read_windows
from jepawm_envs.errors import DataError, InvalidOption

LENGTHS = [7, 3, 12, 4]


def by_hand(frames: int, frameskip: int, episodes: list[int]) -> list[tuple[int, int]]:
    span = (frames - 1) * frameskip
    return [(episode, start) for episode in episodes for start in range(LENGTHS[episode] - span + 1)]


@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("frameskip", [1, 2])
@pytest.mark.parametrize("episodes", [None, [2, 0]])
def test_all_windows_are_numbered_once(frames, frameskip, episodes):
    index = WindowIndex.of(LENGTHS, frames, frameskip, episodes)
    found = index.locate(np.arange(len(index)))
    assert list(zip(*map(np.ndarray.tolist, found), strict=True)) == by_hand(
        frames, frameskip, [0, 1, 2, 3] if episodes is None else episodes
    )


def test_every_window_is_drawn_equally_often():
    index = WindowIndex.of(LENGTHS, 3, 2)
    places, counts = np.unique(np.stack(index.draw(np.random.default_rng(0), 80_000)), axis=1, return_counts=True)
    assert [tuple(place) for place in places.T.tolist()] == by_hand(3, 2, [0, 2, 3])  # episode 1 is too short
    expected = 80_000 / len(index)
    assert np.square(counts - expected).sum() / expected < 34.5  # chi-squared, 13 degrees of freedom, p = 0.001


def test_draws_depend_on_the_generator_alone():
    index = WindowIndex.of(LENGTHS, 2, 1)
    one, same = (index.draw(np.random.default_rng(5), 10) for _ in range(2))
    np.testing.assert_array_equal(one, same)


def test_too_short_data_are_refused():
    with pytest.raises(InvalidOption, match=r"Windows of 5 frames every 4 steps need episodes of 16 steps.* has 12"):
        WindowIndex.of(LENGTHS, 5, 4)
    with pytest.raises(InvalidOption, match="frames=0 and frameskip=1 must both be at least 1"):
        WindowIndex.of(LENGTHS, 0, 1)


@pytest.mark.parametrize("name", ["data", "data.h5"])
def test_a_window_is_its_part_of_the_episode(tmp_path, name):
    path = collect("JepaWM/Wall-v0", tmp_path / name, episodes=3, steps=11, image_size=16)
    with EpisodeStore(path) as store:
        batch = read_windows(store, [2, 0], [1, 5], frames=3, frameskip=3)
        assert batch.pixels.shape == (2, 3, 16, 16, 3)
        assert batch.actions.shape == (2, 2, 6)
        for row, (episode, start) in enumerate([(2, 1), (0, 5)]):
            frames, actions = store.frames(episode), store.actions[episode]
            np.testing.assert_array_equal(batch.pixels[row], frames[[start, start + 3, start + 6]])
            np.testing.assert_array_equal(batch.actions[row, 0], np.concatenate(actions[start : start + 3]))
            np.testing.assert_array_equal(batch.actions[row, 1], np.concatenate(actions[start + 3 : start + 6]))
            wanted = store.states[episode, [start, start + 3, start + 6]]
            np.testing.assert_array_equal(batch.frame_arrays["states"][row], wanted)
        with pytest.raises(DataError, match=r"Episode 0 of .* has rows 0 to 12, not 6 to 13"):
            read_windows(store, [0], [6], frames=3, frameskip=3)

"""To Minari and back."""

from __future__ import annotations

import json
import sys
from contextlib import closing

import numpy as np
import pytest

from jepawm_envs.data import DamagedEpisode, EpisodeStore, collect, convert, export_minari
from jepawm_envs.data.episode import Episode
from jepawm_envs.data.native import NativeWriter
from jepawm_envs.data.readers import open_reader
from jepawm_envs.errors import DataError

minari = pytest.importorskip("minari")
NAME = "wall/random-walks-v0"


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


@pytest.fixture
def wall(tmp_path):
    with EpisodeStore(collect("JepaWM/Wall-v0", tmp_path / "wall", episodes=3, steps=5, image_size=40)) as store:
        yield store


def test_minari_reads_what_was_exported(wall):
    calls = []
    folder = export_minari(wall, NAME, progress=lambda done, total: calls.append((done, total)))
    assert folder.is_dir() and calls == [(1, 3), (2, 3), (3, 3)]
    data = minari.load_dataset(NAME)
    assert (data.total_episodes, data.total_steps) == (3, 15)
    for number, episode in enumerate(data.iterate_episodes()):
        np.testing.assert_array_equal(episode.observations["pixels"], wall.frames(number))
        np.testing.assert_array_equal(episode.observations["state"], wall.states[number])
        np.testing.assert_array_equal(episode.actions, wall.actions[number])
        assert episode.truncations.tolist() == [False] * 4 + [True]
        assert not episode.terminations.any() and not episode.rewards.any()
    assert "rewards: none were recorded" in data.storage.metadata["description"]
    assert wall.sha256() in data.storage.metadata["description"]


@pytest.mark.parametrize("by_folder", [True, False])
def test_there_and_back_is_the_same_data(wall, tmp_path, by_folder):
    folder = export_minari(wall, NAME)
    path = convert("minari", folder if by_folder else NAME, tmp_path / "back")
    with EpisodeStore(path) as back:
        for name in ("states", "proprio", "actions"):
            np.testing.assert_array_equal(getattr(back, name), getattr(wall, name))
        np.testing.assert_array_equal(back.frames(2), wall.frames(2))


def test_episodes_of_different_lengths_and_recorded_rewards_survive(tmp_path):
    random, lengths = np.random.default_rng(0), (3, 1, 4)
    episodes = [
        Episode(
            random.integers(0, 255, (length + 1, 40, 40, 3)).astype(np.uint8),
            {"states": random.normal(size=(length + 1, 2)), "proprio": random.random((length + 1, 1), np.float32)},
            {"actions": random.normal(size=(length, 2)), "rewards": random.normal(size=length)},
        )
        for length in lengths
    ]
    with closing(NativeWriter(tmp_path / "store", {"frames": "recorded"}, "raw")) as writer:
        for episode in episodes:
            writer.append(episode)
        writer.finish()
    with EpisodeStore(tmp_path / "store") as store:
        export_minari(store, NAME)
    reader = open_reader("minari", NAME)
    for number, episode in enumerate(episodes):
        found = reader.read(number)
        np.testing.assert_array_equal(found.pixels, episode.pixels)
        np.testing.assert_array_equal(found.frame_arrays["proprio"], episode.frame_arrays["proprio"])
        np.testing.assert_array_equal(found.step_arrays["rewards"], episode.step_arrays["rewards"])


def test_notes_further_arrays_and_environment_survive(tmp_path):
    episode = Episode(
        np.zeros((3, 40, 40, 3), np.uint8),
        {"states": np.ones((3, 2)), "proprio": np.ones((3, 1), np.float32), "segment": np.array([2, 0, 1])},
        {"actions": np.ones((2, 2)), "effort": np.array([0.5, 0.25], np.float32)},
        "pick/0/episode.h5",
        {"instruction": "pick", "door": [30.0, 2.5]},
    )
    request = {"frames": "recorded", "env": "JepaWM/Wall-v0"}
    with closing(NativeWriter(tmp_path / "store", request, "raw")) as writer:
        writer.append(episode)
        writer.finish()
    with EpisodeStore(tmp_path / "store") as store:
        export_minari(store, NAME)
    data = minari.load_dataset(NAME)
    np.testing.assert_array_equal(data[0].infos["segment"], [2, 0, 1])
    (metadata,) = data.storage.get_episode_metadata([0])
    assert json.loads(metadata["notes"]) == {"instruction": "pick", "door": [30.0, 2.5], "source": "pick/0/episode.h5"}
    assert data.storage.metadata["jepawm_bench"]["env"] == "JepaWM/Wall-v0"

    reader = open_reader("minari", NAME)
    found = reader.read(0)
    for ours, theirs in ((episode.frame_arrays, found.frame_arrays), (episode.step_arrays, found.step_arrays)):
        assert ours.keys() == theirs.keys()  # no rewards that nobody recorded
        for name, values in ours.items():
            np.testing.assert_array_equal(theirs[name], values)
            assert theirs[name].dtype == values.dtype
    assert (reader.env, found.notes) == ("JepaWM/Wall-v0", episode.notes)
    with EpisodeStore(convert("minari", NAME, tmp_path / "back")) as back:
        assert back.meta["env"] == "JepaWM/Wall-v0"
        assert back.notes(0) == {**episode.notes, "source": "random-walks-v0::episode_0"}


@pytest.mark.filterwarnings("ignore::UserWarning")  # Minari's, that no author and code are given
def test_data_sets_of_others_have_their_observations_actions_and_rewards_alone(tmp_path):
    from gymnasium.spaces import Box, Dict
    from minari.data_collector import EpisodeBuffer

    pixels = Box(0, 255, (40, 40, 3), np.uint8)
    buffer = EpisodeBuffer(
        observations={"pixels": np.zeros((3, 40, 40, 3), np.uint8), "state": np.ones((3, 2))},
        actions=np.ones((2, 2)),  # type: ignore[arg-type]
        rewards=[0.0, 0.0],
        terminations=[False, False],
        truncations=[False, True],
        infos={"segment": np.zeros(3), "deep": {"er": np.zeros(2)}},
    )
    spaces = {
        "observation_space": Dict({"pixels": pixels, "state": Box(-1, 1, (2,))}),
        "action_space": Box(-1, 1, (2,)),
    }
    minari.create_dataset_from_buffers(NAME, [buffer], jpeg_encoding=False, **spaces)
    reader = open_reader("minari", NAME)
    episode = reader.read(0)
    assert (reader.env, episode.notes) == (None, {})
    assert (set(episode.frame_arrays), set(episode.step_arrays)) == ({"states", "proprio"}, {"actions", "rewards"})


@pytest.mark.parametrize("name", ["states.npy", "frames.npy"])
def test_a_damaged_store_is_not_exported(wall, tmp_path, name):
    path = convert("store", wall.path, tmp_path / "raw", codec="raw")
    content = bytearray((path / name).read_bytes())
    content[-1] ^= 1
    (path / name).write_bytes(content)
    with EpisodeStore(path) as store, pytest.raises(DamagedEpisode, match=r"raw::episode_2 cannot be used: .*written"):
        export_minari(store, NAME)
    assert not (tmp_path / "minari" / NAME).exists()


def test_a_name_that_is_taken_or_no_name_is_a_sentence(wall):
    export_minari(wall, NAME)
    with pytest.raises(DataError, match=f"Minari has a data set '{NAME}' already"):
        export_minari(wall, NAME)
    with pytest.raises(DataError, match="Minari cannot write 'no name': "):
        export_minari(wall, "no name")


def test_an_export_that_breaks_off_leaves_nothing(wall, tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_minari(wall, NAME, progress=stop)
    assert not (tmp_path / "minari" / NAME).exists()
    export_minari(wall, NAME)


def test_missing_data_and_missing_keys_are_sentences(wall):
    with pytest.raises(DataError, match=r"Minari cannot open nobody/nothing-v0: "):
        open_reader("minari", "nobody/nothing-v0")
    export_minari(wall, NAME)
    with pytest.raises(DataError, match=r"have no image; they have pixels, proprio, state\. Name the right keys"):
        open_reader("minari", NAME, pixels="image")


@pytest.mark.parametrize(
    ("package", "layout", "extra"), [("minari", "minari", "data"), ("pyarrow.parquet", "metaworld", "data")]
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch, package, layout, extra):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "x.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=rf'Install it: pip install "jepawm-bench\[{extra}\]"'):
        open_reader(layout, tmp_path)

"""The native store: exact, resumable, and damage is noticed."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from jepawm_envs.data import DamagedEpisode, EpisodeStore, info
from jepawm_envs.data.codecs import CODECS
from jepawm_envs.data.episode import Episode
from jepawm_envs.data.growing import GrowingArray
from jepawm_envs.data.native import NativeStore, NativeWriter
from jepawm_envs.errors import DataError, InvalidOption

REQUEST = {"layout": "test", "frames": "recorded"}
LENGTHS = (4, 1, 6)


def episode(number: int, steps: int, size: int = 12, **changes) -> Episode:
    """Smooth images, so that a lossy codec stays near."""
    random = np.random.default_rng(number)
    ramp = np.linspace(0, 200, size)[:, None, None] + np.arange(3) * 10
    pixels = np.broadcast_to(ramp, (steps + 1, size, size, 3)) + np.arange(steps + 1)[:, None, None, None]
    arrays = {
        "states": random.normal(size=(steps + 1, 3)),
        "proprio": random.normal(size=(steps + 1, 2)).astype(np.float32),
        "segment": random.integers(0, 3, steps + 1),
    }
    acted = {"actions": random.normal(size=(steps, 2)), "rewards": random.normal(size=steps)}
    parts = {"pixels": pixels.astype(np.uint8), "frame_arrays": arrays, "step_arrays": acted}
    return Episode(**{**parts, "source": f"episode_{number}", "notes": {"task": number}, **changes})


EPISODES = [episode(number, steps) for number, steps in enumerate(LENGTHS)]


def write(path: Path, episodes: Sequence[Episode] = EPISODES, codec: str = "deflate", finish: bool = True) -> Path:
    with closing(NativeWriter(path, REQUEST, codec)) as writer:
        for one in episodes[writer.seen :]:
            writer.append(one)
        if finish:
            writer.finish()
    return path


@pytest.mark.parametrize("codec", list(CODECS))
def test_what_is_read_is_what_was_written(tmp_path, codec):
    with EpisodeStore(write(tmp_path / "data", codec=codec)) as store:
        assert store.meta == {**REQUEST, "episodes": 3}
        assert store.lengths.tolist() == list(LENGTHS)
        for number, one in enumerate(EPISODES):
            off = np.abs(store.frames(number).astype(int) - one.pixels).max()
            assert off == 0 if CODECS[codec].lossless else off <= 4
            for name, values in {**one.frame_arrays, **one.step_arrays}.items():
                stored = store.array(name, number)
                np.testing.assert_array_equal(stored, values)
                assert stored.dtype == values.dtype
            assert store.notes(number) == {"task": number, "source": f"episode_{number}"}
        assert store.verify() == []


def test_only_the_frames_of_a_window_are_decoded(tmp_path, monkeypatch):
    store, decoded = NativeStore(write(tmp_path / "data")), []
    original = store._encoded
    monkeypatch.setattr(store, "_encoded", lambda number: decoded.append(number) or original(number))
    np.testing.assert_array_equal(store.frames(2, 1, 6, 2), EPISODES[2].pixels[1:6:2])
    assert decoded == [5 + 2 + 1, 5 + 2 + 3, 5 + 2 + 5]


def test_arrays_and_frames_are_mapped_not_loaded(tmp_path):
    store = NativeStore(write(tmp_path / "data"))
    assert isinstance(store.whole("states"), np.memmap)
    assert isinstance(store._frames, np.memmap)


def test_every_numpy_reads_the_files(tmp_path):
    path = write(tmp_path / "data", codec="raw")
    states = np.load(path / "states.npy", allow_pickle=False)
    np.testing.assert_array_equal(states, np.concatenate([one.frame_arrays["states"] for one in EPISODES]))
    frames = np.load(path / "frames.npy", allow_pickle=False).reshape(-1, 12, 12, 3)
    np.testing.assert_array_equal(frames, np.concatenate([one.pixels for one in EPISODES]))


def test_episodes_of_different_lengths_are_no_one_array(tmp_path):
    with (
        EpisodeStore(write(tmp_path / "data")) as store,
        pytest.raises(DataError, match="have 1 to 6 steps and make no one array"),
    ):
        _ = store.states
    with EpisodeStore(write(tmp_path / "even", [episode(0, 4), episode(1, 4)])) as store:
        np.testing.assert_array_equal(store.actions[1], episode(1, 4).step_arrays["actions"])


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_an_interrupted_writer_continues_to_the_same_files(tmp_path, done):
    write(tmp_path / "parts", EPISODES[:done], finish=False)
    assert files(write(tmp_path / "parts")) == files(write(tmp_path / "whole"))


@pytest.mark.parametrize("name", ["states.npy", "frames.npy", "frame_ends.npy", "actions.npy", "journal.jsonl"])
@pytest.mark.parametrize("cut", [1, 40])
def test_a_writer_that_was_cut_off_anywhere_continues_to_the_same_files(tmp_path, name, cut):
    file = write(tmp_path / "parts", finish=False) / name
    file.write_bytes(file.read_bytes()[:-cut])
    assert files(write(tmp_path / "parts")) == files(write(tmp_path / "whole"))


def test_bytes_of_an_episode_that_was_never_noted_do_not_stay(tmp_path):
    path = write(tmp_path / "parts", EPISODES[:2], finish=False)
    with open(path / "frames.npy", "ab") as file:
        file.write(b"half of an episode")
    assert files(write(path)) == files(write(tmp_path / "whole"))


def test_an_unfinished_store_is_not_read(tmp_path):
    path = write(tmp_path / "data", EPISODES[:2], finish=False)
    with pytest.raises(DataError, match="holds 2 of an unknown number of episodes; run the same convert command again"):
        EpisodeStore(path)


@pytest.mark.parametrize(("request_", "wanted"), [({"read": 7}, 7), ({"episodes": 8, "seed": 0}, 8)])
def test_an_unfinished_store_says_how_many_episodes_it_should_hold(tmp_path, request_, wanted):
    with closing(NativeWriter(tmp_path / "data", request_, "raw", "a hash of the source")) as writer:
        writer.append(EPISODES[0])
        writer.skip("episode_1", "its film is cut short")
        writer.append(EPISODES[2])
    said = f"holds 2 of {wanted} episodes, without 1 that were left out; run the same convert command again"
    with pytest.raises(DataError, match=said):  # convert, also where the source had been collected
        EpisodeStore(tmp_path / "data")


def test_a_store_of_another_source_is_refused_and_kept(tmp_path):
    for finish in (False, True):
        path = tmp_path / f"data-{finish}"
        with closing(NativeWriter(path, REQUEST, "raw", "one")) as writer:
            writer.append(EPISODES[0])
            if finish:
                writer.finish()
        before = files(path)
        with pytest.raises(DataError, match=r"another data set \(converted from another source, or from files that"):
            NativeWriter(path, REQUEST, "raw", "other")
        assert files(path) == before
        for same in ("one", None):
            with closing(NativeWriter(path, REQUEST, "raw", same)) as writer:
                assert (writer.seen, writer.complete) == (1, finish)


def test_a_store_that_does_not_say_its_source_is_continued_and_the_hash_does_not_know_it(tmp_path):
    write(tmp_path / "data", EPISODES[:1], finish=False)
    with closing(NativeWriter(tmp_path / "data", REQUEST, "deflate", "one")) as writer:
        assert writer.seen == 1
    hashes = set()
    for source in (None, "one", "other"):
        with closing(NativeWriter(tmp_path / f"{source}", REQUEST, "deflate", source)) as writer:
            writer.append(EPISODES[0])
            writer.finish()
        with EpisodeStore(tmp_path / f"{source}") as store:
            hashes.add(store.sha256())
            assert store.meta == {**REQUEST, "episodes": 1}
    assert len(hashes) == 1


@pytest.mark.parametrize("journal", [b"", b'{"frames": 5, "byt'])
def test_an_attempt_that_finished_no_episode_makes_room_for_another(tmp_path, journal):
    path = write(tmp_path / "data", EPISODES[:1], finish=False)
    (path / "journal.jsonl").write_bytes(journal)
    few = Episode(EPISODES[1].pixels, {"states": np.zeros((2, 9), np.float32)}, {"actions": np.zeros((1, 1))})
    for place in (path, tmp_path / "fresh"):
        with closing(NativeWriter(place, {"layout": "other"}, "png", "other")) as writer:
            writer.append(few)
            writer.finish()
    assert files(path) == files(tmp_path / "fresh")


def test_a_store_of_something_else_is_refused_and_kept(tmp_path):
    path = write(tmp_path / "data")
    before = files(path)
    with pytest.raises(DataError, match=r"holds another data set \(layout='test'\); choose another --out"):
        NativeWriter(path, {"layout": "other", "frames": "recorded"}, "deflate")
    with pytest.raises(DataError, match=r"holds another data set \(codec='deflate'\)"):
        NativeWriter(path, REQUEST, "raw")
    assert files(path) == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/diary.txt").write_text("mine")
    with pytest.raises(DataError, match="notes exists and is no data set"):
        NativeWriter(tmp_path / "notes", REQUEST, "raw")


def test_a_journal_that_is_damaged_inside_is_refused(tmp_path):
    path = write(tmp_path / "data", EPISODES[:2], finish=False)
    (path / "journal.jsonl").write_text("{\n" + (path / "journal.jsonl").read_text())
    for _ in range(2):  # and lets go of the lock
        with pytest.raises(DataError, match=r"journal\.jsonl is damaged"):
            NativeWriter(path, REQUEST, "deflate")


@pytest.mark.parametrize("line", [b"\xff", b"5", b"[]", b"null", b"{}", b'{"frames": 5, "source": ""}'])
def test_a_line_that_is_none_of_a_journal_is_a_sentence(tmp_path, line):
    path = write(tmp_path / "data")
    content = (path / "journal.jsonl").read_bytes()
    (path / "journal.jsonl").write_bytes(line + b"\n" + content)
    for use in (EpisodeStore, lambda path: NativeWriter(path, REQUEST, "deflate")):
        with pytest.raises(DataError, match=r"journal\.jsonl is damaged; convert or collect"):
            use(path)


@pytest.mark.parametrize("key", ["request", "codec", "complete", "episodes", "arrays", "frame_shape"])
def test_a_head_that_lacks_a_part_is_a_sentence(tmp_path, key):
    path = write(tmp_path / "data")
    head = json.loads((path / "store.json").read_text())
    (path / "store.json").write_text(json.dumps({name: value for name, value in head.items() if name != key}))
    with pytest.raises(DataError, match=rf"store\.json is damaged: it lacks {key}; convert or collect"):
        EpisodeStore(path)
    for wrong in ({"arrays": {"states": {"rows": "frames"}}}, {"request": 5}, {"codec": []}, {"frame_shape": None}):
        (path / "store.json").write_text(json.dumps({**head, **wrong}))
        with pytest.raises(DataError, match="damaged: an entry is not what it should be"):
            EpisodeStore(path)


@pytest.mark.parametrize("other", [REQUEST, {"layout": "other"}])
def test_two_writers_do_not_mix(tmp_path, other):
    with (
        closing(NativeWriter(tmp_path / "data", REQUEST, "raw")),
        pytest.raises(DataError, match="is being written by another process"),
    ):
        NativeWriter(tmp_path / "data", other, "raw")


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 0x10
    file.write_bytes(content)


@pytest.mark.parametrize("codec", list(CODECS))
@pytest.mark.parametrize("name", ["states.npy", "rewards.npy", "frames.npy"])
def test_one_changed_byte_is_found_in_its_episode(tmp_path, codec, name):
    path = write(tmp_path / "data", codec=codec)
    flip(path / name, -20 if name == "frames.npy" else -2)
    with EpisodeStore(path) as store:
        assert store.verify() == [2]
        store.checked(1)
        with pytest.raises(DamagedEpisode, match=r"data::episode_2 cannot be used: .*(not what was written|damaged)"):
            store.checked(2)
        np.testing.assert_array_equal(store.array("states", 0), EPISODES[0].frame_arrays["states"])


def test_a_damaged_frame_is_an_error_that_names_it(tmp_path):
    path = write(tmp_path / "data")
    with EpisodeStore(path) as store:
        first = int(store._store._ends[6])  # type: ignore[union-attr]
    flip(path / "frames.npy", 128 + first)
    with EpisodeStore(path) as store, pytest.raises(DataError, match=r"episode 2, frame 0: damaged"):
        store.frames(2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("states.npy", "states.npy is damaged"),
        ("frames.npy", "frames.npy is damaged"),
        ("frame_ends.npy", "frame_ends.npy is damaged"),
        ("journal.jsonl", "is damaged: it lists 2 of 3 episodes"),
        ("store.json", "cannot be read as a data set"),
    ],
)
def test_a_file_that_was_cut_short_is_refused(tmp_path, name, message):
    file = write(tmp_path / "data") / name
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=message):
        EpisodeStore(tmp_path / "data")


def test_another_version_is_refused(tmp_path):
    path = write(tmp_path / "data")
    head = json.loads((path / "store.json").read_text())
    (path / "store.json").write_text(json.dumps({**head, "format": "jepawm-store/9"}))
    with pytest.raises(DataError, match="is not a data set of format jepawm-store/1"):
        EpisodeStore(path)
    (path / "store.json").write_text("[]")
    with pytest.raises(DataError, match="is not a data set of format"):
        EpisodeStore(path)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (episode(3, 2, size=10), r"images have shape \[10, 10, 3\], but \[12, 12, 3\] in the episodes before"),
        (episode(3, 2, step_arrays={"actions": np.zeros((2, 0)), "rewards": np.zeros(2)}), r"shape \(2, 0\)"),
        (episode(3, 0), "no action between two frames"),
        (episode(3, 2, step_arrays={"actions": np.zeros((2, 2))}), r"rewards have shape None, but \[\]"),
        (episode(3, 2, step_arrays={"actions": np.zeros((3, 2)), "rewards": np.zeros(2)}), "actions has 3 rows for 2"),
        (episode(3, 2, step_arrays={"actions": np.full((2, 2), np.nan), "rewards": np.zeros(2)}), "not finite"),
        (episode(3, 2, pixels=np.zeros((3, 12, 12, 3))), "images are float64"),
    ],
)
def test_an_episode_that_contradicts_itself_or_the_others_is_refused_and_nothing_of_it_stays(tmp_path, bad, message):
    with closing(NativeWriter(tmp_path / "data", REQUEST, "deflate")) as writer:
        for one in EPISODES:
            writer.append(one)
        with pytest.raises(DamagedEpisode, match=message):
            writer.append(bad)
        writer.finish()
    assert files(tmp_path / "data") == files(write(tmp_path / "whole"))


def test_episodes_that_are_left_out_are_noted_and_not_counted(tmp_path):
    with closing(NativeWriter(tmp_path / "data", REQUEST, "deflate")) as writer:
        writer.append(EPISODES[0])
        writer.skip("episode_1", "its film is cut short")
        writer.append(EPISODES[2])
        assert writer.seen == 3
        writer.finish()
    with EpisodeStore(tmp_path / "data") as store:
        assert len(store) == store.meta["episodes"] == 2
        assert store.skipped == [{"skipped": "its film is cut short", "source": "episode_1"}]
        np.testing.assert_array_equal(store.frames(1), EPISODES[2].pixels)
    assert info(tmp_path / "data")["skipped"] == 1


def test_a_store_of_nothing_is_refused(tmp_path):
    with closing(NativeWriter(tmp_path / "data", REQUEST, "deflate")) as writer:
        writer.skip("episode_0", "it is damaged")
        with pytest.raises(DataError, match="holds no episode: all of them were left out"):
            writer.finish()


def test_the_hash_is_of_the_content(tmp_path):
    hashes = {codec: info(write(tmp_path / codec, codec=codec))["sha256"] for codec in CODECS}
    assert hashes["raw"] == hashes["deflate"] == hashes["png"] != hashes["jpeg"]  # jpeg changes pixels
    for part in ("pixels", "frame_arrays", "step_arrays"):
        changed = [*EPISODES[:2], episode(2, 6, **{part: getattr(episode(2 + (part != "pixels"), 6), part)})]
        if part == "pixels":
            changed[2].pixels[3, 4, 5] += 1
        assert info(write(tmp_path / part, changed))["sha256"] != hashes["raw"]


def test_another_process_gets_its_own_files(tmp_path):
    with EpisodeStore(write(tmp_path / "data")) as store:
        copy = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(copy.frames(1), EPISODES[1].pixels)
    copy.close()


def test_rows_that_are_not_there_are_refused(tmp_path):
    with EpisodeStore(write(tmp_path / "data")) as store:
        for wrong in ((0, 6), (-1, 3), (4, 3)):
            with pytest.raises(DataError, match="has rows 0 to 5"):
                store.frames(0, *wrong)
        with pytest.raises(DataError, match="has no array 'masses'; it has states, proprio, segment, actions, rewards"):
            store.array("masses", 0)


def test_episodes_that_are_not_there_are_refused(tmp_path):
    with EpisodeStore(write(tmp_path / "data")) as store:
        for wrong in (-1, 3):
            for read in (lambda one: store.array("states", one), store.frames, store.notes, store.checked):
                with pytest.raises(DataError, match=f"data has episodes 0 to 2, not {wrong}"):
                    read(wrong)
        for step in (0, -1):
            with pytest.raises(DataError, match=f"Every {step}-th frame cannot be read"):
                store.frames(0, step=step)


def test_unknown_codecs_and_channels_that_a_codec_has_not_are_refused(tmp_path):
    with pytest.raises(InvalidOption, match="Codec 'gif' is not known; choose one of raw, deflate, png, jpeg"):
        write(tmp_path / "data", codec="gif")
    two = episode(0, 2, pixels=np.zeros((3, 8, 8, 2), np.uint8))
    with pytest.raises(InvalidOption, match="JPEG stores 1 or 3 channels, not 2; choose codec deflate"):
        write(tmp_path / "data", [two], codec="jpeg")
    with EpisodeStore(write(tmp_path / "two", [two])) as store:
        assert store.frames(0).shape == (3, 8, 8, 2)


def test_a_growing_array_is_an_npy_file_at_every_length(tmp_path):
    path = tmp_path / "rows.npy"
    for rows in (0, 1, 9, 10, 99, 100_001):
        array = GrowingArray(path, (2,), "f4", 0)
        array.append(np.arange(2 * rows, dtype="f4").reshape(-1, 2))
        array.close()
        np.testing.assert_array_equal(np.load(path), np.arange(2 * rows, dtype="f4").reshape(-1, 2))

"""Collected data: exact, resumable, never mixed up."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest

from jepawm_envs.data import DamagedEpisode, EpisodeStore, collect, convert, info
from jepawm_envs.data.catalogue import list_datasets
from jepawm_envs.data.codecs import CODECS
from jepawm_envs.data.readers import LAYOUTS
from jepawm_envs.errors import DataError, InvalidOption
from jepawm_envs.registration import ENVIRONMENTS
from jepawm_envs.wall.env import WallEnv
from jepawm_envs.wall.walks import random_start, random_walk

WALL = "JepaWM/Wall-v0"


containers = pytest.mark.parametrize("container", ["data.h5", "data"])


def small(path: Path, env_id: str = WALL, **changes) -> Path:
    return collect(env_id, path, **{"episodes": 5, "steps": 7, "seed": 3, "image_size": 16, **changes})


@contextlib.contextmanager
def reading(path: Path):
    store = EpisodeStore(path)
    try:
        yield store
    finally:
        store.close()


def content(path: Path) -> list[np.ndarray]:
    with reading(path) as store:
        frames = np.stack([store.frames(episode) for episode in range(store.meta["episodes"])])
        return [store.states, store.actions, store.proprio, frames]


class Stop(Exception):
    """Stands for whatever kills a collection."""


def stop_after(count: int):
    def progress(done: int, total: int) -> None:
        if done == count:
            raise Stop

    return progress


@containers
def test_what_is_read_is_what_was_played(tmp_path, make_env, quick_id, container):
    env = make_env(quick_id, image_size=16)
    states, actions, proprio, frames = content(small(tmp_path / container, quick_id))
    assert frames.shape == (5, 8, 16, 16, 3)
    if not env.has_hidden_state:
        np.testing.assert_array_equal(env.simulate(states[:, 0], actions), states[:, 1:])
    np.testing.assert_array_equal(proprio, env.proprio(states))
    np.testing.assert_array_equal(frames, env.draw(states, 16))


@containers
def test_parts_of_an_episode_can_be_read_alone(tmp_path, container):
    path = small(tmp_path / container)
    with reading(path) as store:
        np.testing.assert_array_equal(store.frames(2, 3, 6), store.frames(2)[3:6])


@containers
def test_an_interrupted_collection_continues_to_the_same_data(tmp_path, quick_id, container):
    whole, parts = small(tmp_path / f"whole-{container}", quick_id), tmp_path / f"parts-{container}"
    for done in (2, 4):
        with pytest.raises(Stop):
            small(parts, quick_id, progress=stop_after(done))
    small(parts, quick_id)
    for one, other in zip(content(whole), content(parts), strict=True):
        np.testing.assert_array_equal(one, other)
    assert info(whole)["sha256"] == info(parts)["sha256"]


@containers
def test_a_finished_collection_is_left_alone(tmp_path, container):
    path, calls = small(tmp_path / container), []
    small(path, progress=lambda done, total: calls.append(done))
    assert calls == []


def test_progress_counts_episodes(tmp_path):
    calls = []
    small(tmp_path / "data.h5", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 5) for done in range(1, 6)]


def test_an_episode_depends_on_seed_and_number_alone(tmp_path):
    few, many = content(small(tmp_path / "few.h5")), content(small(tmp_path / "many.h5", episodes=6))
    other = content(small(tmp_path / "other.h5", seed=4))
    np.testing.assert_array_equal(few[0], many[0][:5])
    assert not np.array_equal(few[0], other[0])
    assert len({states.tobytes() for states in many[0]}) == 6


@containers
def test_an_unfinished_data_set_is_not_read(tmp_path, container):
    path = tmp_path / container
    with pytest.raises(Stop):
        small(path, progress=stop_after(2))
    with pytest.raises(DataError, match="holds 2 of 5 episodes; run the same collect command again"):
        EpisodeStore(path)


@pytest.mark.parametrize("change", [{"seed": 4}, {"episodes": 6}, {"steps": 8}, {"image_size": 24}])
def test_another_data_set_at_the_same_place_is_refused_and_kept(tmp_path, change):
    path = small(tmp_path / "data.h5")
    before, key = path.read_bytes(), next(iter(change))
    with pytest.raises(DataError, match=rf"holds another data set \({key}=.*choose another --out or delete it"):
        small(path, **change)
    assert path.read_bytes() == before


@containers
def test_what_is_read_is_ones_own(tmp_path, container):
    with reading(small(tmp_path / container)) as store:
        for values in (store.states, store.actions, store.proprio, store.frames(0), store.array("states", 0)):
            assert values.flags.writeable  # tensors share memory with arrays, and refuse those that are not


def test_another_folder_at_the_same_place_is_refused_and_kept(tmp_path):
    path = small(tmp_path / "data")
    before = {file: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(DataError, match=r"holds another data set \(seed=3\); choose another --out or delete it"):
        small(path, seed=4)
    assert {file: file.read_bytes() for file in path.iterdir()} == before


def test_the_hash_of_the_first_format_stays_what_shipped_weights_say(tmp_path):
    """Computed by the first version of the store, before there was another."""
    hash_then = "9f7092a1c28c36f983fb1ce60a34fb687eea46de10b5bd96724feef632b12bf1"
    for name in ("data.h5", "data"):  # the container is no part of it
        assert info(small(tmp_path / name))["sha256"] == hash_then


@pytest.mark.slow
def test_the_published_collection_is_the_one_that_the_shipped_weights_name(tmp_path, monkeypatch):
    """All 1,920 episodes, without their pictures, which the hash does not hold."""
    folder = Path(__file__).resolve().parents[2] / "agents/jepawm_agents/weights"
    with open(folder / "jepa_wm_wall.safetensors", "rb") as file:
        head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    named = json.loads(head["__metadata__"]["world_model"])["notes"]
    monkeypatch.setattr(WallEnv, "draw", lambda self, state, size: np.zeros((len(state), 1, 1, 3), np.uint8))
    data = named["recipe"]["data"]
    keys = ("episodes", "steps", "seed", "image_size")
    path = collect(data["env"], tmp_path / "wall", codec="raw", **{key: data[key] for key in keys})
    assert info(path)["sha256"] == named["data_sha256"]


def test_episodes_of_other_lengths_need_a_folder(tmp_path, monkeypatch):
    original = WallEnv.random_episode
    monkeypatch.setattr(WallEnv, "random_episode", lambda self, random, steps: original(self, random, steps - 2))
    with pytest.raises(DataError, match=r"Episode 0 has 5 steps, and data\.h5 only holds episodes of 7"):
        small(tmp_path / "data.h5")
    assert info(small(tmp_path / "data"))["longest"] == 5


@pytest.mark.parametrize("codec", ["raw", "deflate", "png"])
def test_lossless_codecs_hold_the_same_data(tmp_path, codec):
    one, other = content(small(tmp_path / "data", codec=codec)), content(small(tmp_path / "data.h5"))
    for part, same in zip(one, other, strict=True):
        np.testing.assert_array_equal(part, same)


def test_a_lossy_codec_is_another_data_set(tmp_path):
    assert info(small(tmp_path / "one", codec="jpeg"))["sha256"] != info(small(tmp_path / "other"))["sha256"]


@containers
@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_changes_nothing(tmp_path, container, workers):
    alone, together = tmp_path / f"alone-{container}", tmp_path / f"together-{container}"
    small(alone, episodes=12)
    with pytest.raises(Stop):
        small(together, episodes=12, workers=workers, progress=stop_after(5))
    small(together, episodes=12, workers=5 - workers)  # and may change on the way
    for one, other in zip(content(alone), content(together), strict=True):
        np.testing.assert_array_equal(one, other)
    if alone.is_dir():
        assert {file.name: file.read_bytes() for file in alone.iterdir()} == {
            file.name: file.read_bytes() for file in together.iterdir()
        }


def test_a_dead_worker_is_a_sentence_and_what_was_finished_stays(tmp_path):
    def kill_one(done: int, total: int) -> None:
        if done == 3:
            multiprocessing.active_children()[0].kill()

    with pytest.raises(DataError, match=r"worker process died .* run the same command again"):
        small(tmp_path / "data", episodes=40, workers=2, progress=kill_one)
    with pytest.raises(DataError, match=r"holds \d+ of 40 episodes"):
        info(tmp_path / "data")
    small(tmp_path / "data", episodes=40)
    assert info(tmp_path / "data")["sha256"] == info(small(tmp_path / "whole", episodes=40))["sha256"]


@containers
def test_every_kth_frame_keeps_the_actions_between_two_side_by_side(tmp_path, container):
    states, actions, proprio, frames = content(small(tmp_path / f"every-{container}", steps=6))
    thin = content(small(tmp_path / f"thin-{container}", steps=6, frameskip=3))
    for whole, kept in ((states, thin[0]), (proprio, thin[2]), (frames, thin[3])):
        np.testing.assert_array_equal(whole[:, ::3], kept)
    np.testing.assert_array_equal(actions.reshape(5, 2, 6), thin[1])


def test_a_frameskip_that_does_not_divide_the_steps_is_refused(tmp_path):
    with pytest.raises(InvalidOption, match="steps=7 must be a multiple of frameskip=2"):
        small(tmp_path / "data", frameskip=2)


def test_impossible_workers_and_codecs_are_refused(tmp_path):
    with pytest.raises(InvalidOption, match="workers=0 is not possible"):
        small(tmp_path / "data", workers=0)
    with pytest.raises(InvalidOption, match="codec='raw' is for native stores"):
        small(tmp_path / "data.h5", codec="raw")


@containers
def test_settings_of_the_environment_are_kept_and_make_other_data(tmp_path, container):
    settings = {"render_quality": "fast", "factors": {"door.y": 40}}
    path = small(tmp_path / container, settings=settings)
    assert info(path)["settings"] == settings
    plain = small(tmp_path / f"plain-{container}")
    assert not np.array_equal(content(path)[3], content(plain)[3])
    with pytest.raises(DataError, match=r"holds another data set \(settings="):
        small(path)
    with pytest.raises(InvalidOption, match=r"Wall-v0 cannot be made with \{'wheels': 4\}"):
        small(tmp_path / "other", settings={"wheels": 4})


def test_damaged_foreign_and_missing_files_are_refused_in_a_sentence(tmp_path):
    path = small(tmp_path / "data.h5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for use in (lambda: EpisodeStore(path), lambda: small(path)):
        with pytest.raises(DataError, match="cannot be read as a data set"):
            use()
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file.attrs["format"] = "something else"
    with pytest.raises(DataError, match="is not a data set of format jepawm-episodes/1"):
        EpisodeStore(foreign)
    with pytest.raises(DataError, match=r"There is no data set at .*missing\.h5; make one with"):
        EpisodeStore(tmp_path / "missing.h5")


@pytest.mark.parametrize("change", [{"episodes": 0}, {"steps": 0}])
def test_empty_data_sets_are_refused(tmp_path, change):
    with pytest.raises(InvalidOption, match="must both be at least 1"):
        small(tmp_path / "data.h5", **change)


def test_an_environment_of_strangers_is_refused(tmp_path):
    gymnasium.register("Stranger-v0", entry_point=lambda **settings: gymnasium.Env(), disable_env_checker=True)
    try:
        with pytest.raises(InvalidOption, match="Stranger-v0 is not an environment of this suite"):
            collect("Stranger-v0", tmp_path / "data.h5")
    finally:
        del gymnasium.registry["Stranger-v0"]


def damage_pictures(path: Path, episode: int) -> None:
    """Change a byte in the middle of the compressed frames of an episode."""
    with h5py.File(path) as file:
        dataset: Any = file["pixels"]
        chunk = dataset.id.get_chunk_info_by_coord((episode, 0, 0, 0, 0))
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 0x10
    path.write_bytes(content)


def test_damage_of_the_first_format_is_a_sentence(tmp_path):
    path = small(tmp_path / "data.h5")
    damage_pictures(path, 2)
    with EpisodeStore(path) as store:
        assert store.verify() == [2]
        for read in (store.frames, store.checked):
            read(1)
            with pytest.raises(DataError, match=r"data\.h5: frames of episode 2 cannot be read \(.*\); collect"):
                read(2)
    with h5py.File(path, "r+") as file:
        del file["proprio"]
    with EpisodeStore(path) as store:
        for read in (lambda: store.array("proprio", 0), lambda: store.rows("proprio")):
            with pytest.raises(DataError, match=r"data\.h5: proprio.* cannot be read"):
                read()
    with h5py.File(path, "r+") as file:
        del file.attrs["meta"]
    with pytest.raises(DataError, match=r"data\.h5 is damaged: it does not say what it holds"):
        EpisodeStore(path)


@containers
def test_episodes_that_are_not_there_are_refused(tmp_path, container):
    with reading(small(tmp_path / container)) as store:
        for wrong in (-1, 5):
            for read in (store.frames, store.notes, lambda one: store.array("states", one)):
                with pytest.raises(DataError, match=f"has episodes 0 to 4, not {wrong}"):
                    read(wrong)


@pytest.mark.parametrize("source", ["data.h5", "data"])
def test_lossy_copies_are_other_data_and_lossless_ones_the_same(tmp_path, source):
    first = small(tmp_path / source)
    hashes = {codec: info(convert("store", first, tmp_path / codec, codec=codec))["sha256"] for codec in CODECS}
    assert hashes["raw"] == hashes["deflate"] == hashes["png"] == info(first)["sha256"]
    assert hashes["jpeg"] != hashes["raw"]
    assert hashes["jpeg"] == info(small(tmp_path / "collected", codec="jpeg"))["sha256"]
    copies = {codec: convert("store", tmp_path / "jpeg", tmp_path / f"again-{codec}", codec=codec) for codec in CODECS}
    assert info(copies["png"])["sha256"] == hashes["jpeg"]  # it shows the same pictures
    assert info(copies["jpeg"])["sha256"] not in hashes.values()  # which were made lossy once more


def test_a_damaged_episode_of_a_store_is_named_with_its_path(tmp_path):
    folder, file, left_out = small(tmp_path / "data"), small(tmp_path / "data.h5"), []
    states = bytearray((folder / "states.npy").read_bytes())
    states[-1] ^= 1
    (folder / "states.npy").write_bytes(states)
    with h5py.File(file, "r+") as opened:
        values: Any = opened["states"]
        values[4, 0, 0] = np.nan
    for source in (folder, file):
        with pytest.raises(DamagedEpisode, match=f"{source}::episode_4 cannot be used: "):
            convert("store", source, tmp_path / "refused" / source.name)
        out = convert("store", source, tmp_path / "less" / source.name, on_error="skip", report=left_out.append)
        assert (left_out[-1].index, left_out[-1].source) == (4, f"{source}::episode_4")
        with reading(out) as store:
            assert len(store) == 4 and store.skipped[0]["source"] == f"{source.name}::episode_4"


def test_info_sums_up_what_is_in_the_file(tmp_path):
    path = small(tmp_path / "data.h5")
    summary = info(path)
    states, actions, *_ = content(path)
    assert (summary["env"], summary["episodes"], summary["frames"], summary["seed"]) == (WALL, 5, 40, 3)
    np.testing.assert_allclose(summary["action_std"], actions.std(axis=(0, 1)), atol=1e-6)
    np.testing.assert_allclose(summary["state_mean"], states.mean(axis=(0, 1)), atol=1e-6)


def test_wall_walks_have_the_published_deviation_of_actions():
    random = np.random.default_rng(0)
    actions = np.stack([random_walk(random, 50) for _ in range(6000)])
    np.testing.assert_allclose(actions.std(axis=(0, 1)), [0.7523, 0.7467], rtol=0.01)
    np.testing.assert_allclose(actions.mean(axis=(0, 1)), 0.0, atol=0.02)
    lengths = np.hypot(actions[..., 0], actions[..., 1])
    assert lengths.min() >= 0.2 - 1e-12 and lengths.max() <= 1.8 + 1e-12


def test_wall_walks_turn_and_stride_by_the_published_law():
    random = np.random.default_rng(0)
    actions = np.stack([random_walk(random, 50) for _ in range(2000)])
    lengths, headings = np.hypot(actions[..., 0], actions[..., 1]), np.arctan2(actions[..., 1], actions[..., 0])
    np.testing.assert_allclose(np.cos(np.diff(headings, axis=1)).mean(), 0.8934, atol=0.003)  # I1(5) / I0(5)
    np.testing.assert_allclose([lengths.mean(), lengths.std()], [1.0, 0.3519], atol=0.005)  # cut at two deviations
    np.testing.assert_allclose(np.cos(headings[:, 0]).mean(), 0.0, atol=0.05)


def test_wall_walks_start_on_the_free_floor():
    random = np.random.default_rng(0)
    starts = np.stack([random_start(random) for _ in range(3000)])
    assert starts.min() > 4 and starts.max() < 60
    in_wall = (starts[:, 0] > 28.5) & (starts[:, 0] < 35.5)
    assert in_wall.any()
    assert (np.abs(starts[in_wall, 1] - 30) < 4).all()


def test_every_listed_data_set_can_be_collected_or_converted():
    rows = list_datasets()
    assert {row["env"] for row in rows if "env" in row} <= set(ENVIRONMENTS)
    assert [row["name"] for row in rows if "env" not in row] == list(LAYOUTS)
    assert {"name": "wall", "env": WALL, "episodes": 1920, "steps": 50}.items() <= rows[0].items()

"""Published layouts: files written in each are read back exactly, damaged ones are named and never replaced."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from jepawm_envs.data import DamagedEpisode, EpisodeStore, LeftOut, convert, export_minari
from jepawm_envs.data.episode import Episode, aligned
from jepawm_envs.data.native import NativeWriter
from jepawm_envs.data.poses import euler_of_quaternion, matrix_of_euler, poses_to_actions
from jepawm_envs.data.readers import LAYOUTS, open_reader, read_all
from jepawm_envs.data.readers.images import fit, stride
from jepawm_envs.errors import DataError, InvalidOption

torch = pytest.importorskip("torch")
av = pytest.importorskip("av")
parquet = pytest.importorskip("pyarrow.parquet")
pyarrow = pytest.importorskip("pyarrow")

SIZE, LENGTHS = 16, (6, 4, 9)
LOSSY = 6
"""How far a value of a smooth image is from itself after an MP4 film."""


def pictures(episode: int, frames: int, size: int = SIZE) -> NDArray[np.uint8]:
    """Smooth images (frames, size, size, 3) that say which episode, frame, row and column they are."""
    ramp = np.linspace(20, 120, size)
    image = ramp[:, None, None] + 0.5 * ramp[None, :, None] + np.array([0, 10, 20])
    return (image + 9 * np.arange(frames)[:, None, None, None] % 60 + 4 * episode).astype(np.uint8)


def film(images: NDArray[np.uint8], target: Path | io.BytesIO, fps: int = 10) -> None:
    """Write a film nearly without loss."""
    with av.open(target if isinstance(target, io.BytesIO) else str(target), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], "yuv444p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


@dataclass
class Written:
    """A data set that a test wrote: where, and what a reader must give."""

    path: Path
    wanted: list[dict[str, NDArray]]
    """Arrays of every episode, ``pixels`` among them."""
    lossy: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)
    damage: Callable[[Path], str] = lambda path: ""
    """Damages episode 1 and gives a piece of the message that must follow."""


def padded(rows: list[NDArray], longest: int) -> Any:
    """Rows of different numbers as one tensor, padded with numbers that would be noticed."""
    return torch.tensor(
        np.stack([np.pad(row, ((0, longest - len(row)), (0, 0)), constant_values=-999.0) for row in rows])
    )


def cut(path: Path, share: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def write_pusht(folder: Path) -> Written:
    root, random, longest = folder / "pusht_noise", np.random.default_rng(0), max(LENGTHS)
    (root / "train/obses").mkdir(parents=True)
    states, velocities, actions = (
        [random.normal(size=(length, dims)).astype(np.float32) for length in LENGTHS] for dims in (5, 2, 2)
    )
    torch.save(padded(states, longest), root / "train/states.pth")
    torch.save(padded(velocities, longest), root / "train/velocities.pth")
    torch.save(padded([100 * action for action in actions], longest), root / "train/rel_actions.pth")
    (root / "train/seq_lengths.pkl").write_bytes(pickle.dumps(list(LENGTHS)))
    (root / "train/shapes.pkl").write_bytes(pickle.dumps(["T", "L", "T"]))
    wanted = []
    for number, length in enumerate(LENGTHS):
        film(pictures(number, length), root / f"train/obses/episode_{number:03d}.mp4")
        both = np.concatenate([states[number], velocities[number]], axis=1)
        wanted.append(
            {
                "pixels": pictures(number, length),
                "states": both,
                "proprio": both[:, [0, 1, 5, 6]],
                "actions": actions[number][:-1],
            }
        )

    def damage(path: Path) -> str:
        cut(path / "train/obses/episode_001.mp4")
        return "its film cannot be decoded"

    notes = [{"shape": shape} for shape in "TLT"]
    return Written(root, wanted, lossy=True, notes=notes, damage=damage)


def write_pointmaze(folder: Path) -> Written:
    root, random, longest = folder / "point_maze", np.random.default_rng(1), max(LENGTHS)
    (root / "obses").mkdir(parents=True)
    states, actions = ([random.normal(size=(length, dims)) for length in LENGTHS] for dims in (4, 2))
    torch.save(padded(states, longest), root / "states.pth")
    torch.save(padded(actions, longest), root / "actions.pth")
    torch.save(torch.tensor(LENGTHS), root / "seq_lengths.pth")
    wanted = []
    for number, length in enumerate(LENGTHS):
        images = torch.tensor(pictures(number, length))
        torch.save(images.float() if number else images, root / f"obses/episode_{number:03d}.pth")
        wanted.append({"pixels": pictures(number, length), "states": states[number], "actions": actions[number][:-1]})
        wanted[-1]["proprio"] = states[number]

    def damage(path: Path) -> str:
        cut(path / "obses/episode_001.pth")
        return "no archive of PyTorch"

    return Written(root, wanted, damage=damage)


def write_wall(folder: Path) -> Written:
    root, random, count, steps = folder / "wall_single", np.random.default_rng(2), 3, 5
    (root / "obses").mkdir(parents=True)
    states, actions = random.normal(size=(count, steps + 1, 2)), random.normal(size=(count, steps, 2))
    torch.save(torch.tensor(states), root / "states.pth")
    torch.save(torch.tensor(actions), root / "actions.pth")
    torch.save(torch.full((count, steps), 30), root / "door_locations.pth")
    torch.save(torch.full((count, steps, 1), 32), root / "wall_locations.pth")
    for number in range(count):
        images = torch.tensor(pictures(number, steps + 1)).permute(0, 3, 1, 2)
        torch.save(images, root / f"obses/episode_{number:03d}.pth")
    wanted = [
        {"pixels": pictures(k, steps + 1), "states": states[k], "proprio": states[k], "actions": actions[k]}
        for k in range(count)
    ]

    def damage(path: Path) -> str:
        torch.save(torch.zeros(steps - 2, 3, SIZE, SIZE, dtype=torch.uint8), path / "obses/episode_001.pth")
        return "its parts have different lengths"

    notes = [{"door": [30.0], "wall": [32.0]}] * count
    return Written(root, wanted, notes=notes, damage=damage)


def write_metaworld(folder: Path) -> Written:
    root, random = folder / "Metaworld/data", np.random.default_rng(3)
    root.mkdir(parents=True)
    rows, wanted = [], []
    for number in range(4):
        states, actions, rewards = random.normal(size=(10, 39)), random.normal(size=(9, 4)), random.normal(size=9)
        content = io.BytesIO()
        film(pictures(number, 10 - number % 2), content)  # one frame a state, or one an action
        rows.append(
            {
                "task": f"mw-{'reach' if number != 2 else 'push'}",
                "video": content.getvalue(),
                "states": states.tolist(),
                "actions": actions.tolist(),
                "rewards": rewards.tolist(),
            }
        )
        frames = 10 - number % 2
        wanted.append(
            {
                "pixels": pictures(number, frames),
                "states": states[:frames],
                "proprio": states[:frames, :4],
                "actions": actions[: frames - 1],
                "rewards": rewards[: frames - 1],
            }
        )
    parquet.write_table(pyarrow.Table.from_pylist(rows[:3]), root / "train-0.parquet", row_group_size=2)
    rows[3]["video"] = {"bytes": rows[3]["video"], "path": "episode_3.mp4"}  # as Hugging Face's Video feature has it
    parquet.write_table(pyarrow.Table.from_pylist(rows[3:]), root / "train-1.parquet")

    def damage(path: Path) -> str:
        broken = [dict(row) for row in rows[:3]]
        broken[1]["video"] = broken[1]["video"][:500]
        parquet.write_table(pyarrow.Table.from_pylist(broken), path / "train-0.parquet", row_group_size=2)
        return "its film cannot be decoded"

    notes = [{"task": row["task"]} for row in rows]
    return Written(root, wanted, lossy=True, notes=notes, damage=damage)


def poses(random: np.random.Generator, length: int) -> NDArray[np.float64]:
    moved = [random.normal(size=(length, 3)), random.uniform(-1.4, 1.4, (length, 3)), random.random((length, 1))]
    return np.concatenate(moved, axis=1)


def write_robocasa(folder: Path) -> Written:
    root, random = folder / "robocasa", np.random.default_rng(4)
    root.mkdir()
    wanted: list[dict[str, NDArray]] = []
    with h5py.File(root / "combine_all_im256.hdf5", "w") as file:
        for number, length in ((0, 6), (1, 4), (2, 9), (10, 5)):  # 10 comes after 2
            demo: Any = file.create_group(f"data/demo_{number}")
            quaternion = random.normal(size=(length, 4))
            position, fingers = random.normal(size=(length, 3)), random.normal(size=(length, 2))
            demo["actions"], demo["rewards"] = random.normal(size=(length, 12)), random.random(length)
            demo["states"] = random.normal(size=(length, 40 + number))  # other kitchens have other sizes
            demo.attrs["ep_meta"], demo.attrs["model_file"] = json.dumps({"lang": f"pick {number}"}), "<mujoco/>"
            demo["obs/robot0_eef_pos"], demo["obs/robot0_eef_quat"] = position, quaternion
            demo["obs/robot0_gripper_qpos"] = fingers
            demo["obs/robot0_leftview_image"] = pictures(number, length)
            demo["obs/robot0_rightview_image"] = pictures(number, length)[:, ::-1, ::-1]
            demo["meta_data_info/current_task_segment"] = np.arange(length) % 3
            hand = [position, euler_of_quaternion(quaternion), fingers[:, :1] - fingers[:, 1:]]
            wanted.append(
                {
                    "pixels": pictures(number, length),
                    "states": np.concatenate(hand, axis=1),
                    "proprio": np.concatenate(hand, axis=1),
                    "segment": np.arange(length) % 3,
                    "actions": demo["actions"][:-1, :7],
                    "rewards": demo["rewards"][:-1],
                }
            )

    def damage(path: Path) -> str:
        with h5py.File(path / "combine_all_im256.hdf5", "r+") as opened:
            del opened["data/demo_1/obs/robot0_eef_quat"]
        return "it has no obs/robot0_eef_quat"

    notes = [{"instruction": f"pick {number}"} for number in (0, 1, 2, 10)]
    return Written(root, wanted, notes=notes, damage=damage)


def write_droid(folder: Path, length: int = 31, fps: int = 15) -> Written:
    root, random, wanted = folder / "DROID", np.random.default_rng(5), []
    root.mkdir()
    for number in range(3):
        episode = root / f"AUTOLab/episode_{number}"
        (episode / "recordings/MP4").mkdir(parents=True)
        states = poses(random, length)
        with h5py.File(episode / "trajectory.h5", "w") as file:
            file["observation/robot_state/cartesian_position"] = states[:, :6]
            file["observation/robot_state/gripper_position"] = states[:, 6]
            file["observation/camera_extrinsics/2000_left"] = np.zeros((length, 6))
        metadata = {"left_mp4_path": f"/mnt/other/machine/{number}/recordings/MP4/2000.mp4"}
        (episode / "metadata_1.json").write_text(json.dumps(metadata))
        film(pictures(number, length), episode / "recordings/MP4/2000.mp4", fps=fps)
        kept = states[::4]  # ceil(15 / 4)
        wanted.append(
            {
                "pixels": pictures(number, length)[::4],
                "states": kept,
                "proprio": kept,
                "actions": poses_to_actions(kept),
            }
        )
    lines = "".join(f"AUTOLab/episode_{number} {number}\n" for number in range(3))
    (root / "droid_paths.csv").write_text(lines)

    def damage(path: Path) -> str:
        with h5py.File(path.parent / "AUTOLab/episode_1/trajectory.h5", "r+") as opened:
            for name in ("cartesian_position", "gripper_position"):
                rows = np.asarray(opened[f"observation/robot_state/{name}"])[:-3]
                del opened[f"observation/robot_state/{name}"]
                opened[f"observation/robot_state/{name}"] = rows
        return "it has 31 images and 28 poses"

    options = {"fps": 4.0}
    notes = [{"camera": "left_mp4_path"}] * 3
    return Written(root / "droid_paths.csv", wanted, lossy=True, options=options, notes=notes, damage=damage)


def write_franka(folder: Path) -> Written:
    root, random, wanted = folder / "franka_custom", np.random.default_rng(6), []
    for number, length in enumerate((20, 17, 33)):
        (root / f"pick/{number}").mkdir(parents=True)
        states = poses(random, length)
        with h5py.File(root / f"pick/{number}/episode.h5", "w") as file:
            group: Any = file.create_group("episode_data/observation")
            group["cartesian_position"], group["gripper_position"] = states[:, :6], states[:, 6]
            group["exterior_image_2_left"] = pictures(number, length)
        kept = states[::8]  # ceil(30 / 4)
        wanted.append(
            {
                "pixels": pictures(number, length)[::8],
                "states": kept,
                "proprio": kept,
                "actions": poses_to_actions(kept),
            }
        )

    def damage(path: Path) -> str:
        cut(path / "pick/1/episode.h5", 0.7)
        return "OSError"

    notes = [{"camera": "exterior_image_2_left"}] * 3
    return Written(root, wanted, options={"fps": 4.0}, notes=notes, damage=damage)


def stored_episodes(seed: int) -> list[Episode]:
    """What a store and a Minari data set of tests hold."""
    random = np.random.default_rng(seed)
    return [
        Episode(
            pictures(number, steps + 1),
            {
                "states": random.normal(size=(steps + 1, 3)),
                "proprio": random.normal(size=(steps + 1, 2)).astype(np.float32),
                "segment": random.integers(0, 3, steps + 1),
            },
            {"actions": random.normal(size=(steps, 2)), "rewards": random.normal(size=steps)},
            f"first/{number}.h5",
            {"task": f"push {number}", "door": [30.0, 2.5]},
        )
        for number, steps in enumerate(LENGTHS)
    ]


def write_episodes(path: Path, episodes: list[Episode]) -> Written:
    with closing(NativeWriter(path, {"layout": "test", "frames": "recorded", "env": "Test-v0"}, "raw")) as writer:
        for episode in episodes:
            writer.append(episode)
        writer.finish()
    return Written(path, [arrays_of(one) for one in episodes], notes=[dict(one.notes) for one in episodes])


def write_store(folder: Path) -> Written:
    written = write_episodes(folder / "a store", stored_episodes(7))

    def damage(path: Path) -> str:
        content = bytearray((path / "states.npy").read_bytes())
        content[128 + 8 * 3 * (LENGTHS[0] + 1)] ^= 1  # a bit of the first number of episode 1
        (path / "states.npy").write_bytes(content)
        return "its content is not what was written"

    written.damage = damage
    return written


def write_minari(folder: Path) -> Written:
    pytest.importorskip("minari")
    written = write_episodes(folder / "unused", stored_episodes(8))
    with pytest.MonkeyPatch.context() as patch, EpisodeStore(written.path) as store:
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        path = export_minari(store, "test/episodes-v0")

    def damage(path: Path) -> str:
        with h5py.File(path / "data/main_data.hdf5", "r+") as opened:
            del opened["episode_1/infos/segment"]
        return "KeyError: .*segment"

    return Written(path, written.wanted, notes=written.notes, damage=damage)


WRITERS: dict[str, Callable[[Path], Written]] = {
    "pusht_noise": write_pusht,
    "point_maze": write_pointmaze,
    "wall_single": write_wall,
    "metaworld": write_metaworld,
    "robocasa": write_robocasa,
    "droid": write_droid,
    "franka": write_franka,
    "minari": write_minari,
    "store": write_store,
}
every_layout = pytest.mark.parametrize("layout", list(WRITERS))


def test_every_layout_is_tested_here():
    assert set(WRITERS) == set(LAYOUTS)


def arrays_of(episode: Episode) -> dict[str, NDArray]:
    return {"pixels": episode.pixels, **episode.frame_arrays, **episode.step_arrays}


def compare(found: dict[str, NDArray], wanted: dict[str, NDArray], lossy: bool) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name].shape == values.shape, name
        if name == "pixels" and lossy:
            assert np.abs(found[name].astype(int) - values).max() <= LOSSY
        elif name == "proprio":
            np.testing.assert_array_equal(found[name], values.astype(np.float32))
        elif name == "actions":
            np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-7)  # scaled in Push-T
        else:
            np.testing.assert_array_equal(found[name], values)


@every_layout
def test_what_was_written_is_read(tmp_path, layout):
    written = WRITERS[layout](tmp_path)
    reader = open_reader(layout, written.path, **written.options)
    assert len(reader) == len(written.wanted)
    for index, wanted in enumerate(written.wanted):
        episode = reader.read(index)
        episode.check()
        compare(arrays_of(episode), wanted, written.lossy)
        assert episode.frame_arrays["states"].dtype == np.float64
        assert episode.frame_arrays["proprio"].dtype == np.float32
        if written.notes:
            assert dict(episode.notes) == written.notes[index]


@every_layout
def test_a_data_set_is_converted_and_the_hash_does_not_depend_on_where_it_lies(tmp_path, layout):
    (tmp_path / "here").mkdir()
    hashes, written = [], WRITERS[layout](tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    for place in (tmp_path / "here", tmp_path / "there"):
        source = place / written.path.relative_to(tmp_path / "here")
        path = convert(layout, source, tmp_path / f"store-{place.name}", **written.options)
        with EpisodeStore(path) as store:
            for index, wanted in enumerate(written.wanted):
                found = {name: store.array(name, index) for name in store.arrays}
                compare({"pixels": store.frames(index), **found}, wanted, written.lossy)
            hashes.append(store.sha256())
        assert str(tmp_path) not in "".join(file.read_text() for file in path.glob("*.json*"))
    assert hashes[0] == hashes[1]


@every_layout
def test_a_damaged_episode_is_refused_or_left_out_and_never_replaced(tmp_path, layout):
    written = WRITERS[layout](tmp_path)
    message = written.damage(written.path)
    reader = open_reader(layout, written.path, **written.options)
    with pytest.raises(DamagedEpisode, match=message) as refused:
        list(read_all(reader))
    assert refused.value.source == reader.source(1)
    assert os.fspath(written.path if written.path.is_dir() else written.path.parent) in str(refused.value)

    left, reports = list(read_all(reader, on_error="skip")), []
    assert [isinstance(one, LeftOut) for one in left] == [index == 1 for index in range(len(reader))]
    store_path = tmp_path / "store"
    with pytest.raises(DamagedEpisode, match=message):
        convert(layout, written.path, store_path, **written.options)
    convert(layout, written.path, store_path, on_error="skip", report=reports.append, **written.options)
    with EpisodeStore(store_path) as store:
        assert len(store) == len(written.wanted) - 1
        assert [one["skipped"] for one in store.skipped] == [reports[0].why]
        for place, index in enumerate(index for index in range(len(reader)) if index != 1):
            compare({"states": store.array("states", place)}, {"states": written.wanted[index]["states"]}, False)


@every_layout
def test_images_are_resized_as_asked(tmp_path, layout):
    written = WRITERS[layout](tmp_path)
    episode = open_reader(layout, written.path, image_size=8, **written.options).read(0)
    wanted = fit(written.wanted[0]["pixels"], 8)
    assert episode.pixels.shape == wanted.shape
    assert np.abs(episode.pixels.astype(int) - wanted).max() <= LOSSY * written.lossy


def test_resizing_cuts_to_the_central_square_and_does_not_skip_lines():
    image = np.zeros((2, 8, 12, 3), np.uint8)
    image[:, :, :2], image[:, :, 10:] = 255, 255  # what is cut off
    image[:, 1::2] = np.where(image[:, 1::2] == 255, 255, 100)
    small = fit(image, 4)
    assert small.shape == (2, 4, 4, 3)
    np.testing.assert_allclose(small, 50, atol=14)  # every second line would give 0 or 100
    assert fit(image, None) is image


def test_minari_and_arrays_of_other_lengths_are_cut_only_by_one():
    pixels, rows = np.zeros((5, 2, 2, 3), np.uint8), np.zeros((6, 1))
    cut_to = aligned("x", pixels, {"states": rows}, {"actions": rows[:5]})
    assert [len(cut_to[0]), len(cut_to[1]["states"]), len(cut_to[2]["actions"])] == [5, 5, 4]
    for states, actions in ((7, 5), (3, 5), (5, 6), (5, 3)):
        with pytest.raises(DamagedEpisode, match=f"5 images, {states} states, {actions} actions"):
            aligned("x", pixels, {"states": np.zeros((states, 1))}, {"actions": np.zeros((actions, 1))})


def test_an_interrupted_conversion_continues_to_the_same_store(tmp_path):
    written, calls = write_franka(tmp_path), []

    def stop(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert("franka", written.path, tmp_path / "parts", progress=stop)
    convert("franka", written.path, tmp_path / "parts", progress=stop)
    convert("franka", written.path, tmp_path / "whole")
    assert calls == [(1, 3), (2, 3), (3, 3)]
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "parts" / file.name).read_bytes()


@pytest.mark.parametrize("layout", ["franka", "metaworld"])
def test_the_number_of_workers_changes_nothing(tmp_path, layout):
    written = WRITERS[layout](tmp_path)
    written.damage(written.path)
    stores = [tmp_path / f"store{workers}" for workers in (1, 2)]
    for workers, store in enumerate(stores, 1):
        convert(layout, written.path, store, on_error="skip", workers=workers)
        with pytest.raises(DamagedEpisode):
            convert(layout, written.path, tmp_path / f"other{workers}", workers=workers)
        with EpisodeStore(store) as opened:
            assert len(opened) == len(written.wanted) - 1
    for file in stores[0].iterdir():
        assert file.read_bytes() == (stores[1] / file.name).read_bytes()
    with pytest.raises(InvalidOption, match="workers=0 is not possible"):
        convert(layout, written.path, tmp_path / "store3", workers=0)


def test_an_episode_of_another_size_is_left_out_as_asked(tmp_path):
    written = write_franka(tmp_path)
    with h5py.File(written.path / "pick/2/episode.h5", "r+") as file:
        del file["episode_data/observation/exterior_image_2_left"]
        file["episode_data/observation/exterior_image_2_left"] = pictures(2, 33, size=20)
    with pytest.raises(DamagedEpisode, match=r"images have shape \[20, 20, 3\], but \[16, 16, 3\]"):
        convert("franka", written.path, tmp_path / "store")
    convert("franka", written.path, tmp_path / "store", on_error="skip")
    with EpisodeStore(tmp_path / "store") as store:
        assert len(store) == 2
        assert store.skipped[0]["source"] == "pick/2/episode.h5"


def copied(source: Path, target: Path) -> Path:
    """A copy of a data set, with other times."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@every_layout
@pytest.mark.parametrize("finish", [False, True])
def test_another_data_set_of_the_same_names_and_sizes_is_refused(tmp_path, monkeypatch, layout, finish):
    def stop(done: int, total: int) -> None:
        if done == 2 and not finish:
            raise KeyboardInterrupt

    here, other = tmp_path / "here", tmp_path / "other"
    here.mkdir()
    other.mkdir()
    written, random = WRITERS[layout](here), np.random.default_rng
    inside = written.path.relative_to(here)
    monkeypatch.setattr(np.random, "default_rng", lambda seed=0: random(seed + 100))
    assert WRITERS[layout](other).path.relative_to(other) == inside
    with contextlib.suppress(KeyboardInterrupt):
        convert(layout, here / inside, tmp_path / "store", progress=stop, **written.options)
    before = contents(tmp_path / "store")
    for on_error in ("raise", "skip"):
        with pytest.raises(DataError, match=r"store holds another data set \(.*converted from another source"):
            convert(layout, other / inside, tmp_path / "store", on_error=on_error, **written.options)
    assert contents(tmp_path / "store") == before
    convert(layout, copied(here, tmp_path / "copy") / inside, tmp_path / "store", **written.options)
    convert(layout, here / inside, tmp_path / "whole", **written.options)
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_a_store_from_before_there_were_fingerprints_continues(tmp_path):
    written = write_franka(tmp_path)
    path = convert("franka", written.path, tmp_path / "store")
    head = json.loads((path / "store.json").read_text())
    del head["source_sha256"]
    head |= {"complete": False}
    (path / "store.json").write_text(json.dumps(head))
    with EpisodeStore(convert("franka", written.path, path)) as store:
        assert len(store) == 3


def test_an_episode_that_was_repaired_is_converted(tmp_path):
    written = write_franka(tmp_path)
    good, path = copied(written.path, tmp_path / "good"), tmp_path / "store"
    written.damage(written.path)
    with pytest.raises(DamagedEpisode):
        convert("franka", written.path, path)
    shutil.copyfile(good / "pick/1/episode.h5", written.path / "pick/1/episode.h5")
    convert("franka", written.path, path)
    assert contents(path) == contents(convert("franka", good, tmp_path / "whole"))


def test_a_first_attempt_that_failed_at_once_does_not_bind_the_next(tmp_path):
    written = write_franka(tmp_path)
    good, path = copied(written.path, tmp_path / "good"), tmp_path / "store"
    cut(written.path / "pick/0/episode.h5", 0.7)
    with pytest.raises(DamagedEpisode, match="pick/0"):
        convert("franka", written.path, path)
    options = {"codec": "raw", "episodes": 2, "image_size": 8}  # and repaired, another source
    convert("franka", good, path, **options)
    assert contents(path) == contents(convert("franka", good, tmp_path / "whole", **options))


@pytest.mark.parametrize("finish", [False, True])
def test_what_was_left_out_before_is_reported_again_and_refused_without_skip(tmp_path, finish):
    def stop(done: int, total: int) -> None:
        if done == 2 and not finish:
            raise KeyboardInterrupt

    written, path = write_franka(tmp_path), tmp_path / "store"
    message = written.damage(written.path)
    with contextlib.suppress(KeyboardInterrupt):
        convert("franka", written.path, path, on_error="skip", progress=stop)
    before, source = contents(path), os.fspath(written.path / "pick/1/episode.h5")
    said = rf"store lacks 1 damaged episodes .*\({source}: {message}.*\)\. .*--on-error skip; .*delete .*store and"
    with pytest.raises(DataError, match=said):
        convert("franka", written.path, path)
    assert contents(path) == before
    for _ in range(2):
        reports: list[LeftOut] = []
        convert("franka", written.path, path, on_error="skip", report=reports.append)
        assert [(one.index, one.source) for one in reports] == [(1, source)]
        assert message in reports[0].why


def test_only_the_first_episodes_are_converted_when_asked(tmp_path):
    written = write_franka(tmp_path)
    with EpisodeStore(convert("franka", written.path, tmp_path / "store", episodes=2)) as store:
        assert len(store) == store.meta["read"] == 2
    with pytest.raises(InvalidOption, match="episodes=0 is not possible"):
        convert("franka", written.path, tmp_path / "other", episodes=0)


@pytest.mark.parametrize("container", ["wall.h5", "wall"])
def test_a_store_changes_its_container_and_keeps_its_hash(tmp_path, container):
    from jepawm_envs.data import collect

    first = collect("JepaWM/Wall-v0", tmp_path / container, episodes=3, steps=4, image_size=16)
    second = convert("store", first, tmp_path / "second", codec="png")
    smaller = convert("store", first, tmp_path / "smaller", image_size=8)
    with EpisodeStore(first) as one, EpisodeStore(second) as other, EpisodeStore(smaller) as small:
        assert one.sha256() == other.sha256() != small.sha256()
        np.testing.assert_array_equal(other.frames(2), one.frames(2))
        np.testing.assert_array_equal(small.frames(2), fit(one.frames(2), 8))


# Damage in detail


def test_a_film_with_a_damaged_middle_is_noticed(tmp_path):
    written, random = write_pusht(tmp_path), np.random.default_rng(0)
    path = written.path / "train/obses/episode_002.mp4"
    film(random.integers(0, 255, (9, 64, 64, 3)).astype(np.uint8), path)
    reader = open_reader("pusht_noise", written.path)
    assert reader.read(2).steps == 8
    content = bytearray(path.read_bytes())
    start, stop = content.find(b"mdat"), content.find(b"moov")
    third = (stop - start) // 3
    content[start + third : start + 2 * third] = random.bytes(third)
    path.write_bytes(content)
    with pytest.raises(DamagedEpisode, match=r"episode_002\.mp4 cannot be used: .*film"):
        reader.read(2)


def test_a_film_that_is_too_short_or_missing_is_noticed(tmp_path):
    written = write_pusht(tmp_path)
    reader = open_reader("pusht_noise", written.path)
    path = written.path / "train/obses/episode_002.mp4"
    film(pictures(2, 7), path)
    with pytest.raises(DamagedEpisode, match=r"\(7 images, 9 states, 9 proprio, 9 actions\)"):
        reader.read(2)
    path.unlink()
    with pytest.raises(DamagedEpisode, match=r"its film .*episode_002\.mp4 is missing"):
        reader.read(2)


def test_a_malicious_list_of_lengths_is_refused_before_it_runs(tmp_path):
    written = write_pusht(tmp_path)

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'trace'}",)

    (written.path / "train/seq_lengths.pkl").write_bytes(pickle.dumps([Evil()]))
    with pytest.raises(DataError, match="which is not loaded"):
        open_reader("pusht_noise", written.path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("lengths", [[6, 4], [6, 4, 9, 1], ["6", "4", "9"], 9])
def test_lengths_that_are_not_those_of_the_data_are_refused(tmp_path, lengths):
    written = write_pusht(tmp_path)
    (written.path / "train/seq_lengths.pkl").write_bytes(pickle.dumps(lengths))
    with pytest.raises(DataError, match=r"of different data sets|does not hold a list of lengths"):
        open_reader("pusht_noise", written.path)


@pytest.mark.parametrize("length", [0, 50])
@pytest.mark.parametrize("layout", ["pusht_noise", "point_maze"])
def test_an_impossible_length_is_the_fault_of_its_episode(tmp_path, layout, length):
    written = WRITERS[layout](tmp_path)
    if layout == "pusht_noise":
        (written.path / "train/seq_lengths.pkl").write_bytes(pickle.dumps([6, length, 9]))
    else:
        torch.save(torch.tensor([6, length, 9]), written.path / "seq_lengths.pth")
    reader = open_reader(layout, written.path)
    reader.read(0)
    with pytest.raises(DamagedEpisode, match=f"its length {length} is not possible"):
        reader.read(1)


def test_values_that_are_no_images_or_not_finite_are_noticed(tmp_path):
    written = write_pointmaze(tmp_path)
    reader = open_reader("point_maze", written.path)
    torch.save(torch.full((9, 4, 4, 3), 256.0), written.path / "obses/episode_002.pth")
    with pytest.raises(DamagedEpisode, match=r"values from 256\.0 to 256\.0 instead of 0 to 255"):
        reader.read(2)
    torch.save(torch.zeros(9, 3, 4, 4), written.path / "obses/episode_002.pth")
    with pytest.raises(DamagedEpisode, match=r"its images have shape \(9, 3, 4, 4\)"):
        reader.read(2)
    states = torch.load(written.path / "states.pth")
    states[0, 2, 1] = float("nan")
    torch.save(states, written.path / "states.pth")
    with pytest.raises(DamagedEpisode, match="states holds values that are not finite"):
        list(read_all(open_reader("point_maze", written.path)))


def test_options_of_layouts(tmp_path):
    pusht = write_pusht(tmp_path)
    torch.save(torch.full((3, 9, 2), 250.0), pusht.path / "train/abs_actions.pth")
    assert (open_reader("pusht_noise", pusht.path, actions="abs").read(0).step_arrays["actions"] == 2.5).all()
    assert len(open_reader("pusht_noise", pusht.path / "train")) == 3
    with pytest.raises(DataError, match=r"There is no folder .*val"):
        open_reader("pusht_noise", pusht.path, split="val")
    (pusht.path / "train/shapes.pkl").unlink()
    assert open_reader("pusht_noise", pusht.path).read(1).notes == {"shape": "T"}

    metaworld = write_metaworld(tmp_path)
    push = open_reader("metaworld", metaworld.path, task="mw-push")
    assert [len(push), push.read(0).notes["task"]] == [1, "mw-push"]
    with pytest.raises(DataError, match=r"is of task 'mw-pull'; it has mw-push, mw-reach"):
        open_reader("metaworld", metaworld.path, task="mw-pull")

    robocasa = write_robocasa(tmp_path)
    right = open_reader("robocasa", robocasa.path, camera="robot0_rightview").read(0)
    np.testing.assert_array_equal(right.pixels, pictures(0, 6))
    one, other = (open_reader("robocasa", robocasa.path, quaternion=order).read(0) for order in ("wxyz", "xyzw"))
    with h5py.File(robocasa.path / "combine_all_im256.hdf5") as file:
        quaternion = np.asarray(file["data/demo_0/obs/robot0_eef_quat"])
    matrix = matrix_of_euler(other.frame_arrays["states"][:, 3:6])
    np.testing.assert_allclose(matrix, matrix_of_euler(euler_of_quaternion(quaternion[:, [3, 0, 1, 2]])), atol=1e-9)
    assert not np.allclose(one.frame_arrays["states"], other.frame_arrays["states"])

    every = open_reader("franka", write_franka(tmp_path).path).read(0)
    assert every.pixels.shape[0] == 20


def test_unknown_layouts_and_options_are_refused(tmp_path):
    with pytest.raises(InvalidOption, match="Layout 'zarr' is not known; choose one of pusht_noise, point_maze"):
        open_reader("zarr", tmp_path)
    with pytest.raises(InvalidOption, match="Layout 'franka' has no option 'split'; it has camera, fps, image_size"):
        open_reader("franka", tmp_path, split="val")
    for option in ({"fps": "fast"}, {"image_size": 8.5}, {"image_size": True}, {"camera": 3}):
        with pytest.raises(InvalidOption, match="of layout 'franka' cannot be"):
            open_reader("franka", tmp_path, **option)
    with pytest.raises(InvalidOption, match="on_error='ignore' is not known"):
        list(read_all(open_reader("franka", write_franka(tmp_path).path), on_error="ignore"))  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="fps=0 is not possible"):
        stride(30, 0)


@pytest.mark.parametrize(
    ("native", "fps", "frames"), [(30, 4, 8), (60, 4, 15), (15, 4, 4), (15, 5, 3), (5, 30, 1), (29.97, 4, 8)]
)
def test_strides_are_rounded_up(native, fps, frames):
    assert stride(native, fps) == frames


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("pusht_noise", "There is no folder"),
        ("point_maze", "There is no folder"),
        ("wall_single", "There is no folder"),
        ("metaworld", "There is no Parquet file"),
        ("robocasa", r"There is no file \*im256.hdf5"),
        ("droid", "There is no manifest"),
        ("franka", "There is no folder"),
        ("store", "There is no data set"),
    ],
)
def test_missing_data_sets_are_sentences(tmp_path, layout, message):
    with pytest.raises(DataError, match=message):
        open_reader(layout, tmp_path / "nowhere")


def test_damage_of_a_whole_data_set_is_a_sentence_that_names_the_file(tmp_path):
    wall, metaworld, robocasa, droid = (
        WRITERS[name](tmp_path) for name in ("wall_single", "metaworld", "robocasa", "droid")
    )
    cut(wall.path / "actions.pth")
    with pytest.raises(DataError, match=r"actions\.pth is no archive"):
        open_reader("wall_single", wall.path)
    cut(metaworld.path / "train-1.parquet")
    with pytest.raises(DataError, match=r"train-1\.parquet cannot be read as Parquet"):
        open_reader("metaworld", metaworld.path)
    cut(robocasa.path / "combine_all_im256.hdf5", 0.2)
    with pytest.raises(DataError, match=r"combine_all_im256\.hdf5 is no RoboCasa file, or is damaged"):
        open_reader("robocasa", robocasa.path)
    droid.path.write_text("AUTOLab/episode_0\n")
    with pytest.raises(DataError, match='does not consist of lines "<episode folder> <number>"'):
        open_reader("droid", droid.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda episode: (episode / "metadata_1.json").unlink(), r"it has no metadata \(\*\.json\)"),
        (lambda episode: (episode / "metadata_1.json").write_text("{"), "JSONDecodeError"),
        (lambda episode: (episode / "metadata_1.json").write_text("{}"), "do not name left_mp4_path"),
        (lambda episode: (episode / "recordings/MP4/2000.mp4").unlink(), r"its film .*2000\.mp4 is missing"),
        (lambda episode: (episode / "trajectory.h5").unlink(), "a file of it is missing"),
        (lambda episode: cut(episode / "trajectory.h5"), "OSError"),
    ],
)
def test_every_part_of_a_droid_episode_can_be_damaged(tmp_path, change, message):
    written = write_droid(tmp_path)
    change(written.path.parent / "AUTOLab/episode_1")
    reader = open_reader("droid", written.path, fps=4.0)
    reader.read(0)
    with pytest.raises(DamagedEpisode, match=message):
        reader.read(1)

"""Published layouts, taken at their word: what is recorded beyond an episode is cut as the references cut it, what is
missing or of another form is refused in a sentence, and a wrong option is never taken for damage."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from jepawm_envs.data import DamagedEpisode, convert
from jepawm_envs.data.episode import Episode, damage_in
from jepawm_envs.data.poses import poses_to_actions
from jepawm_envs.data.readers import open_reader, read_all
from jepawm_envs.data.readers.images import fit, stride
from jepawm_envs.errors import DataError, InvalidOption

torch = pytest.importorskip("torch")
av = pytest.importorskip("av")

SIZE, LENGTHS, LONGEST = 16, (4, 3), 6
LOSSY = 6
"""How far a value of an even image is from itself after an MP4 film."""


def images(count: int) -> NDArray[np.uint8]:
    """(count, SIZE, SIZE, 3), frame k of brightness 20 + 5 k."""
    return np.full((SIZE, SIZE, 3, count), 20 + 5 * np.arange(count), np.uint8).transpose(3, 0, 1, 2)


def film(path: Path, count: int, fps: int = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv444p"
        for image in images(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def numbers(*shape: int) -> Any:
    return torch.arange(float(np.prod(shape))).reshape(shape)


def save(folder: Path, files: dict[str, Any]) -> Path:
    """Tensors as ``.pth``, anything else pickled."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".pth"):
            torch.save(value, folder / name)
        else:
            (folder / name).write_bytes(pickle.dumps(value))
    return folder


def pusht(folder: Path, *, films: tuple[int, int] = LENGTHS, **changed: Any) -> Path:
    """One split of ``pusht_noise``; ``changed`` by the stem of a file."""
    files: dict[str, Any] = {
        "states.pth": numbers(2, LONGEST, 5),
        "velocities.pth": numbers(2, LONGEST, 2),
        "rel_actions.pth": numbers(2, LONGEST, 2),
        "seq_lengths.pkl": list(LENGTHS),
        "shapes.pkl": ["T", "L"],
    }
    for number, count in enumerate(films):
        film(folder / f"obses/episode_{number:03d}.mp4", count)
    return save(folder, {name: changed.get(name.split(".")[0], value) for name, value in files.items()})


def point_maze(folder: Path, **changed: Any) -> Path:
    files: dict[str, Any] = {
        "states.pth": numbers(2, LONGEST, 4),
        "actions.pth": numbers(2, LONGEST, 2),
        "seq_lengths.pth": torch.tensor(LENGTHS),
    }
    files |= {f"obses/episode_{number:03d}.pth": torch.tensor(images(LONGEST)) for number in range(2)}
    return save(folder, {name: changed.get(name.split(".")[0], value) for name, value in files.items()})


def wall(folder: Path, *, recorded: int = 5, **changed: Any) -> Path:
    """``wall_single`` of 4 actions and so many images."""
    files: dict[str, Any] = {
        "states.pth": numbers(2, 5, 2),
        "actions.pth": numbers(2, 4, 2),
        "door_locations.pth": 10 + numbers(2, 4),
        "wall_locations.pth": 20 + numbers(2, 4, 1),
    }
    shown = torch.tensor(images(recorded)).permute(0, 3, 1, 2)
    files |= {f"obses/episode_{number:03d}.pth": shown for number in range(2)}
    return save(folder, {name: changed.get(name.split(".")[0], value) for name, value in files.items()})


def arm(length: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-1, 1, (length, 7))


def droid(folder: Path, *, frames: int, poses: int) -> Path:
    """One episode, 15 frames a second."""
    episode = folder / "lab/0"
    film(episode / "recordings/MP4/7.mp4", frames, fps=15)
    (episode / "metadata.json").write_text(json.dumps({"left_mp4_path": "lab/recordings/MP4/7.mp4"}))
    with h5py.File(episode / "trajectory.h5", "w") as file:
        file["observation/robot_state/cartesian_position"] = arm(poses)[:, :6]
        file["observation/robot_state/gripper_position"] = arm(poses)[:, 6]
    (folder / "droid_paths.csv").write_text("lab/0 0\n", encoding="utf-8")
    return folder / "droid_paths.csv"


def franka(folder: Path, *, frames: int, poses: int) -> Path:
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "episode.h5", "w") as file:
        file["episode_data/observation/cartesian_position"] = arm(poses)[:, :6]
        file["episode_data/observation/gripper_position"] = arm(poses)[:, 6]
        file["episode_data/observation/exterior_image_2_left"] = images(frames)
    return folder


def only(layout: str, path: Path, **options: Any) -> Episode:
    """The first episode, checked."""
    episode = next(iter(read_all(open_reader(layout, path, **options))))
    assert isinstance(episode, Episode)
    return episode


def brightness(episode: Episode) -> NDArray[np.int64]:
    """Which frames these are: k of :func:`images`."""
    return np.rint((episode.pixels.mean(axis=(1, 2, 3)) - 20) / 5).astype(int)


# Wrong options


@pytest.mark.parametrize("fps", [0, -4.0, float("nan")])
@pytest.mark.parametrize("layout", ["droid", "franka"])
def test_an_impossible_rate_is_no_damage(tmp_path, layout, fps):
    path = {"droid": droid, "franka": franka}[layout](tmp_path / "data", frames=5, poses=5)
    with pytest.raises(InvalidOption, match=f"fps={fps:g} is not possible"):
        open_reader(layout, path, fps=fps)
    with pytest.raises(InvalidOption, match="fps"):
        convert(layout, path, tmp_path / "store", on_error="skip", fps=fps)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("layout", ["pusht_noise", "point_maze", "wall_single", "droid", "franka"])
def test_an_impossible_size_of_images_is_no_damage(tmp_path, layout):
    write: Any = {"pusht_noise": pusht, "point_maze": point_maze, "wall_single": wall, "droid": droid, "franka": franka}
    path = write[layout](tmp_path / "data", **({"frames": 5, "poses": 5} if layout in ("droid", "franka") else {}))
    with pytest.raises(InvalidOption, match="image_size=0 is not possible"):
        list(read_all(open_reader(layout, path, image_size=0), on_error="skip"))


def test_wrong_options_are_not_turned_into_damage():
    with pytest.raises(InvalidOption, match="fps=0 is not possible"), damage_in("x"):
        stride(30, 0)
    with pytest.raises(InvalidOption, match="image_size=-1 is not possible"), damage_in("x"):
        fit(images(1), -1)
    with pytest.raises(DamagedEpisode, match="ValueError: of a broken file"), damage_in("x"):
        raise ValueError("of a broken file")


def test_a_split_is_chosen_only_where_there_are_splits(tmp_path):
    for split, shape in (("train", "T"), ("val", "Z")):
        pusht(tmp_path / "pusht_noise" / split, shapes=[shape, shape])
    assert only("pusht_noise", tmp_path / "pusht_noise").notes == {"shape": "T"}
    assert only("pusht_noise", tmp_path / "pusht_noise", split="val").notes == {"shape": "Z"}
    assert only("pusht_noise", tmp_path / "pusht_noise/val").notes == {"shape": "Z"}
    for split in ("train", "val"):
        with pytest.raises(InvalidOption, match=rf"split='{split}' is not possible: .*train holds no splits"):
            open_reader("pusht_noise", tmp_path / "pusht_noise/train", split=split)


# More than an episode, and less


def test_a_film_of_pusht_is_cut_to_the_length_of_its_episode(tmp_path):
    episode = only("pusht_noise", pusht(tmp_path, films=(9, 3)))
    assert brightness(episode).tolist() == [0, 1, 2, 3]
    assert [len(episode.frame_arrays["states"]), len(episode.step_arrays["actions"])] == [4, 3]
    np.testing.assert_array_equal(episode.frame_arrays["states"][3], [15, 16, 17, 18, 19, 6, 7])
    with pytest.raises(DamagedEpisode, match=r"\(3 images, 4 states"):
        only("pusht_noise", pusht(tmp_path, films=(3, 3)))


@pytest.mark.parametrize(("states", "recorded"), [(5, 5), (9, 5), (5, 9), (8, 9)])
def test_states_and_images_of_wall_are_cut_to_its_actions(tmp_path, states, recorded):
    episode = only("wall_single", wall(tmp_path, states=numbers(2, states, 2), recorded=recorded))
    assert brightness(episode).tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(episode.frame_arrays["states"], np.arange(10).reshape(5, 2))
    np.testing.assert_array_equal(episode.step_arrays["actions"], np.arange(8).reshape(4, 2))


def test_wall_needs_a_frame_and_a_state_for_every_action(tmp_path):
    as_many = only("wall_single", wall(tmp_path, states=numbers(2, 4, 2), recorded=9))
    assert [as_many.steps, *brightness(as_many)] == [3, 0, 1, 2, 3]
    with pytest.raises(DamagedEpisode, match=r"\(3 images, 5 states, 5 proprio, 4 actions\)"):
        only("wall_single", wall(tmp_path, recorded=3))
    with pytest.raises(DataError, match=r"states\.pth has 3 states an episode, too few for the 4 actions") as refused:
        open_reader("wall_single", wall(tmp_path, states=numbers(2, 3, 2)))
    assert not isinstance(refused.value, DamagedEpisode)


@pytest.mark.parametrize("fps", [None, 4.0])
@pytest.mark.parametrize("surplus", [0, 1, 2, 9])
def test_poses_of_droid_are_cut_to_the_film(tmp_path, surplus, fps):
    step = 1 if fps is None else 4  # ceil(15 / 4)
    episode = only("droid", droid(tmp_path, frames=13, poses=13 + surplus), fps=fps)
    assert brightness(episode).tolist() == list(range(0, 13, step))
    np.testing.assert_array_equal(episode.frame_arrays["states"], arm(13 + surplus)[:13:step])
    np.testing.assert_array_equal(episode.step_arrays["actions"], poses_to_actions(arm(13 + surplus)[:13:step]))


@pytest.mark.parametrize("surplus", [0, 1, 2, 9])
def test_images_of_franka_are_cut_to_the_poses(tmp_path, surplus):
    episode = only("franka", franka(tmp_path, frames=17 + surplus, poses=17), fps=4.0)
    assert brightness(episode).tolist() == [0, 8, 16]  # ceil(30 / 4)
    np.testing.assert_array_equal(episode.frame_arrays["states"], arm(17)[::8])


def test_too_few_poses_or_images_of_an_arm_are_damage_even_if_those_that_are_kept_agree(tmp_path):
    with pytest.raises(DamagedEpisode, match="it has 13 images and 11 poses"):
        only("droid", droid(tmp_path, frames=13, poses=11), fps=1.0)
    with pytest.raises(DamagedEpisode, match="it has 15 images and 17 poses"):
        only("franka", franka(tmp_path / "franka", frames=15, poses=17), fps=1.0)
    assert only("droid", droid(tmp_path, frames=13, poses=12)).steps == 11
    assert only("franka", franka(tmp_path / "franka", frames=16, poses=17)).steps == 15


# Another form


@pytest.mark.parametrize(
    ("layout", "name", "width", "wanted"),
    [
        ("pusht_noise", "states", 7, 5),
        ("pusht_noise", "velocities", 1, 2),
        ("pusht_noise", "rel_actions", 10, 2),
        ("point_maze", "states", 2, 4),
        ("point_maze", "actions", 4, 2),
        ("wall_single", "states", 4, 2),
        ("wall_single", "actions", 1, 2),
    ],
)
def test_rows_of_another_width_are_refused(tmp_path, layout, name, width, wanted):
    write: Any = {"pusht_noise": pusht, "point_maze": point_maze, "wall_single": wall}[layout]
    only(layout, write(tmp_path))
    message = rf"{name}\.pth has rows of {width} numbers instead of {wanted}; it is of another data set"
    with pytest.raises(DataError, match=message):
        open_reader(layout, write(tmp_path, **{name: numbers(2, LONGEST, width)}))


@pytest.mark.parametrize(
    ("layout", "changed", "message"),
    [
        ("pusht_noise", {"velocities": numbers(2, 4, 2)}, "steps an episode: 6 in states.pth, 4 in velocities.pth."),
        (
            "pusht_noise",
            {"velocities": numbers(3, LONGEST, 2)},
            "episodes: 2 in states.pth, 3 in velocities.pth, 2 in rel_actions.pth, 2 in seq_lengths.pkl.",
        ),
        ("point_maze", {"actions": numbers(3, LONGEST, 2)}, "episodes: 2 in states.pth, 3 in actions.pth."),
        ("point_maze", {"seq_lengths": torch.tensor([4])}, "episodes: 2 in states.pth, 1 in seq_lengths.pth."),
        ("wall_single", {"states": numbers(3, 5, 2)}, "episodes: 3 in states.pth, 2 in actions.pth."),
    ],
)
def test_files_of_different_data_sets_are_told_apart(tmp_path, layout, changed, message):
    write: Any = {"pusht_noise": pusht, "point_maze": point_maze, "wall_single": wall}[layout]
    with pytest.raises(DataError, match=re.escape(f"are of different data sets; {message}")):
        open_reader(layout, write(tmp_path, **changed))


@pytest.mark.parametrize("length", [10**30, -(10**30), 10**6000], ids=["large", "negative", "unprintable"])
def test_a_length_beyond_all_recordings_is_a_sentence(tmp_path, length):
    with pytest.raises(DataError, match=r"seq_lengths\.pkl holds a length beyond 64 bits"):
        open_reader("pusht_noise", pusht(tmp_path, seq_lengths=[4, length]))


@pytest.mark.parametrize("shapes", [3, {"a": "T", "b": "L"}, ["T", 5], ["T"], "TL", None])
def test_shapes_that_are_no_list_of_names_are_a_sentence(tmp_path, shapes):
    with pytest.raises(DataError, match=r"shapes\.pkl does not hold a list with the name of a shape for each of the 2"):
        open_reader("pusht_noise", pusht(tmp_path, shapes=shapes))


def test_a_manifest_that_is_no_text_is_a_sentence(tmp_path):
    path = droid(tmp_path, frames=5, poses=5)
    path.write_bytes("lab/Zürich 0\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"droid_paths\.csv is no text in UTF-8"):
        open_reader("droid", path)


def test_a_manifest_may_name_folders_in_any_script(tmp_path):
    path = droid(tmp_path, frames=5, poses=5)
    (tmp_path / "lab").rename(tmp_path / "実験室")
    path.write_text("実験室/0 0\n", encoding="utf-8")
    assert only("droid", path).steps == 4


@pytest.mark.parametrize(
    ("door", "first"),
    [
        (10 + numbers(2, 4), [[10.0], [14.0]]),
        (numbers(2, 4, 2), [[0.0, 1.0], [8.0, 9.0]]),
        (numbers(2), [[0.0], [1.0]]),
    ],
)
def test_the_place_of_the_door_is_that_of_the_first_step(tmp_path, door, first):
    episodes = list(open_reader("wall_single", wall(tmp_path, door_locations=door)).read(k) for k in range(2))
    assert [episode.notes["door"] for episode in episodes] == first
    assert [episode.notes["wall"] for episode in episodes] == [[20.0], [24.0]]


@pytest.mark.parametrize("door", [numbers(3, 4), numbers(2, 0), [1, 2]])
def test_places_that_are_not_of_the_episodes_are_refused(tmp_path, door):
    with pytest.raises(DataError, match=r"door_locations\.pth does not hold a row for each of the 2 episodes"):
        open_reader("wall_single", wall(tmp_path, door_locations=door))

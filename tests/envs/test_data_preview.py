"""Sheets, films and the commands that make them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from jepawm_bench.cli import main
from jepawm_envs.data import EpisodeStore, collect, preview
from jepawm_envs.data.preview import _rgb
from jepawm_envs.errors import InvalidOption

WALL = "JepaWM/Wall-v0"


@pytest.fixture
def wall(tmp_path):
    return collect(WALL, tmp_path / "wall", episodes=5, steps=6, image_size=16)


def test_a_sheet_shows_the_frames_it_should(wall, tmp_path):
    path = preview(wall, tmp_path / "pictures/sheet.png", episodes=3, frames=4)
    with Image.open(path) as image:
        picture = np.asarray(image)
    assert picture.shape == (3 * 16 + 2 * 2, 4 * 16 + 3 * 2, 3)
    with EpisodeStore(wall) as store:
        for row, episode in enumerate((0, 2, 4)):
            for column, frame in enumerate((0, 2, 4, 6)):
                tile = picture[18 * row : 18 * row + 16, 18 * column : 18 * column + 16]
                np.testing.assert_array_equal(tile, store.frames(episode)[frame])
    assert (picture[16:18] == 128).all()


def test_a_film_shows_every_frame(wall, tmp_path):
    with Image.open(preview(wall, tmp_path / "film.gif", episodes=3)) as image:
        assert image.n_frames == 7  # type: ignore[attr-defined]
        assert image.size == (34, 34)  # two by two tiles, one of them empty


def test_more_is_asked_for_than_there_is(wall, tmp_path):
    with Image.open(preview(wall, tmp_path / "sheet.png", episodes=50, frames=50)) as image:
        assert image.size == (50 * 16 + 49 * 2, 5 * 16 + 4 * 2)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_number_of_channels_can_be_shown(channels):
    assert _rgb(np.full((4, 4, channels), 9, np.uint8)).shape == (4, 4, 3)


def test_other_files_are_refused(wall, tmp_path):
    with pytest.raises(InvalidOption, match=r"sheet\.mp4 is neither"):
        preview(wall, tmp_path / "sheet.mp4")


def answer(capfd, *words: object) -> tuple[int, str, str]:
    capfd.readouterr()
    code = main([str(word) for word in words])
    return code, *capfd.readouterr()


def test_the_commands_from_collection_to_picture(tmp_path, capfd):
    where = tmp_path / "wall"
    small = ("--episodes", 3, "--steps", 5, "--image-size", 16)
    code, out, _ = answer(capfd, "data", "collect", "--env", WALL, *small, "--out", where, "--workers", 2)
    assert (code, f"3 episodes written to {where}" in out) == (0, True)
    code, out, _ = answer(capfd, "data", "info", where, "--json")
    summary = json.loads(out)
    assert (code, summary["episodes"], summary["shortest"], summary["frame_shape"]) == (0, 3, 5, [16, 16, 3])

    code, out, _ = answer(capfd, "data", "convert", "--from", where, "--out", tmp_path / "again", "--codec", "raw")
    assert code == 0
    assert json.loads(answer(capfd, "data", "info", tmp_path / "again", "--json")[1])["sha256"] == summary["sha256"]

    code, _, _ = answer(capfd, "data", "preview", where, "--out", tmp_path / "sheet.png")
    assert code == 0 and (tmp_path / "sheet.png").is_file()


INTERRUPTED = 1600  # some seconds of work, so that a test that has to wait for its processor still comes in time


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return collect(WALL, tmp_path_factory.mktemp("undisturbed") / "data", episodes=INTERRUPTED, steps=20, image_size=16)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_is_130_and_the_same_command_continues(tmp_path, undisturbed, workers):
    words = [sys.executable, "-m", "jepawm_bench", "data", "collect", "--env", WALL, "--episodes", str(INTERRUPTED)]
    words += ["--steps", "20", "--image-size", "16", "--out", str(tmp_path / "data"), "--workers", str(workers)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    journal, deadline = tmp_path / "data/journal.jsonl", time.monotonic() + 60
    while not (journal.exists() and journal.read_text().count("\n") > 2):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "what is finished is kept. The same command continues." in err
    assert "Traceback" not in err
    assert 2 < journal.read_text().count("\n") < INTERRUPTED
    subprocess.run(words, check=True, capture_output=True)
    for file in undisturbed.iterdir():
        assert file.read_bytes() == (tmp_path / "data" / file.name).read_bytes()


def test_a_damaged_store_fails_its_check(wall, capfd):
    assert answer(capfd, "data", "info", wall, "--check")[0] == 0
    content = bytearray((wall / "states.npy").read_bytes())
    content[-1] ^= 1
    (wall / "states.npy").write_bytes(content)
    code, _, err = answer(capfd, "data", "info", wall, "--check")
    assert code == 1 and "is damaged in the episodes [4]" in err


def test_what_is_left_out_is_said(tmp_path, capfd):
    h5py = pytest.importorskip("h5py")
    for number in range(2):
        folder = tmp_path / f"franka/{number}"
        folder.mkdir(parents=True)
        with h5py.File(folder / "episode.h5", "w") as file:
            group = file.create_group("episode_data/observation")
            group["cartesian_position"], group["gripper_position"] = np.zeros((9, 6)), np.zeros(9 - 3 * number)
            group["exterior_image_2_left"] = np.zeros((9, 16, 16, 3), np.uint8)
    words = ("data", "convert", "--layout", "franka", "--from", tmp_path / "franka", "--out", tmp_path / "store")
    code, _, err = answer(capfd, *words, "--set", "fps=15")
    assert code == 1
    assert "1/episode.h5 cannot be used: its poses have shape (9, 6) and its gripper (6, 1)." in err
    code, out, err = answer(capfd, *words, "--set", "fps=15", "--on-error", "skip")
    assert code == 0
    assert "1 episodes left out" in out and "left out: " in err and "its gripper (6, 1)" in err
    again = answer(capfd, *words, "--set", "fps=15", "--on-error", "skip")  # of a store that is finished
    assert again[:2] == (0, out) and "left out: " in again[2] and "its gripper (6, 1)" in again[2]
    code, _, err = answer(capfd, *words, "--set", "fps=15")
    assert code == 1 and "lacks 1 damaged episodes" in err and "1/episode.h5: its poses" in err
    with EpisodeStore(tmp_path / "store") as store:
        assert store.lengths.tolist() == [4]  # every second of nine frames


def test_a_check_says_what_it_checked(wall, tmp_path, capfd):
    assert "every episode is intact" in answer(capfd, "data", "info", wall, "--check")[1]
    first = collect(WALL, tmp_path / "wall.h5", episodes=2, steps=5, image_size=16)
    code, out, _ = answer(capfd, "data", "info", first, "--check")
    assert (code, "intact" in out) == (0, False)
    assert "every episode can be read; this format has no hashes" in out


def test_an_export_takes_no_options_of_a_conversion(wall, tmp_path, capfd, monkeypatch):
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    words = ("data", "convert", "--from", wall, "--to", "minari", "--out", "wall/walks-v0")
    options = (("--episodes", 1), ("--image-size", 8), ("--set", "a=1"), ("--on-error", "skip"), ("--codec", "deflate"))
    for option in (*options, ("--workers", 2)):
        code, _, err = answer(capfd, *words, *option)
        assert code == 2 and f"whole and as it is, without {option[0]}; convert to a store" in err
    assert not (tmp_path / "minari").exists()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jepawm_envs.data.export_minari", interrupted)
        code, _, err = answer(capfd, *words)
        assert code == 130 and "nothing was written to Minari" in err and "kept" not in err
    code, out, _ = answer(capfd, *words, "--on-error", "raise", "--workers", 1)
    assert code == 0 and f"written to {tmp_path / 'minari'}" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("convert", "--layout", "zarr", "--from", "x", "--out", "y"), "Layout 'zarr' is not known"),
        (("convert", "--layout", "franka", "--from", "x", "--out", "y", "--to", "minari"), "is not possible"),
        (("collect", "--env", WALL, "--out", "y", "--codec", "gif"), "Codec 'gif' is not known"),
        (("collect", "--env", WALL, "--out", "y", "--workers", "0"), "Invalid value for '--workers'"),
    ],
)
def test_wrong_usage_is_2_and_a_sentence(tmp_path, monkeypatch, capfd, words, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = answer(capfd, "data", *words)
    assert (code, "Traceback" in err) == (2, False)
    assert message in err
    assert list(tmp_path.iterdir()) == []

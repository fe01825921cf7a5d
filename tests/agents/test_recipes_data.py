"""Data as recipes take them: in memory or on disk, of one length or many, of one source or several."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jepawm_agents.errors import AgentError, ConfigError
from jepawm_agents.training import sources
from jepawm_agents.training.ahead import Ahead
from jepawm_agents.training.data import Episodes, Windows, dealt
from jepawm_agents.training.distributed import Share
from jepawm_agents.training.features import EncodedNow, LatentsOnDisk, latents_of
from jepawm_agents.training.frames_on_disk import FramesOnDisk
from jepawm_agents.training.joined_store import JoinedStore
from jepawm_agents.training.predictor import PredictorTraining
from jepawm_agents.training.recipes import load_recipe
from jepawm_agents.training.sources import check_data, load_episodes
from jepawm_agents.world_models.encoders.base import Encoder
from jepawm_envs.data import EpisodeStore, collect
from jepawm_envs.data.codecs import find_codec
from jepawm_envs.data.episode import Episode
from jepawm_envs.data.native import NativeWriter, encode
from jepawm_envs.errors import DataError

SIZE = 4
RAGGED = (9, 5, 12, 7, 12, 6)


def quiet(*_: Any) -> None:
    pass


def numbered(number: int, steps: int) -> Episode:
    """Every entry tells its episode (hundreds) and its time."""
    time = np.arange(steps + 1)
    return Episode(
        pixels=np.broadcast_to((20 * number + time).astype(np.uint8)[:, None, None, None], (steps + 1, SIZE, SIZE, 3)),
        frame_arrays={
            "states": (100.0 * number + time)[:, None],
            "proprio": (100.0 * number + time)[:, None].astype(np.float32),
        },
        step_arrays={"actions": (100.0 * number + time[:-1] + 0.5)[:, None]},
    )


def write(path: Path, lengths: Sequence[int], first: int = 0, **meta: Any) -> EpisodeStore:
    with closing(NativeWriter(path, {"frames": "recorded", "env": None, **meta}, "raw")) as writer:
        for number, steps in enumerate(lengths):
            writer.append(encode(numbered(first + number, steps), find_codec("raw")))
        writer.finish()
    return EpisodeStore(path)


class Brightness(Encoder):
    """One token, the mean of the image; counts what it encodes."""

    image_size, grid_size, latent_dim = SIZE, 1, 1

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.encoded, self.threads = 0, set()

    def forward(self, pixels: Tensor) -> Tensor:
        self.encoded += len(pixels)
        self.threads.add(threading.current_thread().name)
        return (self.scale * pixels.float().mean(dim=(1, 2, 3)))[:, None, None]


@pytest.fixture
def ragged(tmp_path):
    with write(tmp_path / "ragged", RAGGED) as store:
        yield Episodes.load(store, 0.3)


@pytest.mark.parametrize("memory", [float("inf"), 0.0])
@pytest.mark.parametrize("lengths", [RAGGED, (7, 7, 7)])
def test_episodes_hold_what_the_store_holds_wherever_images_are(tmp_path, lengths, memory):
    with write(tmp_path / "data", lengths) as store:
        episodes = Episodes.load(store, 0.3, memory)
        assert isinstance(episodes.pixels, FramesOnDisk) == (memory == 0.0)
        assert tuple(episodes.pixels.shape) == (len(lengths), max(lengths) + 1, SIZE, SIZE, 3)
        episode, time = episodes.frame_places()
        assert torch.equal(torch.bincount(episode), torch.tensor(lengths) + 1)
        assert torch.equal(episodes.pixels[episode, time][:, 0, 0, 0].long(), 20 * episode + time)
        assert torch.equal(episodes.proprio[episode, time][:, 0], 100.0 * episode + time)
        rows = np.sort(episodes.real_actions(np.array([0, 2]))[:, 0].numpy())
        wanted = [100.0 * k + np.arange(lengths[k]) + 0.5 for k in (0, 2)]
        np.testing.assert_array_equal(rows, np.concatenate(wanted))
        assert len(episodes.real_proprio(np.array([1]))) == lengths[1] + 1


def test_every_step_and_frame_of_episodes_of_many_lengths_is_drawn_and_no_other(ragged):
    which = np.array([1, 3])
    for draw, frames in ((ragged.draw_steps, 0), (ragged.draw_frames, 1)):
        episode, time = draw(np.random.default_rng(0), which, 4000)
        counts = {place: 0 for k in which for place in [(int(k), t) for t in range(RAGGED[k] + frames)]}
        for place in zip(episode.tolist(), time.tolist(), strict=True):
            counts[place] += 1  # a KeyError for a place that is none
        expected = 4000 / len(counts)
        assert all(abs(count - expected) < 6 * expected**0.5 for count in counts.values())


def windows_of(episodes: Episodes, frameskip: int) -> Windows:
    proprio = episodes.proprio
    return Windows(proprio[..., None], episodes.actions, proprio, frameskip, episodes.lengths)


def test_windows_of_episodes_of_many_lengths_are_whole_and_equally_likely(ragged):
    windows = windows_of(ragged, 2)
    visual, action, proprio = windows.draw(np.random.default_rng(0), np.arange(6), 3000, 4)  # six steps long
    assert torch.equal(visual[:, 1:, 0, 0] - visual[:, :-1, 0, 0], torch.full((3000, 3), 2.0))
    assert torch.equal(action, proprio[:, :-1] + torch.tensor([0.5, 1.5]))
    starts, counts = torch.unique(visual[:, 0, 0, 0], return_counts=True)
    wanted = [100.0 * k + t for k, steps in enumerate(RAGGED) for t in range(steps - 6 + 1)]
    assert starts.tolist() == wanted
    assert windows.per_epoch(np.arange(6), 4) == sum(max(0, steps - 8 + 1) for steps in RAGGED) == 2 + 5 + 0 + 5
    assert (counts - 3000 / len(wanted)).abs().max() < 6 * (3000 / len(wanted)) ** 0.5
    assert windows.horizon(np.array([0, 2])) == 4
    with pytest.raises(ValueError, match="need episodes of 14 steps; the longest has 12"):
        windows.draw(np.random.default_rng(0), np.arange(6), 1, 8)


def test_every_pass_deals_all_episodes_once_in_an_order_of_its_own():
    which = np.array([2, 3, 5, 7, 11])
    places = dealt(4, which, 0, 400 * 5).reshape(400, 5)
    assert (np.sort(places) == which).all()
    orders, counts = np.unique(places, axis=0, return_counts=True)
    assert len(orders) > 110 and counts.max() < 15  # of 120 orders, each 3.3 times on average
    for first, count in ((0, 3), (3, 4), (7, 13), (1998, 2)):  # more than a pass, and parts of it
        np.testing.assert_array_equal(dealt(4, which, first, count), places.ravel()[first : first + count])
    assert not np.array_equal(dealt(5, which, 0, 100), dealt(4, which, 0, 100))


@pytest.mark.parametrize("lengths", [RAGGED, (12, 12, 12)])
def test_one_window_of_an_episode_is_any_of_its_windows(tmp_path, lengths):
    with write(tmp_path / "data", lengths) as store:
        windows = windows_of(Episodes.load(store, 0.0), 2)
    enough = windows.long_enough(np.arange(len(lengths)), 4)  # six steps long
    assert enough.tolist() == [k for k, steps in enumerate(lengths) if steps >= 6]
    chosen = np.tile(enough, 1200)
    visual, action, proprio = windows.draw_of_each(np.random.default_rng(0), chosen, 4)
    first = visual[:, 0, 0, 0].numpy().reshape(1200, -1)
    np.testing.assert_array_equal(first // 100, np.tile(enough, (1200, 1)))
    assert torch.equal(visual[:, 1:, 0, 0] - visual[:, :-1, 0, 0], torch.full((len(chosen), 3), 2.0))
    assert torch.equal(action, proprio[:, :-1] + torch.tensor([0.5, 1.5]))
    for episode, starts in zip(enough.tolist(), (first % 100).T, strict=True):
        count, expected = lengths[episode] - 6 + 1, 1200 / (lengths[episode] - 6 + 1)
        found = np.bincount(starts.astype(int), minlength=count)
        assert len(found) == count and (abs(found - expected) <= 6 * expected**0.5).all()
    part = windows.draw_of_each(np.random.default_rng(0), chosen, 4, Share(1, 4))
    for whole, own in zip((visual, action, proprio), part, strict=True):
        assert torch.equal(own, whole[len(chosen) // 4 : len(chosen) // 2])
    with pytest.raises(ValueError, match="need episodes of 14 steps; the longest has 12"):
        windows.long_enough(np.arange(len(lengths)), 8)


@pytest.mark.parametrize("batch", [2, 3, 5, 12])
def test_law_episodes_takes_every_training_episode_once_a_pass(tmp_path, tiny_model, monkeypatch, batch):
    """Nine steps are too few for windows of three frames, five steps apart: that episode is never dealt."""
    generator, lengths = torch.Generator().manual_seed(0), np.array([20, 9, 40, 10, 25, 31, 12])
    episodes = Episodes(
        pixels=torch.randint(0, 256, (7, 41, 16, 16, 3), dtype=torch.uint8, generator=generator),
        actions=torch.randn(7, 40, 2, generator=generator),
        proprio=torch.randn(7, 41, 2, generator=generator),
        train=np.arange(6),
        validation=np.array([6]),
        sha256="",
        lengths=lengths,
    )
    table = {"batch_size": batch, "frames": 3, "rollout_steps": 1, "epochs": 4, "validation_windows": 4}
    settings = load_recipe("compact/wall", {"train": table})["train"]
    training = PredictorTraining(tiny_model(), episodes, settings, sampling="episodes")
    assert training.steps == 4 * max(1, 5 // batch)
    taken: list[int] = []
    take = Windows.take

    def noted(self: Windows, episode: Tensor, start: Tensor, frames: int) -> Any:
        assert (start + 5 * (frames - 1) <= torch.from_numpy(lengths)[episode]).all()
        taken.extend(episode.tolist())
        return take(self, episode, start, frames)

    monkeypatch.setattr(Windows, "take", noted)
    losses = [float(training.loss_of_step(step)) for step in range(10)]
    passes = np.array(taken[: len(taken) // 5 * 5]).reshape(-1, 5)
    assert (np.sort(passes) == [0, 2, 3, 4, 5]).all() and len(passes) == 2 * batch
    assert float(training.loss_of_step(7)) == losses[7]  # a function of the step
    again = PredictorTraining(tiny_model(), episodes, settings, sampling="windows")
    assert again.steps == 4 * max(1, (6 + 0 + 26 + 0 + 11 + 17) // batch)
    taken.clear()
    for step in range(100):
        again.loss_of_step(step)
    assert np.mean(np.array(taken) == 2) > 2 * np.mean(np.array(taken) == 0) > 0  # 31 windows, and 11
    assert training.validate().keys() >= {"val_1", "val_loss"}


def test_where_nothing_is_held_out_figures_are_called_what_they_are(tmp_path, tiny_model):
    with write(tmp_path / "data", RAGGED) as store:
        episodes = Episodes.load(store, 0.0)
    assert episodes.train.tolist() == list(range(6)) and not len(episodes.validation)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (4, 31, 16, 16, 3), dtype=torch.uint8, generator=generator)
    moves, felt = torch.randn(4, 30, 2, generator=generator), torch.randn(4, 31, 2, generator=generator)
    settings = load_recipe("compact/wall", {"train": {"validation_windows": 8, "alarms": False}})["train"]

    def figures(train: list[int], validation: list[int]) -> dict[str, float]:
        episodes = Episodes(pixels, moves, felt, np.array(train, int), np.array(validation, int), sha256="")
        return PredictorTraining(tiny_model(), episodes, settings, fit=False).validate()

    own, held_out = figures([1, 2], []), figures([0, 3], [1, 2])
    assert own.keys() == {"train_1", "train_6", "train_shuffled_6", "train_copy_6", "train_loss"}
    assert {name.replace("train", "val"): value for name, value in own.items()} == held_out


def test_constants_of_the_normaliser_ignore_what_is_behind_an_episodes_end(ragged):
    rows = np.concatenate([100.0 * k + np.arange(RAGGED[k]) + 0.5 for k in ragged.train])
    assert float(ragged.real_actions(ragged.train).mean()) == pytest.approx(rows.mean())


def test_joined_stores_are_one_data_set(tmp_path):
    whole = write(tmp_path / "whole", RAGGED)
    parts = [write(tmp_path / "a", RAGGED[:2]), write(tmp_path / "b", RAGGED[2:], first=2)]
    one, other = Episodes.load(whole, 0.3), Episodes.load(JoinedStore(parts), 0.3)
    for name in ("actions", "proprio", "pixels"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    np.testing.assert_array_equal(one.train, other.train)
    assert one.lengths is not None and other.lengths is not None and one.lengths.tolist() == other.lengths.tolist()
    assert JoinedStore(parts[::-1]).sha256() != other.sha256
    thin = write(tmp_path / "thin", RAGGED, frameskip=2)
    with pytest.raises(ConfigError, match=r"cannot be trained on together: .* frameskip"):
        JoinedStore([whole, thin])


# Latents

MEMORY = {"cache": "memory", "cache_dtype": "float32", "cache_folder": "", "encode_batch": 8}


def features(**changes: Any) -> dict[str, Any]:
    return {**MEMORY, **changes}


@pytest.mark.parametrize("changes", [
    {"cache": "none"}, {"cache": "disk"}, {"cache": "disk", "cache_dtype": "bfloat16"},
    {"cache": "disk", "cache_dtype": "float16"},
])  # fmt: skip
@pytest.mark.parametrize("lengths", [RAGGED, (7, 7, 7)])
def test_latents_are_the_same_wherever_they_are(tmp_path, lengths, changes):
    with write(tmp_path / "data", lengths) as store:
        episodes, encoder = Episodes.load(store, 0.3, memory=0.0), Brightness()
        latents = latents_of(encoder, episodes, features(**changes), tmp_path, quiet)
        assert isinstance(latents, EncodedNow if changes["cache"] == "none" else LatentsOnDisk)
        episode, start = torch.tensor([[0], [2], [1]]), torch.tensor([[3], [0], [4]])
        found = latents[episode, start + torch.arange(2)]
        assert found.dtype == torch.float32 and not found.requires_grad
        # Whole numbers up to 256 are exact in all three types.
        assert torch.equal(found[..., 0, 0], 20.0 * episode + start + torch.arange(2))


def test_latents_on_disk_are_made_once_and_an_interruption_loses_little(tmp_path, ragged):
    class Killed(Exception):
        pass

    def killed(stage: str, done: int, total: int, _: Any) -> None:
        assert stage == "latents" and total == sum(RAGGED) + len(RAGGED)
        if done > 40:
            raise Killed

    settings, encoder = features(cache="disk", encode_batch=2), Brightness()
    with pytest.raises(Killed):
        latents_of(encoder, ragged, settings, tmp_path, killed)
    encoder.encoded = 0
    latents_of(encoder, ragged, settings, tmp_path, quiet)
    frames = sum(RAGGED) + len(RAGGED)
    assert encoder.encoded == frames - 32  # sixteen portions of two had been noted
    latents = latents_of(encoder, ragged, settings, tmp_path, quiet)
    assert encoder.encoded == frames - 32
    assert torch.equal(latents[torch.tensor([5]), torch.tensor([6])], torch.tensor([[[106.0]]]))


def test_latents_on_disk_belong_to_one_encoder_one_data_set_and_one_type(tmp_path, ragged):
    other_encoder = Brightness()
    other_encoder.scale.data.fill_(2.0)
    with write(tmp_path / "other", RAGGED, note="another") as store:
        other_data = Episodes.load(store, 0.3)
    for encoder, episodes, dtype in (
        (Brightness(), ragged, "float32"),
        (other_encoder, ragged, "float32"),
        (Brightness(), other_data, "float32"),
        (Brightness(), ragged, "float16"),
        (Brightness(), ragged, "float32"),
    ):
        latents_of(encoder, episodes, features(cache="disk", cache_dtype=dtype), tmp_path, quiet)
    assert len(list((tmp_path / "latents").glob("*.npy"))) == 4


def test_latents_that_cannot_be_are_refused(tmp_path, ragged, monkeypatch):
    with pytest.raises(ConfigError, match=r"Unknown encoder\.cache 'dsk'\. Did you mean disk"):
        latents_of(Brightness(), ragged, features(cache="dsk"), tmp_path, quiet)
    loud = Brightness()
    loud.scale.data.fill_(1e6)
    with pytest.raises(AgentError, match=r"no numbers in float16; set encoder\.cache_dtype=bfloat16"):
        latents_of(loud, ragged, features(cache="disk", cache_dtype="float16"), tmp_path / "loud", quiet)
    latents_of(Brightness(), ragged, features(cache="disk"), tmp_path, quiet)
    (note,) = (tmp_path / "latents").glob("*.json")
    note.write_text("{")
    with pytest.raises(AgentError, match=r"\.json is damaged; delete it and .*\.npy beside it"):
        latents_of(Brightness(), ragged, features(cache="disk"), tmp_path, quiet)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(AgentError, match=r"The latents of 57 frames take .* GiB in .*, which has 0\.00 GiB left"):
        latents_of(Brightness(), ragged, features(cache="disk"), tmp_path / "full", quiet)


def test_a_second_process_waits_for_latents_that_are_being_written_and_clears_none(tmp_path, ragged):
    """Threads stand for processes: a lock belongs to whoever opened the file."""
    settings, begun, goes_on, finished = features(cache="disk", encode_batch=8), *(threading.Event() for _ in range(3))
    first, second = Brightness(), Brightness()
    frames = sum(RAGGED) + len(RAGGED)

    def slow(stage: str, done: int, total: int, _: Any) -> None:
        begun.set()
        assert goes_on.wait(30)

    def late() -> None:
        found.append(latents_of(second, ragged, settings, tmp_path, quiet))
        finished.set()

    found: list[Any] = []
    threads = [threading.Thread(target=latents_of, args=(first, ragged, settings, tmp_path, slow))]
    threads[0].start()
    assert begun.wait(30)
    threads.append(threading.Thread(target=late))
    threads[1].start()
    assert not finished.wait(0.5)
    goes_on.set()
    for thread in threads:
        thread.join(30)
    assert (first.encoded, second.encoded) == (frames + 1, 0)  # one more for the size of a frame's latents
    episode, time = ragged.frame_places()
    assert torch.equal(found[0][episode, time][:, 0, 0], 20.0 * episode + time)


# Batches ahead


def test_batches_made_ahead_are_those_asked_for_and_made_once():
    made: list[int] = []

    def make(step: int) -> int:
        made.append(step)
        return step**2

    ahead = Ahead(make, lambda step: step + 1 if step < 9 else None, threads=3)
    assert [ahead(step) for step in range(10)] == [step**2 for step in range(10)]
    assert sorted(made) == list(range(10))
    assert ahead(4) == 16  # asked for out of order


def test_an_error_in_a_batch_is_raised_where_it_is_asked_for():
    ahead = Ahead(lambda step: 1 // (step - 2), lambda step: step + 1, threads=1)
    assert ahead(0) == -1 and ahead(1) == -1
    with pytest.raises(ZeroDivisionError):
        ahead(2)


# Sources


def data(**changes: Any) -> dict[str, Any]:
    return {**load_recipe("compact/wall")["data"], "episodes": 6, "steps": 10, "image_size": 16, **changes}


def test_data_on_disk_are_those_in_memory(tmp_path):
    memory = load_episodes(data(), tmp_path / "a", quiet)
    disk = load_episodes(data(memory=0.0), tmp_path / "b", quiet)
    assert (tmp_path / "a/data.h5").is_file() and (tmp_path / "b/data").is_dir()
    assert memory.sha256 == disk.sha256 and isinstance(disk.pixels, FramesOnDisk)
    assert torch.equal(disk.pixels[memory.frame_places()].reshape(memory.pixels.shape), torch.as_tensor(memory.pixels))


@pytest.mark.parametrize("memory", [4.0, 0.0])
def test_of_several_processes_the_first_alone_collects(tmp_path, monkeypatch, memory):
    first = load_episodes(data(memory=memory), tmp_path, quiet)
    monkeypatch.setattr(sources.Ranks, "current", lambda: sources.Ranks(1, 2))
    monkeypatch.setattr(sources, "collect", lambda *words, **more: pytest.fail("collected again"))
    monkeypatch.setattr(sources, "convert", lambda *words, **more: pytest.fail("converted again"))
    path = tmp_path / ("data.h5" if memory else "data")
    with EpisodeStore(path):  # as the first process still has it
        assert load_episodes(data(memory=memory), tmp_path, quiet).sha256 == first.sha256
    with pytest.raises(DataError):
        load_episodes(data(memory=memory), tmp_path / "nothing", quiet)


def test_finished_data_are_collected_again_while_others_read_them(tmp_path):
    data_set: dict[str, Any] = {"episodes": 2, "steps": 5, "image_size": 16}
    path = collect("JepaWM/Wall-v0", tmp_path / "data.h5", **data_set)
    with EpisodeStore(path) as store:
        assert collect("JepaWM/Wall-v0", path, **data_set) == path
        assert store.frames(0).shape[0] == 6


def test_further_environments_add_as_many_episodes(tmp_path):
    told = []
    rooms = {"env": "JepaWM/Wall-v0", "further_envs": ["JepaWM/TwoRooms-v0"], "frameskip": 5}
    episodes = load_episodes(data(**rooms), tmp_path, lambda stage, done, total, _: told.append((done, total)))
    assert len(episodes.actions) == 12 and told[-1] == (12, 12)
    assert episodes.actions.shape[1:] == (2, 10) and episodes.primitive_actions.shape[1:] == (10, 2)
    for number, env in ((0, "JepaWM/Wall-v0"), (1, "JepaWM/TwoRooms-v0")):
        path = collect(env, tmp_path / f"{number}", episodes=6, steps=10, image_size=16, frameskip=5)
        with EpisodeStore(path) as store:
            assert torch.equal(episodes.proprio[6 * number + 2], torch.as_tensor(store.proprio[2]))


def write_published_wall(root: Path, episodes: int, steps: int, size: int) -> None:
    """The layout of DINO-WM's ``wall_single``."""
    (root / "obses").mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    torch.save(torch.rand(episodes, steps + 1, 2, generator=generator, dtype=torch.float64), root / "states.pth")
    torch.save(torch.rand(episodes, steps, 2, generator=generator, dtype=torch.float64), root / "actions.pth")
    torch.save(torch.full((episodes, steps), 30), root / "door_locations.pth")
    torch.save(torch.full((episodes, steps, 1), 32), root / "wall_locations.pth")
    for number in range(episodes):
        images = torch.full((steps + 1, 3, size, size), 10 * number, dtype=torch.uint8)
        torch.save(images, root / f"obses/episode_{number:03d}.pth")


def test_a_published_layout_is_converted_once(tmp_path):
    write_published_wall(tmp_path / "published", episodes=5, steps=8, size=20)
    asked = data(path=str(tmp_path / "published"), layout="wall_single", image_size=10)
    episodes = load_episodes(asked, tmp_path, quiet)
    assert tuple(episodes.pixels.shape) == (5, 9, 10, 10, 3) and len(episodes.validation) == 1
    assert episodes.pixels[torch.tensor([3]), torch.tensor([8])].unique().tolist() == [30]
    told = []
    again = load_episodes(asked, tmp_path, lambda *words: told.append(words))
    assert not told and again.sha256 == episodes.sha256


PUSHT_TRAIN, PUSHT_VAL = (9, 7, 12), (8, 6)


def write_published_pusht(root: Path) -> Path:
    """The layout of DINO-WM's ``pusht_noise``; actions tell their split, episode and time, colours the split."""
    av = pytest.importorskip("av")
    for split, lengths in (("train", PUSHT_TRAIN), ("val", PUSHT_VAL)):
        folder, longest = root / split, max(lengths)
        (folder / "obses").mkdir(parents=True)
        told = 1000.0 * (split == "val") + 100.0 * torch.arange(len(lengths))[:, None] + torch.arange(longest)
        torch.save(told[..., None].expand(-1, -1, 5).clone(), folder / "states.pth")
        torch.save(100 * told[..., None].expand(-1, -1, 2).clone(), folder / "rel_actions.pth")
        torch.save(told[..., None].expand(-1, -1, 2).clone(), folder / "velocities.pth")
        (folder / "seq_lengths.pkl").write_bytes(pickle.dumps(list(lengths)))
        for number, length in enumerate(lengths):
            with av.open(str(folder / f"obses/episode_{number:03d}.mp4"), "w") as film:
                stream = film.add_stream("libx264", rate=10, options={"crf": "1"})
                stream.width = stream.height = 16
                image = np.full((16, 16, 3), 200 if split == "val" else 50, np.uint8)
                for _ in range(length):
                    film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                film.mux(stream.encode())
    return root


def pusht(root: Path, **changes: Any) -> dict[str, Any]:
    return {**load_recipe("full/pusht_jepa_wm")["data"], "path": str(root), "image_size": 16, **changes}


@pytest.mark.parametrize("memory", [4.0, 0.0])
def test_push_t_is_trained_on_the_folder_train_and_held_out_is_the_folder_val(tmp_path, monkeypatch, memory):
    root = write_published_pusht(tmp_path / "pusht_noise")
    episodes = load_episodes(pusht(root, memory=memory), tmp_path / "out", quiet)
    assert (episodes.train.tolist(), episodes.validation.tolist()) == ([0, 1, 2], [3, 4])
    for which, lengths, first, colour in (
        (episodes.train, PUSHT_TRAIN, 0.0, 50),
        (episodes.validation, PUSHT_VAL, 1000.0, 200),
    ):
        wanted = [first + 100 * k + np.arange(length - 1.0) for k, length in enumerate(lengths)]
        np.testing.assert_array_equal(episodes.real_actions(which)[:, 0], np.concatenate(wanted))
        shown = episodes.pixels[episodes.frame_places(which)].float()
        assert len(shown) == sum(lengths) and (shown - colour).abs().max() < 6  # films lose a little
    told: list[Any] = []
    again = load_episodes(pusht(root), tmp_path / "out", lambda *words: told.append(words))
    assert not told and again.sha256 == episodes.sha256
    monkeypatch.setattr(sources.Ranks, "current", lambda: sources.Ranks(1, 2))  # which converts nothing
    assert load_episodes(pusht(root), tmp_path / "out", quiet).sha256 == episodes.sha256
    with pytest.raises(DataError):
        load_episodes(pusht(root), tmp_path / "nothing", quiet)


def test_published_push_t_has_to_be_named_and_another_can_be_collected():
    with pytest.raises(ConfigError, match=r"\(JepaWM/PushT-v0, layout 'pusht_noise'\)\. Others can: data\.layout="):
        check_data(pusht(Path(), path=""))
    check_data(pusht(Path(), path="", layout="store", validation=""))
    with pytest.raises(ConfigError, match=r"data\.path \(JepaWM/Droid-v0, layout 'droid'\)\.$"):
        check_data(load_recipe("full/droid_jepa_wm")["data"])


def test_what_is_held_out_may_lie_anywhere_and_a_share_does_without(tmp_path):
    root = write_published_pusht(tmp_path / "pusht_noise")
    inside = load_episodes(pusht(root), tmp_path / "inside", quiet)
    apart = pusht(root / "train", validation=str(root / "val"))
    assert torch.equal(load_episodes(apart, tmp_path / "apart", quiet).actions, inside.actions)
    share = load_episodes(pusht(root, validation="", validation_share=0.5), tmp_path / "share", quiet)
    assert len(share.actions) == 3 and (len(share.train), len(share.validation)) == (1, 2)
    stores = [str(tmp_path / f"inside/data{name}") for name in ("", "-validation")]
    native = pusht(root, layout="store", path=stores[0], validation=stores[1])
    again = load_episodes(native, tmp_path / "native", quiet)
    assert again.sha256 == inside.sha256 and again.validation.tolist() == [3, 4]
    assert not (tmp_path / "native").exists()


def test_a_validation_that_holds_nothing_out_is_refused(tmp_path):
    root = write_published_pusht(tmp_path / "pusht_noise")
    with pytest.raises(
        ConfigError, match=r"data\.validation='vall' names no data set, neither in .*pusht_noise nor by"
    ):
        load_episodes(pusht(root, validation="vall"), tmp_path / "none", quiet)
    with pytest.raises(ConfigError, match=r"data\.validation names the data set that is trained on"):
        load_episodes(pusht(root, validation="train"), tmp_path / "same", quiet)
    with pytest.raises(ConfigError, match=r"data\.validation='val' is held out beside .* names none; leave"):
        check_data(data(validation="val"))
    whole, thin = write(tmp_path / "whole", (7, 7)), write(tmp_path / "thin", (7, 7), frameskip=2)
    stores = {"layout": "store", "path": str(whole.path), "validation": str(thin.path)}
    with pytest.raises(ConfigError, match=r"cannot be trained on together: .* frameskip"):
        load_episodes(pusht(root, **stores), tmp_path, quiet)


def test_data_of_another_environment_and_data_that_are_nowhere_are_refused(tmp_path):
    path = collect("JepaWM/TwoRooms-v0", tmp_path / "rooms", episodes=2, steps=5, image_size=16)
    with pytest.raises(ConfigError, match=r"rooms holds episodes of JepaWM/TwoRooms-v0, but the recipe is for"):
        load_episodes(data(path=str(path)), tmp_path, quiet)
    with pytest.raises(ConfigError, match=r"cannot be collected here; name them with data\.path"):
        check_data(data(layout="droid"))
    with pytest.raises(ConfigError, match=r"data\.layout='drod' is not known; there are droid, "):
        check_data(data(layout="drod"))

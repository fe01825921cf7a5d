"""Training heads: they learn, an interruption changes nothing, and figures are what they say."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from jepawm_agents.errors import ConfigError
from jepawm_agents.heads import load_decoder, load_state_decoder
from jepawm_agents.heads.base import ImageHead
from jepawm_agents.heads.by_agent import world_model_of
from jepawm_agents.heads.files import build_head, describe_head
from jepawm_agents.heads.frozen_encoder import FrozenEncoder
from jepawm_agents.heads.perceptual import PerceptualDistance
from jepawm_agents.training.data import Episodes
from jepawm_agents.training.decoding import ImageTraining, StateTraining, psnr, standardised_colours
from jepawm_agents.training.distributed import Share
from jepawm_agents.training.frames import FrameBatch, Frames
from jepawm_agents.training.head import check
from jepawm_agents.training.loop import LoopSettings, run_loop
from jepawm_agents.training.recipes import list_recipes, load_recipe
from jepawm_agents.training.run import main
from jepawm_agents.world_models.encoders.base import square
from jepawm_agents.world_models.jepa import JEPAWorldModel
from jepawm_agents.world_models.weights import save_world_model
from jepawm_envs.data import EpisodeStore, collect
from jepawm_envs.wall.env import WallEnv

FILES = {"compact/decoder": "decoder", "compact/state_decoder": "state_decoder"}
every_target = pytest.mark.parametrize("recipe", list(FILES))


class Killed(Exception):
    """Stands for whatever ends a process."""


def quiet(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    pass


@pytest.fixture
def model(tiny_model) -> JEPAWorldModel:
    return tiny_model("adaln")


@pytest.fixture
def weights(tmp_path, model) -> Path:
    """The file of a world model that says how it was trained."""
    path = tmp_path / "model.safetensors"
    data = {"env": "JepaWM/Wall-v0", "steps": 10, "frameskip": 5}
    save_world_model(model, path, notes={"recipe": {"data": data}})
    return path


def tiny(weights: Path, recipe: str = "compact/decoder", **train: Any) -> dict[str, Any]:
    """Changes that make a recipe take a second or two."""
    head = {"width": 32} if recipe == "compact/state_decoder" else {"width": 32, "channels": 16}
    return {
        "model": {"weights": str(weights)},
        "data": {"episodes": 40},
        "head": head,
        "train": {
            "steps": 60,
            "batch_size": 16,
            "log_every": 10,
            "validate_every": 30,
            "checkpoint_every": 20,
            **train,
        },
    }


def train(out: Path, settings: Mapping[str, Any], recipe: str = "compact/decoder", **more: Any) -> Path:
    return main(recipe, settings=settings, out=out, **{"resume": False, "progress": quiet, **more})


def curve(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [
            {key: float(value) for key, value in row.items() if value and key != "seconds"}
            for row in csv.DictReader(file)
        ]


def of_wall(recipe: str, **train: Any) -> dict[str, Any]:
    """Changes for heads of the shipped agent, whose encoder knows where the dot is."""
    return {
        **tiny(Path(), recipe, **train),
        "model": {"agent": "jepa_wm_wall"},
        "data": {"steps": 10, "frameskip": 5, "episodes": 60},
    }


class Spots:
    """Pictures of a bright spot; the latent is a token with its row and column."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.places = torch.from_numpy(random.uniform(3, 13, size=(512, 2)).astype(np.float32))
        self.states, self.train, self.validation = self.places, np.arange(448), np.arange(448, 512)

    def read(self, numbers) -> FrameBatch:
        places, grid = self.places[numbers], torch.arange(16.0)
        along = torch.exp(-((grid - places[..., None]) ** 2) / 4.0)  # rows, columns
        images = (along[:, 0, :, None] * along[:, 1, None, :])[:, None].expand(-1, 3, -1, -1)
        return FrameBatch((places[:, None] - 8.0) / 3.0, images, places)

    def some(self, numbers):
        yield self.read(numbers)

    def some_images(self) -> Tensor:
        return self.read(self.train).images


def test_a_decoder_learns_to_show_what_latents_say(tmp_path):
    frames: Any = Spots()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = build_head({"target": "image", "family": "compact", "latent_dim": 2, "grid_size": 1, "image_size": 16})
    head.fit(frames.some_images().mean(dim=0))
    training = ImageTraining(head, frames, {**settings_of(l2=1.0), "batch_size": 64})
    loop = LoopSettings(steps=100, learning_rate=3e-3, weight_decay=0.0, log_every=10, validate_every=50)
    figures = run_loop(
        "decoder",
        head,
        loop,
        training.loss_of_step,
        training.validate,
        out=tmp_path,
        identity={},
        resume=False,
        progress=quiet,
    )
    assert figures["val_psnr"] > figures["val_mean_psnr"] + 3.0  # decibels
    held_out = frames.read(frames.validation)
    brightest = head.decode(held_out.latents)[..., 0].flatten(1).argmax(dim=1)
    found = torch.stack([brightest // 16, brightest % 16], dim=1)
    assert float((found - held_out.states).abs().max()) < 2.0


def test_a_state_decoder_learns_where_the_dot_is(tmp_path):
    settings = of_wall("compact/state_decoder", steps=60, learning_rate=1e-2)
    path = train(tmp_path / "out", settings, "compact/state_decoder")
    rows = [row for row in curve(tmp_path / "out" / "state_decoder.csv") if "val_rmse" in row]
    assert rows[-1]["val_rmse"] < min(0.3, rows[0]["val_rmse"])  # 1 is knowing nothing
    decoder, env = load_state_decoder("jepa_wm_wall", path), WallEnv(obs_type="state")
    states = np.stack([env.sample_states(seed)[0] for seed in range(100, 164)])
    found = decoder(FrozenEncoder.of(world_model_of("jepa_wm_wall").model)(torch.from_numpy(env.draw(states, 64))))
    assert np.abs(found.numpy() - states).mean() < 5.0  # pixels of 65; knowing nothing gives 15


def test_the_file_says_where_a_head_is_from_and_data_are_those_of_the_world_model(tmp_path, weights, model):
    path = train(tmp_path / "out", tiny(weights, steps=1))
    assert path == tmp_path / "out" / "decoder.safetensors"
    assert load_decoder(model, path).decode(torch.zeros(2, 4, 6)).shape == (2, 16, 16, 3)
    described = describe_head(path)
    assert described.encoder_sha256 == FrozenEncoder.of(model).sha256()
    assert described.notes["recipe"]["name"] == "compact/decoder"
    assert described.notes["encoder"]["weights"] == "model.safetensors"
    assert described.notes["recipe"]["model"]["weights"] == "model.safetensors"  # and not where it lies
    with EpisodeStore(tmp_path / "out" / "data.h5") as store:
        assert described.notes["data_sha256"] == store.sha256()
        assert store.meta["env"] == "JepaWM/Wall-v0" and store.meta["frameskip"] == 5 and len(store) == 40


@every_target
def test_a_training_killed_in_every_stage_and_resumed_equals_an_undisturbed_one(tmp_path, weights, recipe):
    name, settings = FILES[recipe], tiny(weights, recipe)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, settings, recipe)
    for number, place in enumerate([("data", 11), (name, 33), (name, 59)]):

        def progress(stage, done, total, figures, place=place):
            if (stage, done) == place:
                raise Killed

        with pytest.raises(Killed):
            train(parts, settings, recipe, resume=number > 0, progress=progress)
    train(parts, settings, recipe, resume=True)
    assert (whole / f"{name}.safetensors").read_bytes() == (parts / f"{name}.safetensors").read_bytes()
    assert curve(whole / f"{name}.csv") == curve(parts / f"{name}.csv")


def test_a_seed_decides_the_head_and_the_global_generator_is_left_alone(tmp_path, weights):
    collect("JepaWM/Wall-v0", tmp_path / "data.h5", episodes=4, steps=5, seed=0, image_size=16)
    state, files = torch.random.get_rng_state(), []
    for number, seed in enumerate((0, 0, 1)):
        settings = tiny(weights, steps=2, seed=seed)
        settings["data"] = {"path": str(tmp_path / "data.h5")}
        files.append(load_file(train(tmp_path / str(number), settings)))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(files[0][key], files[1][key]) for key in files[0])
    assert not torch.equal(files[0]["read.weight"], files[2]["read.weight"])


# Figures


class Constant(ImageHead):
    image_size, latent_dim = 4, 1

    def __init__(self, value: float):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def pictures(self, tokens: Tensor) -> Tensor:
        return self.value.expand(len(tokens), 3, 4, 4)


class Grey:
    """Frames that are all of one grey, with states that say their number."""

    train, validation = np.arange(6), np.array([6, 7])
    states = torch.stack([torch.arange(8.0), torch.full((8,), 5.0)], dim=1)

    def read(self, numbers) -> FrameBatch:
        return FrameBatch(
            torch.zeros(len(numbers), 1, 1), torch.full((len(numbers), 3, 4, 4), 0.6), self.states[numbers]
        )

    def some(self, numbers):
        yield self.read(numbers)

    def some_images(self) -> Tensor:
        return torch.full((1, 3, 4, 4), 0.7)


def settings_of(**loss: float) -> dict[str, Any]:
    return {
        "seed": 0,
        "batch_size": 3,
        "standardise": True,
        "standardise_colours": False,
        "loss": {"l2": 0.0, "l1": 0.0, "lpips": 0.0, **loss},
    }


def test_peak_signal_to_noise_ratios_are_averaged_in_decibels():
    assert psnr(torch.tensor([0.01])) == pytest.approx(20.0)
    assert psnr(torch.tensor([0.01, 0.0001])) == pytest.approx(30.0)
    assert math.isfinite(psnr(torch.zeros(1)))


def test_losses_and_figures_of_pictures_are_the_errors():
    frames: Any = Grey()
    training = ImageTraining(Constant(0.5), frames, settings_of(l2=10.0, l1=3.0))
    assert training.loss_of_step(0).item() == pytest.approx(10 * 0.01 + 3 * 0.1, rel=1e-5)
    figures = training.validate()
    assert figures["val_l2"] == pytest.approx(0.01, rel=1e-5)
    assert figures["val_psnr"] == pytest.approx(20.0, abs=1e-4)
    assert figures["val_mean_psnr"] == pytest.approx(20.0, abs=1e-4)
    assert training.head.training


def test_the_perceptual_distance_is_part_of_the_loss_and_has_gradients():
    class Mean(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (a - b).abs().mean(dim=(1, 2, 3), keepdim=True)

    frames: Any = Grey()
    training = ImageTraining(Constant(0.5), frames, settings_of(lpips=2.0), PerceptualDistance(Mean()))
    loss = training.loss_of_step(0)
    assert loss.item() == pytest.approx(2 * 0.2, rel=1e-5)  # colours from -1 to 1
    loss.backward()
    assert float(training.head.value.grad) == pytest.approx(-4.0, rel=1e-4)  # type: ignore[union-attr, arg-type]


def test_a_small_thing_of_its_own_colour_counts_as_much_as_large_ones():
    """Half of the pictures are grey all over; one of either kind has a reddish pixel of eight."""
    images = torch.zeros(4, 3, 4, 2)
    images[:2] = 0.6
    images[::2, 0, 0, 0] += 0.4
    weighed = standardised_colours(images)
    grey, red = (torch.zeros(3, 4, 2) for _ in range(2))
    grey[:] = 0.3  # what is wrong when the mean is shown instead
    red[0, 0, 0] = 0.2

    def error(of: Tensor) -> float:
        return float(torch.einsum("dc,chw->dhw", weighed, of).square().sum())

    assert grey.square().sum() > 50 * red.square().sum()
    assert error(grey) == pytest.approx(error(red), rel=0.35)  # the red one has a little grey in it
    assert weighed.norm() == pytest.approx(3**0.5)


def test_pictures_that_are_all_alike_and_colours_that_never_occur_are_no_trouble():
    same = standardised_colours(torch.full((4, 3, 2, 2), 0.5))
    assert bool(same.isfinite().all())
    assert torch.allclose(same @ same.T, torch.eye(3), atol=1e-6)
    grey = torch.rand(64, 1, 2, 2, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    # Along the greys one, elsewhere at most ten times as much.
    scales = torch.linalg.svdvals(standardised_colours(grey))
    assert float(scales[0] / scales[2]) == pytest.approx(10.0, rel=1e-3)


@pytest.mark.parametrize("mixed", [False, True])
def test_errors_of_pictures_are_along_their_colours_as_asked(mixed):
    """In full precision even where the head calculates in bfloat16, which knows 0.6 and 0.601 as one."""

    class Colourful(Grey):
        def some_images(self) -> Tensor:
            return torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))

    frames: Any = Colourful()
    training = ImageTraining(Constant(0.601), frames, {**settings_of(l2=10.0, l1=3.0), "standardise_colours": True})
    error = standardised_colours(frames.some_images()) @ torch.full((3,), 0.001)
    expected = 10 * error.square().mean() + 3 * error.abs().mean()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        assert training.loss_of_step(0).item() == pytest.approx(float(expected), rel=1e-3)
    assert training.validate()["val_l2"] == pytest.approx(1e-6, rel=1e-3)  # figures are of pictures


def test_errors_of_states_are_in_deviations_or_raw_as_asked():
    class Zero(nn.Module):
        def __init__(self):
            super().__init__()
            self.zero = nn.Parameter(torch.zeros(2))

        def forward(self, tokens: Tensor) -> Tensor:
            return self.zero.expand(len(tokens), -1)

    frames: Any = Grey()
    std = float(torch.arange(6.0).std())
    training = StateTraining(Zero(), frames, settings_of(l2=1.0))
    figures = training.validate()
    assert figures["val_rmse_0"] == pytest.approx(math.sqrt((36 + 49) / 2))
    assert figures["val_rmse_1"] == pytest.approx(5.0)
    assert figures["val_rmse"] == pytest.approx(math.sqrt(((36 + 49) / std**2 + 2 * 25) / 4))
    raw = StateTraining(Zero(), frames, {**settings_of(l1=2.0), "standardise": False})
    frames.train = np.array([4])
    assert raw.loss_of_step(0).item() == pytest.approx(2.0 * (4 + 5) / 2)


# Data


@pytest.fixture
def store(tmp_path):
    path = collect("JepaWM/Wall-v0", tmp_path / "data.h5", episodes=8, steps=5, seed=0, image_size=24)
    with EpisodeStore(path) as store:
        yield store


def test_frames_are_split_as_episodes_are_and_reading_them_anew_changes_nothing(store):
    def encode(pixels: Tensor) -> Tensor:
        return pixels.float().mean(dim=(1, 2))[:, None]

    kept, anew = (Frames(store, encode, image_size=16, validation_share=0.25, memory=memory) for memory in (1.0, 0.0))
    episodes = Episodes.load(store, 0.25)
    assert set(kept.train // 6) == set(episodes.train) and set(kept.validation // 6) == set(episodes.validation)
    numbers = np.array([0, 7, 47, 7])
    for one, other in zip(kept.read(numbers), anew.read(numbers), strict=True):
        assert torch.equal(one, other)
    batch = kept.read(numbers)
    pixels = torch.from_numpy(store.frames(1)[1:2])  # frame 7
    assert torch.equal(batch.latents[1], encode(pixels)[0])
    assert torch.equal(batch.images[1:2], square(pixels.permute(0, 3, 1, 2).float() / 255.0, 16))
    np.testing.assert_array_equal(batch.states[1], store.states[1, 1].astype(np.float32))
    every = torch.cat([kept.read(kept.train).images])
    torch.testing.assert_close(kept.mean_image(), every.mean(dim=0))


def test_episodes_may_differ_in_length():
    class Uneven:
        lengths = np.array([1, 3])

        def __len__(self) -> int:
            return 2

        def array(self, name: str, episode: int) -> np.ndarray:
            return 100.0 * episode + np.arange(self.lengths[episode] + 1.0)[:, None]

        def frames(self, episode: int, start: int = 0, stop: int | None = None) -> np.ndarray:
            values = self.array("states", episode)[start:stop].astype(np.uint8)
            return np.tile(values[:, :, None, None], (1, 2, 2, 3))

    uneven: Any = Uneven()
    for memory in (1.0, 0.0):
        frames = Frames(uneven, lambda p: p.float()[:, 0, :1], image_size=2, validation_share=0.5, memory=memory)
        batch = frames.read(np.arange(6))
        assert batch.states.flatten().tolist() == [0, 1, 100, 101, 102, 103]
        assert batch.latents[:, 0, 0].tolist() == batch.states.flatten().tolist()
        assert len(frames.train) + len(frames.validation) == 6


# Recipes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"set exactly one of model\.agent, model\.weights and encoder\.family"),
        ({"model": {"agent": "a", "weights": "b"}}, r"set exactly one of model\.agent"),
        ({"model": {"agent": "a"}, "head": {"target": "imag"}}, r"Unknown head\.target 'imag'\. Did you mean image"),
        ({"model": {"agent": "a"}, "train": {"loss": {"l2": 0.0}}}, r"weights start at 0 and one is above"),
        ({"model": {"agent": "a"}, "train": {"loss": {"l1": -1.0}}}, r"weights start at 0 and one is above"),
        ({"model": {"agent": "a"}, "head": {"target": "state"}, "train": {"loss": {"lpips": 1.0}}}, "is for pictures"),
        ({"model": {"agent": "a"}, "data": {"episodes": 1}}, r"data\.episodes is too small"),
        ({"model": {"agent": "a"}, "train": {"steps": 0}}, r"train\.steps is too small"),
        ({"model": {"agent": "a"}, "train": {"batch_size": 8, "accumulate": 3}}, "cannot be split into equal parts"),
    ],
)
def test_settings_that_cannot_be_trained_are_refused_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        train(tmp_path / "out", changes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "bf8"}, r"Unknown precision of a training 'bf8'"),
        ({"learning_rat": 1.0}, r"Unknown recipe setting 'train\.learning_rat'\. Did you mean"),
    ],
)
def test_settings_that_the_loop_does_not_know_are_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        train(tmp_path / "out", {"model": {"agent": "jepa_wm_wall"}, "train": changes})
    assert not (tmp_path / "out").exists()


def test_data_of_several_environments_are_joined_as_the_world_model_had_them(tmp_path, model):
    path, more = tmp_path / "model.safetensors", "JepaWM/TwoRooms-v0"
    data = {"env": "JepaWM/Wall-v0", "further_envs": [more], "steps": 2, "collect": {"settings": {}}}
    save_world_model(model, path, notes={"recipe": {"data": data}})
    settings = tiny(path, steps=1)
    settings["data"]["episodes"] = 2
    train(tmp_path / "out", settings)
    for name, env in (("data.h5", "JepaWM/Wall-v0"), ("data-2.h5", more)):
        with EpisodeStore(tmp_path / "out" / name) as store:
            assert store.meta["env"] == env and len(store) == 2
    with pytest.raises(ConfigError, match=r"needs states of one size; those of these environments have \[2, 4\]"):
        train(
            tmp_path / "states",
            {**tiny(path, "compact/state_decoder"), "data": {"episodes": 2}},
            "compact/state_decoder",
        )


def test_parts_of_a_batch_are_the_batch():
    frames: Any = Spots()
    random = torch.Generator().manual_seed(0)
    head = build_head({"target": "image", "family": "compact", "latent_dim": 2, "grid_size": 1, "image_size": 16})
    nn.init.normal_(head.to_full.weight, generator=random)
    states = build_head({"target": "state", "family": "compact", "latent_dim": 2, "grid_size": 1, "state_dim": 2})
    settings = {**settings_of(l2=1.0, l1=0.5), "batch_size": 12}
    for training in (ImageTraining(head, frames, settings), StateTraining(states, frames, settings)):
        parts = [training.loss_of_step(3, Share(index, 3)).item() for index in range(3)]
        assert len(set(parts)) == 3
        assert np.mean(parts) == pytest.approx(training.loss_of_step(3).item(), rel=1e-5)


def test_a_world_model_that_does_not_say_its_environment_is_asked_for_it(tmp_path, model):
    path = tmp_path / "model.safetensors"
    save_world_model(model, path)
    with pytest.raises(ConfigError, match=r"does not say data\.env; set it, or data\.path"):
        train(tmp_path / "out", tiny(path))


PUBLISHED = {
    # Reference sheet of jepa-wms configs/vjepa_wm/vm2m: encoder, colours, depth, parameters, learning rate, epochs.
    "full/decoder_dinov2_half": (("dinov2", "small", 224, "half"), 384, 24, 303_706_304, 5e-4, 30),
    "full/decoder_dinov2": (("dinov2", "small", 224, "imagenet"), 384, 24, 303_706_304, 5e-4, 50),
    "full/decoder_dinov3": (("dinov3", "large", 256, "imagenet"), 1024, 24, 304_607_424, 5e-4, 50),
    "full/decoder_vjepa2": (("vjepa2", "giant", 256, "imagenet"), 1408, 12, 153_845_952, 1e-5, 80),
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_decoders_are_recipes(name):
    encoder, latent_dim, depth, count, learning_rate, epochs = PUBLISHED[name]
    recipe = load_recipe(name)
    check(recipe)
    assert tuple(recipe["encoder"][key] for key in ("family", "size", "image_size", "normalisation")) == encoder
    assert recipe["encoder"].get("normalize_latents", False) == (encoder[0] == "vjepa2")
    settings = recipe["train"]
    assert (settings["learning_rate"], settings["weight_decay"], settings["clip_grad"]) == (learning_rate, 0.1, 1.0)
    assert settings["steps"] == 1000 * epochs
    assert (settings["betas"], settings["precision"], settings["schedule"]) == ([0.9, 0.999], "bf16", "cosine")
    assert settings["batch_size"] // settings["accumulate"] == 64  # frames of a device: 4 clips of 16 or 8 of 8
    warm, lowest = (0, 1e-8) if encoder[0] == "vjepa2" else (2, 1e-6)  # epochs, rate
    assert settings["warm_up"] == pytest.approx(warm / epochs, abs=1e-4)
    done = (epochs - warm) / (1.25 * epochs - warm)  # of the published cosine, which is longer than the training
    last = lowest + (learning_rate - lowest) * 0.5 * (1 + math.cos(math.pi * done))
    assert settings["final_learning_rate"] == pytest.approx(last, rel=0.01)
    assert settings["loss"] == {"l2": 10.0, "l1": 0.0, "lpips": 1.0}
    assert recipe["head"]["depth"] == depth
    with torch.device("meta"):
        head = build_head({**recipe["head"], "latent_dim": latent_dim, "image_size": encoder[2]})
    # There the fixed positions are counted.
    assert sum(value.numel() for value in head.parameters()) + head.decoder_pos_embed.numel() == count


def test_the_published_state_decoder_is_a_recipe():
    recipe = load_recipe("full/state_decoder_pointmaze")
    check(recipe)
    assert recipe["train"]["loss"] == {"l2": 0.0, "l1": 1.0, "lpips": 0.0} and not recipe["train"]["standardise"]
    with torch.device("meta"):
        head = build_head({**recipe["head"], "latent_dim": 384, "state_dim": 4, "grid_size": 16})
    # 6 blocks of 12 d^2 + 13 d, two tables of (d + 1) d and (d + 1) 4, one token, d = 384, and 16 x 16 fixed positions.
    d = 384
    count = 6 * (12 * d * d + 13 * d) + (d + 1) * d + (d + 1) * 4 + d
    assert sum(value.numel() for value in head.parameters()) == count
    assert round((count + 256 * d) / 1e6, 1) == 10.9


def test_every_published_decoder_has_its_recipe():
    from jepawm_agents.heads.published import IMAGE_DECODERS

    assert {encoder for encoder, *_ in PUBLISHED.values()} == set(IMAGE_DECODERS)
    of_heads = {recipe["name"] for recipe in list_recipes() if recipe["kind"] == "head"}
    assert of_heads == {*PUBLISHED, *FILES, "full/state_decoder_pointmaze"}


@pytest.mark.parametrize("name", ["full/decoder_dinov2", "full/state_decoder_pointmaze"])
def test_heads_of_published_encoders_train(tmp_path, name):
    pytest.importorskip("timm")
    collect("JepaWM/Wall-v0", tmp_path / "data.h5", episodes=2, steps=1, seed=0, image_size=32)
    parts = {"accumulate": 2} if name == "full/decoder_dinov2" else {}
    settings = {
        "encoder": {"weights": "random", "image_size": 28},
        "data": {"path": str(tmp_path / "data.h5"), "env": "JepaWM/Wall-v0"},
        "head": {"width": 32, "depth": 1},
        "train": {"steps": 2, "batch_size": 2, "loss": {"lpips": 0.0}, **parts},
    }
    if name == "full/decoder_dinov2":
        settings["head"]["patch_size"] = 7
    path = train(tmp_path / "out", settings, name)
    described = describe_head(path)
    assert described.config["latent_dim"] == 384
    assert described.notes["encoder"]["weights_sha256"] is None  # random, and it says so
    assert "random" in described.notes["encoder"]["weights"]

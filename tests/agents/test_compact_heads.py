"""Compact decoders, their files and whose latents they may read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.heads import CompactImageDecoder, CompactStateDecoder, build_head, load_decoder, load_state_decoder
from jepawm_agents.heads.by_agent import world_model_of
from jepawm_agents.heads.colours import as_rgb
from jepawm_agents.heads.compact_image_decoder import Keypoints
from jepawm_agents.heads.files import HeadFile, describe_head, read_head, save_head
from jepawm_agents.heads.frozen_encoder import FrozenEncoder
from jepawm_agents.world_models.encoders.impala import dot_and_wall
from jepawm_bench.registry import load_registry
from jepawm_envs.tworooms.env import TwoRoomsEnv
from jepawm_envs.wall.env import WallEnv

IMAGE = {"target": "image", "family": "compact", "latent_dim": 6, "grid_size": 2, "image_size": 16, "channels": 8}
POINTS = {**IMAGE, "keypoints": 3}
STATE = {"target": "state", "family": "compact", "latent_dim": 6, "grid_size": 2, "state_dim": 3, "width": 8}
LARGE = {
    "image": {"target": "image", "family": "transformer", "latent_dim": 6, "image_size": 16, "width": 32, "depth": 1},
    "state": {"target": "state", "family": "transformer", "latent_dim": 6, "state_dim": 3, "width": 32, "depth": 1},
}
every_head = pytest.mark.parametrize(
    "config",
    [IMAGE, POINTS, STATE, *LARGE.values()],
    ids=["image-compact", "image-compact-keypoints", "state-compact", "image-transformer", "state-transformer"],
)


def made(config: dict[str, Any], seed: int = 0) -> Any:
    """A head whose every weight matters."""
    head = build_head(config)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=random))
    return head.eval()


def tokens(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


# Images


@pytest.mark.parametrize("image_size", [16, 64, 65])
def test_a_fresh_decoder_shows_the_mean_image_whatever_it_is_given(image_size):
    decoder = CompactImageDecoder(latent_dim=6, grid_size=2, image_size=image_size)
    mean = torch.rand(3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    decoder.fit(mean)
    shown = decoder.decode(tokens(2, 5, 4, 6))
    assert shown.dtype == torch.uint8
    assert torch.equal(shown, (mean * 255).to(torch.uint8).permute(1, 2, 0).expand(2, 5, -1, -1, -1))


def test_keypoints_are_bumps_where_the_vector_says():
    points = Keypoints(2, 2, 9)
    with torch.no_grad():
        points.place.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]))
        points.place.bias.zero_()
        points.log_width.copy_(torch.tensor([2 / 9, 4 / 9]).log())  # one cell and two
    maps = points(torch.tensor([[0.0, 0.0], [2 / 9 * 3, -2 / 9 * 2]])).detach()
    assert maps.shape == (2, 2, 9, 9)
    for number, (row, column) in enumerate([(4, 4), (7, 2)]):
        assert float(maps[number, 0, row, column]) == pytest.approx(1.0)
        assert float(maps[number, 0, row - 1, column]) == pytest.approx(math.exp(-1 / 2), rel=1e-4)
        assert float(maps[number, 0, row + 1, column + 1]) == pytest.approx(math.exp(-1), rel=1e-4)
        assert float(maps[number, 1, 4, 6]) == pytest.approx(math.exp(-1 / 2), rel=1e-4)


@pytest.mark.parametrize("config", [IMAGE, POINTS])
def test_every_token_can_change_every_pixel(config):
    decoder, seen = made(config), tokens(1, 4, 6).requires_grad_()
    for row, column in ((0, 0), (7, 9), (15, 15)):
        (found,) = torch.autograd.grad(decoder.pictures(seen)[0, :, row, column].sum(), seen)
        assert bool((found.abs().amax(dim=-1) > 0).all())


def test_a_picture_does_not_depend_on_those_decoded_with_it():
    decoder, seen = made(IMAGE), tokens(3, 4, 6)
    assert torch.equal(decoder.decode(seen)[1], decoder.decode(seen[1]))
    assert decoder.decode(seen[:0]).shape == (0, 16, 16, 3)


@pytest.mark.parametrize(("grid_size", "latent_dim"), [(2, 32), (4, 32), (1, 512)])
def test_decoders_of_compact_world_models_are_small(grid_size, latent_dim):
    decoder = CompactImageDecoder(latent_dim=latent_dim, grid_size=grid_size, image_size=64)
    assert 0.15e6 < sum(value.numel() for value in decoder.parameters()) < 0.25e6
    assert decoder.pictures(tokens(2, grid_size**2, latent_dim)).shape == (2, 3, 64, 64)


def test_two_channels_become_colours_and_back():
    random = np.random.default_rng(0)
    walls = torch.from_numpy(random.integers(0, 2, (3, 9, 9)) * 255)
    dot = torch.from_numpy(random.integers(0, 256, (3, 9, 9))) * (walls == 0)
    pixels = torch.stack([dot, walls], dim=-1).to(torch.uint8)
    found = as_rgb(pixels)
    assert torch.equal(dot_and_wall(found).permute(0, 2, 3, 1).to(torch.uint8), pixels)
    assert torch.equal(as_rgb(found), found)
    with pytest.raises(ValueError, match=r"have 2 channels \(dot, walls\) or 3 \(RGB\), but these have 4"):
        as_rgb(torch.zeros(1, 8, 8, 4))


def test_two_rooms_looks_alike_in_two_channels_and_in_colour():
    pictures = []
    for channels in ("two", "rgb"):
        env = TwoRoomsEnv(channels=channels, image_size=65)
        pictures.append(as_rgb(torch.from_numpy(np.asarray(env.reset(seed=3)[0]["pixels"]))).int())
    assert float((pictures[0] - pictures[1]).abs().float().mean()) < 3.0


# States


def test_states_are_in_the_units_of_the_data_and_constant_entries_are_harmless():
    decoder = made(STATE)
    states = torch.tensor([[1.0, 7.0, 10.0], [3.0, 7.0, 30.0]])
    plain = decoder(tokens(5, 4, 6))
    decoder.fit(states)
    expected = plain * torch.tensor([2**0.5, 1.0, 200**0.5]) + torch.tensor([2.0, 7.0, 20.0])
    torch.testing.assert_close(decoder(tokens(5, 4, 6)), expected)
    torch.testing.assert_close(decoder(tokens(5, 4, 6).reshape(1, 5, 1, 4, 6))[0, :, 0], expected)


@pytest.mark.parametrize("config", [IMAGE, STATE])
def test_tokens_of_another_size_are_refused(config):
    for wrong in (tokens(1, 4, 7), tokens(1, 9, 6)):
        with pytest.raises(ValueError, match=r"Tokens to decode are .*4, 6\), but these have shape"):
            made(config)(wrong)


# Encoders


def test_the_hash_of_an_encoder_is_of_all_that_its_latents_depend_on_and_of_nothing_else(tiny_model):
    def digest(model) -> str:
        return FrozenEncoder.of(model).sha256()

    model, other = tiny_model("adaln"), tiny_model("adaln", seed=1)
    before = digest(model)
    assert before == digest(tiny_model("adaln")) != digest(other)
    model.predictor.load_state_dict(other.predictor.state_dict())
    model.normaliser.action_std.fill_(3.0)
    assert digest(model) == before
    model.predictor.normalize_latents = True
    assert digest(model) != before
    model.predictor.normalize_latents = False
    model.encoder.std[0] += 1e-3
    assert digest(model) != before


def test_colours_are_part_of_a_published_encoder():
    hashes = set()
    for normalisation in ("half", "imagenet"):
        encoder: Any = torch.nn.Linear(1, 1)
        with torch.no_grad():
            encoder.weight.fill_(1.0)
            encoder.bias.fill_(0.0)
        encoder.image_size, encoder.grid_size = 16, 2
        encoder.register_buffer("mean", torch.full((3,), float(normalisation == "half")), persistent=False)
        hashes.add(FrozenEncoder(encoder).sha256())
    assert len(hashes) == 2


def test_latents_are_those_that_a_world_model_plans_with(tiny_model):
    model = tiny_model("adaln")
    pixels = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    for model.predictor.normalize_latents in (False, True):
        planned = model.encode(pixels, np.zeros((2, 2))).visual
        assert torch.equal(FrozenEncoder.of(model)(torch.from_numpy(pixels)), planned)


# Files


def write(path: Path, config: dict[str, Any], encoder: str, seed: int = 0) -> Any:
    head = made(config, seed)
    save_head(head, path, HeadFile(config, encoder, {"recipe": {"name": "none"}}))
    return head


@every_head
def test_a_head_read_back_is_the_head_written(tmp_path, config):
    head, path = write(tmp_path / "deep" / "head.safetensors", config, "abc"), tmp_path / "deep" / "head.safetensors"
    read = read_head(path, "abc")
    assert type(read) is type(head) and not read.training
    assert not any(value.requires_grad for value in read.parameters())
    for key, value in head.state_dict().items():
        assert torch.equal(read.state_dict()[key], value), key
    assert describe_head(path) == HeadFile(config, "abc", {"recipe": {"name": "none"}})


def test_equal_heads_give_equal_files(tmp_path):
    paths = [tmp_path / name for name in ("one", "two")]
    for path in paths:
        write(path, IMAGE, "abc")
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_head_of_another_encoder_is_refused_and_one_of_the_same_encoder_fits(tmp_path, tiny_model):
    path, model = tmp_path / "head.safetensors", tiny_model("adaln")
    head = write(path, IMAGE, FrozenEncoder.of(model).sha256())
    twin = tiny_model("dino_wm", seed=5)
    with pytest.raises(
        WeightsError, match=r"reads latents of encoder .*, but this world model's encoder is .*nonsense"
    ):
        load_decoder(twin, path)
    twin.encoder.load_state_dict(model.encoder.state_dict())
    seen = tokens(2, 4, 6)
    assert torch.equal(load_decoder(twin, path).decode(seen), head.decode(seen))


def test_a_head_for_something_else_is_refused(tmp_path, tiny_model):
    path, model = tmp_path / "head.safetensors", tiny_model("adaln")
    write(path, STATE, FrozenEncoder.of(model).sha256())
    with pytest.raises(WeightsError, match=r"head\.safetensors is a head for state, not for image"):
        load_decoder(model, path)
    assert load_state_decoder(model, path)(tokens(2, 4, 6)).shape == (2, 3)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "head.safetensors"
    with pytest.raises(WeightsError, match=r"There is no head at .*head\.safetensors"):
        read_head(path, "abc")
    write(path, IMAGE, "abc")
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with pytest.raises(WeightsError, match=r"cannot be read as safetensors .*may be truncated"):
        read_head(path, "abc")
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"is not a head of format jepawm-head/1"):
        read_head(path, "abc")


def test_files_that_do_not_fit_their_description_are_refused(tmp_path):
    path = tmp_path / "head.safetensors"
    write(path, IMAGE, "abc")
    with safe_open(path, framework="pt") as file:
        kept = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, not a mapping
        said = json.loads(file.metadata()["head"])
    wrong = {key: value for key, value in kept.items() if key != "mean"}
    save_file(wrong, path, metadata={"head": json.dumps(said)})
    with pytest.raises(WeightsError, match=r"head\.safetensors: The weights do not fit the model: missing mean"):
        read_head(path, "abc")
    said["config"]["family"] = "compat"
    save_file(kept, path, metadata={"head": json.dumps(said)})
    with pytest.raises(
        WeightsError, match=r"head\.safetensors: Unknown family of image heads 'compat'\. Did you mean comp"
    ):
        read_head(path, "abc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "imag"}, r"Unknown target of a head 'imag'\. Did you mean image"),
        ({"family": "compat"}, r"Unknown family of image heads 'compat'\. Did you mean compact"),
        ({"depth": 3}, r"do not fit a compact image head: .*depth"),
        ({"channels": 6}, r"channels=6, keypoints=0; all but the last are at least 1 and channels is a multiple of 4"),
        ({"width": 0}, r"cannot have image_size=16, width=0"),
        ({"keypoints": -1}, r"keypoints=-1; all but the last are at least 1"),
    ],
)
def test_impossible_heads_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        build_head({**IMAGE, **change})


def test_a_state_decoder_of_no_numbers_is_refused():
    with pytest.raises(ConfigError, match=r"cannot have width=256 and state_dim=0"):
        CompactStateDecoder(latent_dim=6, grid_size=2, state_dim=0)


# What is shipped


@pytest.mark.parametrize("env", ["wall", "pointmaze", "pusht", "metaworld"])
def test_agents_of_one_encoder_share_its_shipped_decoder(env):
    one, other = load_decoder(f"jepa_wm_{env}"), load_decoder(f"dino_wm_{env}@compact")
    for key, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


def test_the_shipped_decoder_shows_wall_as_it_is():
    env, decoder = WallEnv(obs_type="state"), load_decoder("jepa_wm_wall")
    states = np.stack([env.sample_states(seed)[0] for seed in range(100, 124)])
    pixels = env.draw(states, 64)
    shown = decoder.decode(FrozenEncoder.of(world_model_of("jepa_wm_wall").model)(torch.from_numpy(pixels)))
    error = (shown.double() / 255 - torch.from_numpy(pixels).double() / 255).square().mean(dim=(1, 2, 3))
    assert float((-10 * error.log10()).mean()) > 38.0  # decibels; the mean image reaches 30
    found, right = (np.stack([_dot(picture) for picture in np.asarray(pictures)]) for pictures in (shown, pixels))
    assert np.abs(found - right).max() < 1.0  # pixels of 64


@pytest.mark.parametrize(
    ("agent", "options", "gain"),
    [
        ("jepa_wm_pointmaze", {}, 6.0),
        ("jepa_wm_pusht", {}, 1.5),
        ("jepa_wm_metaworld", {"render_quality": "fast"}, 2.5),
        ("eb_jepa_two_rooms", {"channels": "two", "image_size": 65}, 10.0),
    ],
)
def test_a_shipped_decoder_shows_more_than_the_mean_picture(agent, options, gain):
    """Decibels on goals; the tiny pusher of Push-T is what is missing most."""
    env = gymnasium.make(load_registry().card(agent).default_env or "", **{"image_size": 64, **options})
    pixels = torch.from_numpy(np.stack([env.reset(seed=seed)[0]["goal_pixels"] for seed in range(100, 124)]))
    env.close()
    shown = load_decoder(agent).decode(FrozenEncoder.of(world_model_of(agent).model)(pixels)).double() / 255
    true = as_rgb(pixels).double() / 255
    errors = [(picture - true).square().mean() for picture in (shown, true.mean(dim=0))]
    assert float(10 * (errors[1] / errors[0]).log10()) > gain


def test_the_shipped_decoder_of_two_rooms_shows_the_dot_where_it_is():
    env = gymnasium.make("JepaWM/TwoRooms-v0", channels="two", image_size=65)
    pixels = torch.from_numpy(np.stack([env.reset(seed=seed)[0]["pixels"] for seed in range(100, 124)]))
    env.close()
    encoder = FrozenEncoder.of(world_model_of("eb_jepa_two_rooms").model)
    shown = load_decoder("eb_jepa_two_rooms").decode(encoder(pixels))
    found, right = (
        np.stack([_dot(picture) for picture in np.asarray(pictures)]) for pictures in (shown, as_rgb(pixels))
    )
    assert np.abs(found - right).max() < 2.0  # pixels of 65


def _dot(picture: np.ndarray) -> np.ndarray:
    """Where the red dot is."""
    red = np.clip(picture[..., 0].astype(float) - picture[..., 1], 60.0, None) - 60.0
    grid = np.indices(red.shape)
    return (grid * red).sum(axis=(1, 2)) / red.sum()


def test_agents_without_a_decoder_are_told_how_to_make_one(tiny_model):
    with pytest.raises(ConfigError, match=r"No image decoder for the encoder .* --recipe compact/decoder"):
        load_decoder(tiny_model("adaln"))
    with pytest.raises(ConfigError, match=r"No state decoder for the encoder .* --recipe compact/state_decoder"):
        load_state_decoder(tiny_model("adaln"))
    with pytest.raises(ConfigError, match=r"Unknown agent 'jepa_wm_wal'\. Did you mean jepa_wm_wall"):
        load_decoder("jepa_wm_wal")
    with pytest.raises(ConfigError, match=r"Unknown variant of jepa_wm_wall 'compat'\. Did you mean compact"):
        load_decoder("jepa_wm_wall@compat")
    with pytest.raises(ConfigError, match="Agent 'true_simulator' has no world model with latents"):
        load_decoder("true_simulator")

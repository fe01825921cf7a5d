"""Decoders against the same computation written out by hand, and their files: complete or refused."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.heads import published
from jepawm_agents.heads.image_decoder import ImageDecoder
from jepawm_agents.heads.perceptual import PerceptualDistance, load_perceptual_distance
from jepawm_agents.heads.positions import grid_positions
from jepawm_agents.heads.published import load_image_decoder, read_image_decoder
from jepawm_agents.heads.state_decoder import StateDecoder

Weights = dict[str, Tensor]
DIM, HEADS, LATENT = 32, 16, 12


def random_weights(shapes: dict[str, tuple[int, ...]]) -> Weights:
    """Weights by name, large enough that all of them matter."""
    random = torch.Generator().manual_seed(0)
    centre = {key: 1.0 if "norm" in key and key.endswith("weight") else 0.0 for key in shapes}
    return {key: centre[key] + 0.2 * torch.randn(shape, generator=random) for key, shape in shapes.items()}


def block_shapes(depth: int) -> dict[str, tuple[int, ...]]:
    one: dict[str, tuple[int, ...]] = {
        "norm1.weight": (DIM,),
        "norm1.bias": (DIM,),
        "attn.qkv.weight": (3 * DIM, DIM),
        "attn.qkv.bias": (3 * DIM,),
        "attn.proj.weight": (DIM, DIM),
        "attn.proj.bias": (DIM,),
        "norm2.weight": (DIM,),
        "norm2.bias": (DIM,),
        "mlp.fc1.weight": (4 * DIM, DIM),
        "mlp.fc1.bias": (4 * DIM,),
        "mlp.fc2.weight": (DIM, 4 * DIM),
        "mlp.fc2.bias": (DIM,),
    }
    return {f"decoder_blocks.{i}.{key}": shape for i in range(depth) for key, shape in one.items()}


def image_weights(patch: int = 4, depth: int = 2) -> Weights:
    return random_weights(
        {
            "view_tokens": (1, 1, DIM),
            "decoder_embed.weight": (DIM, LATENT),
            "decoder_embed.bias": (DIM,),
            **block_shapes(depth),
            "decoder_norm.weight": (DIM,),
            "decoder_norm.bias": (DIM,),
            "decoder_proj.weight": (patch * patch * 3, DIM),
            "decoder_proj.bias": (patch * patch * 3,),
        }
    )


def state_weights(state_dim: int = 5) -> Weights:
    return random_weights(
        {
            "state_token": (1, 1, DIM),
            "decoder_embed.weight": (DIM, LATENT),
            "decoder_embed.bias": (DIM,),
            **block_shapes(2),
            "state_proj.weight": (state_dim, DIM),
            "state_proj.bias": (state_dim,),
        }
    )


def positions_by_hand(side: int, dim: int) -> Tensor:
    """One entry after the other."""
    table = torch.zeros(side * side, dim)
    quarter = dim // 4
    for row in range(side):
        for column in range(side):
            for j in range(quarter):
                frequency = 1 / 10000 ** (j / quarter)
                for axis, position in enumerate((row, column)):
                    first = axis * 2 * quarter + j
                    table[row * side + column, first] = math.sin(position * frequency)
                    table[row * side + column, first + quarter] = math.cos(position * frequency)
    return table[None]


def blocks_by_hand(weights: Weights, x: Tensor, depth: int = 2) -> Tensor:
    """Attention as softmax(q k) v, one head after the other, LayerNorm at 1e-5."""
    for i in range(depth):
        w = {k.removeprefix(f"decoder_blocks.{i}."): v for k, v in weights.items() if f"blocks.{i}." in k}
        normed = F.layer_norm(x, (DIM,), w["norm1.weight"], w["norm1.bias"], 1e-5)
        q, k, v = (normed @ w["attn.qkv.weight"].T + w["attn.qkv.bias"]).split(DIM, dim=-1)
        size, found = DIM // HEADS, []
        for h in range(0, DIM, size):
            score = q[..., h : h + size] @ k[..., h : h + size].transpose(1, 2) / size**0.5
            found.append(score.softmax(dim=-1) @ v[..., h : h + size])
        x = x + torch.cat(found, dim=-1) @ w["attn.proj.weight"].T + w["attn.proj.bias"]
        normed = F.layer_norm(x, (DIM,), w["norm2.weight"], w["norm2.bias"], 1e-5)
        hidden = F.gelu(normed @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"])
        x = x + hidden @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"]
    return x


def tokens(*shape: int) -> Tensor:
    return torch.randn(*shape, LATENT, generator=torch.Generator().manual_seed(2))


def test_positions_are_sines_of_rows_and_then_of_columns():
    torch.testing.assert_close(grid_positions(3, 16), positions_by_hand(3, 16))


@torch.inference_mode()
def test_the_image_decoder_is_what_the_published_one_computes():
    weights = image_weights()
    decoder = ImageDecoder.from_reference(weights, image_size=16, normalisation="half")
    seen = tokens(2, 16)
    embed = seen @ weights["decoder_embed.weight"].T + weights["decoder_embed.bias"]
    x = blocks_by_hand(weights, embed + positions_by_hand(4, DIM) + weights["view_tokens"])
    x = F.layer_norm(x, (DIM,), weights["decoder_norm.weight"], weights["decoder_norm.bias"], 1e-5)
    numbers = x @ weights["decoder_proj.weight"].T + weights["decoder_proj.bias"]
    found = decoder(seen)
    assert found.shape == (2, 3, 16, 16)
    for b, row, column, colour in ((0, 0, 0, 0), (0, 5, 14, 2), (1, 15, 3, 1)):
        patch, within = row // 4 * 4 + column // 4, (row % 4 * 4 + column % 4) * 3 + colour
        assert float(found[b, colour, row, column]) == pytest.approx(float(numbers[b, patch, within]), abs=2e-4)


@torch.inference_mode()
def test_coarse_tokens_are_stretched_to_the_decoders_grid_before_the_embedding():
    decoder = ImageDecoder.from_reference(image_weights(), image_size=28, normalisation="half")  # a grid of 7
    coarse = tokens(1, 16)  # of 4: the published factor 1.75
    fine = torch.empty(1, 7, 7, LATENT)
    for i in range(7):
        for j in range(7):
            places = [min(max((k + 0.5) / 1.75 - 0.5, 0.0), 3.0) for k in (i, j)]
            (r, c), (a, b) = (int(places[0]), int(places[1])), (places[0] % 1, places[1] % 1)
            grid, below, right = coarse.reshape(4, 4, LATENT), min(r + 1, 3), min(c + 1, 3)
            upper = (1 - b) * grid[r, c] + b * grid[r, right]
            fine[0, i, j] = (1 - a) * upper + a * ((1 - b) * grid[below, c] + b * grid[below, right])
    torch.testing.assert_close(decoder(coarse), decoder(fine.flatten(1, 2)), rtol=1e-4, atol=1e-4)


def constant(decoder: ImageDecoder, colours: list[float]) -> ImageDecoder:
    """A decoder that shows one colour, given as normalised."""
    nn.init.zeros_(decoder.decoder_proj.weight)
    decoder.decoder_proj.bias.data.copy_(torch.tensor(colours).repeat(decoder.patch_size**2))
    return decoder


@pytest.mark.parametrize(
    ("normalisation", "colours", "expected"),
    [
        # Grey, black and white in the normalisation of each; beyond it, cut off.
        ("half", [0.0, -1.0, 1.0], [127, 0, 255]),
        ("half", [7.0, -7.0, 0.5], [255, 0, 191]),
        ("imagenet", [0.0, -0.456 / 0.224, (1 - 0.406) / 0.225 + 1e-4], [123, 0, 255]),
    ],
)
def test_pictures_are_of_the_encoders_colours(normalisation, colours, expected):
    sizes: dict[str, Any] = {"latent_dim": LATENT, "image_size": 8, "patch_size": 4, "width": DIM, "depth": 1}
    decoder = constant(ImageDecoder(**sizes, normalisation=normalisation), colours)
    found = decoder.decode(tokens(1, 2, 3, 4))
    assert found.shape == (1, 2, 3, 8, 8, 3) and found.dtype == torch.uint8
    assert torch.equal(found, torch.tensor(expected, dtype=torch.uint8).expand_as(found))


def test_a_picture_does_not_depend_on_those_decoded_with_it():
    decoder = ImageDecoder.from_reference(image_weights(), image_size=16, normalisation="half")
    seen = tokens(3, 16)
    assert torch.equal(decoder.decode(seen)[1], decoder.decode(seen[1]))
    assert decoder.decode(seen[:0]).shape == (0, 16, 16, 3)


@torch.inference_mode()
def test_the_state_decoder_is_what_the_published_one_computes():
    weights = state_weights()
    decoder = StateDecoder.from_reference(weights, grid_size=3)
    seen = tokens(2, 4, 9)
    x = seen.flatten(0, 1) @ weights["decoder_embed.weight"].T + weights["decoder_embed.bias"]
    x = torch.cat([weights["state_token"].expand(8, 1, DIM), x + positions_by_hand(3, DIM)], dim=1)
    expected = blocks_by_hand(weights, x)[:, 0] @ weights["state_proj.weight"].T + weights["state_proj.bias"]
    torch.testing.assert_close(decoder(seen), expected.reshape(2, 4, 5), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(decoder(seen[0, 1]), decoder(seen)[0, 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("latent_dim", "image_size", "depth", "count"),
    [(384, 224, 24, 303_706_304), (1024, 256, 24, 304_607_424), (1408, 256, 12, 153_845_952)],
)
def test_published_decoders_have_the_published_number_of_parameters(latent_dim, image_size, depth, count):
    with torch.device("meta"):
        decoder = ImageDecoder(latent_dim=latent_dim, image_size=image_size, depth=depth)
    # There the fixed positions are counted.
    assert sum(value.numel() for value in decoder.parameters()) + decoder.decoder_pos_embed.numel() == count
    assert {module.eps for module in decoder.modules() if isinstance(module, nn.LayerNorm)} == {1e-5}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("with_positions", [False, True])
def test_decoders_read_back_are_those_written(prefix, with_positions):
    cases: list[Any] = [
        (ImageDecoder, image_weights(), (1, 16, DIM), {"image_size": 16, "normalisation": "half"}),
        (StateDecoder, state_weights(), (1, 9, DIM), {"grid_size": 3}),
    ]
    for cls, weights, positions, sizes in cases:
        if with_positions:
            weights["decoder_pos_embed"] = torch.randn(positions)
        decoder: Any = cls.from_reference({prefix + key: value for key, value in weights.items()}, **sizes)
        assert not decoder.training and not any(value.requires_grad for value in decoder.parameters())
        for key, value in weights.items():
            assert torch.equal(decoder.state_dict()[key], value), key


def test_decoders_that_do_not_fit_are_refused():
    weights = image_weights()
    with pytest.raises(WeightsError, match=r"missing decoder_norm\.bias; unknown extra"):
        ImageDecoder.from_reference(
            {**{k: v for k, v in weights.items() if k != "decoder_norm.bias"}, "extra": torch.zeros(1)},
            image_size=16,
            normalisation="half",
        )
    with pytest.raises(WeightsError, match=r"decoder_pos_embed has shape \(1, 9, 32\) instead of \(1, 16, 32\)"):
        ImageDecoder.from_reference(
            {**weights, "decoder_pos_embed": torch.zeros(1, 9, DIM)}, image_size=16, normalisation="half"
        )
    with pytest.raises(WeightsError, match="num_heads=5 does not divide the 32 channels"):
        ImageDecoder.from_reference(weights, image_size=16, normalisation="half", num_heads=5)
    with pytest.raises(WeightsError, match=r"lack 'decoder_embed\.weight'"):
        ImageDecoder.from_reference({}, image_size=16, normalisation="half")
    with pytest.raises(WeightsError, match=r"decoder_proj\.weight has 30 rows, which are no square patches"):
        ImageDecoder.from_reference(
            {**weights, "decoder_proj.weight": torch.zeros(30, DIM)}, image_size=16, normalisation="half"
        )
    with pytest.raises(ConfigError, match="image_size=15 is no multiple of the 4 pixels"):
        ImageDecoder.from_reference(weights, image_size=15, normalisation="half")
    with pytest.raises(WeightsError, match=r"not the weights of a state decoder: 'state_proj\.weight' is missing"):
        StateDecoder.from_reference(weights)
    decoder = ImageDecoder.from_reference(weights, image_size=16, normalisation="half")
    for wrong in (torch.zeros(1, 15, LATENT), torch.zeros(1, 16, LATENT + 1)):
        with pytest.raises(ValueError, match=r"Tokens to decode are \(batch, a square grid, 12\)"):
            decoder(wrong)


# Files


def head_file(path, weights: Weights) -> None:
    """As the authors write heads."""
    model = {f"module.{key}": value for key, value in weights.items()}
    torch.save({"model": model, "opt": {"state": {}}, "scaler": None, "epoch": 30}, path)


class Model:
    """As much of a world model as the choice of a decoder needs."""

    def __init__(self, latent_dim: int = LATENT, **encoder: Any):
        self.config = {"encoder": encoder}
        self.encoder = type("", (), {"image_size": encoder["image_size"], "latent_dim": latent_dim})


def test_a_decoder_is_chosen_by_the_encoder_and_found_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JEPAWM_CACHE", str(tmp_path))
    monkeypatch.setenv("JEPAWM_OFFLINE", "1")
    head_file(tmp_path / "vm2m_lpips_dv2vits_vitldec_224_05norm.pth.tar", image_weights(patch=8))
    model: Any = Model(family="dinov2", size="small", image_size=224, normalisation="half")
    decoder = load_image_decoder(model)
    assert decoder.grid_size == 28 and torch.equal(decoder.mean, torch.full((3,), 0.5))
    assert decoder.decode(tokens(256)).shape == (224, 224, 3)
    with pytest.raises(WeightsError, match="this world model's have 13; it is the decoder of another encoder"):
        load_image_decoder(Model(13, family="dinov2", size="small", image_size=224, normalisation="half"))  # type: ignore
    absent: Any = Model(family="dinov2", size="small", image_size=224, normalisation="imagenet")
    with pytest.raises(WeightsError, match=r"224_INet\.pth\.tar is not on this machine .* switched off .*Get it from "):
        load_image_decoder(absent)
    none: Any = Model(family="compact", image_size=64)
    with pytest.raises(ConfigError, match="No image decoder is published for encoder compact None at 64 pixels"):
        load_image_decoder(none)


def test_other_files_are_no_decoders(tmp_path):
    torch.save({"predictor": {}}, tmp_path / "other.pth.tar")
    with pytest.raises(WeightsError, match="has no entry 'model'; it has predictor"):
        read_image_decoder(tmp_path / "other.pth.tar", image_size=224, normalisation="half")
    head_file(tmp_path / "state.pth.tar", state_weights())
    with pytest.raises(WeightsError, match=r"state\.pth\.tar: The weights lack 'decoder_proj\.weight'"):
        read_image_decoder(tmp_path / "state.pth.tar", image_size=224, normalisation="half")


@pytest.mark.slow
@pytest.mark.parametrize("encoder", list(published.IMAGE_DECODERS))
def test_full_size_files_load_and_decode(tmp_path, encoder):
    family, _, image_size, normalisation = encoder
    latent_dim, depth = {"dinov2": (384, 24), "dinov3": (1024, 24), "vjepa2": (1408, 12)}[family]
    with torch.device("meta"):
        shapes = ImageDecoder(latent_dim=latent_dim, image_size=image_size, depth=depth).state_dict()
    # One number a tensor: a file of full size to the reader, of a few kilobytes on the disk.
    weights = {k: torch.tensor(1e-3 * i).expand(v.shape) for i, (k, v) in enumerate(shapes.items())}
    head_file(tmp_path / "head.pth.tar", weights)
    decoder = read_image_decoder(tmp_path / "head.pth.tar", image_size=image_size, normalisation=normalisation)
    for key, value in weights.items():
        assert bool((decoder.state_dict()[key] == value.flatten()[0]).all()), key
    assert decoder.decode(torch.zeros(256, latent_dim)).shape == (image_size, image_size, 3)


# LPIPS


def test_perceptual_distance_shows_the_network_colours_from_minus_one_to_one():
    class Mean(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (a - b).abs().mean(dim=(1, 2, 3), keepdim=True)

    distance = PerceptualDistance(Mean())
    black, white = torch.zeros(2, 3, 8, 8, 3, dtype=torch.uint8), torch.full((2, 3, 8, 8, 3), 255, dtype=torch.uint8)
    assert torch.equal(distance(black, white), torch.full((2, 3), 2.0))
    assert float(distance(white[0, 0], white[0, 0])) == 0.0
    with pytest.raises(ValueError, match=r"both \(\.\.\., height, width, 3\)"):
        distance(black, white[:1])
    with pytest.raises(ValueError, match=r"are uint8, but these are torch\.uint8 and torch\.float32"):
        distance(black, white.float())


def test_lpips_is_missed_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(ConfigError, match=r"LPIPS needs the package lpips; install it with `pip install lpips`"):
        load_perceptual_distance()
    monkeypatch.setitem(sys.modules, "lpips", type(sys)("lpips"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match=r"Get https://download\.pytorch\.org/models/vgg16-397923af\.pth and put it"):
        load_perceptual_distance()

"""Pretrained encoders: files in the authors' layout against another implementation with the same weights.

The weights are random, for the real ones are large and elsewhere; equal features from two implementations say that
names, order of queries, keys and values, positions and normalisation are understood.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from jepawm_agents.errors import ConfigError, WeightsError
from jepawm_agents.world_models.encoders import dinov2, vjepa1, vjepa2
from jepawm_agents.world_models.encoders.base import PatchEncoder, square
from jepawm_agents.world_models.encoders.dinov2 import resample_positions
from jepawm_agents.world_models.encoders.files import read_published
from jepawm_agents.world_models.rope import rope_table
from jepawm_agents.world_models.transformer import Block
from jepawm_agents.world_models.weights import build_encoder

Weights = dict[str, Tensor]


def random_weights(shapes: dict[str, tuple[int, ...]]) -> Weights:
    """Weights by name, large enough that all of them matter."""
    random = torch.Generator().manual_seed(0)
    scale = {key: 1.0 if "norm" in key and key.endswith("weight") else 0.0 for key in shapes}
    return {key: scale[key] + 0.05 * torch.randn(shape, generator=random) for key, shape in shapes.items()}


def block_shapes(dim: int, depth: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Of the blocks of a vision transformer, under the names all authors share."""
    one = {
        "norm1.weight": (dim,),
        "norm1.bias": (dim,),
        "attn.qkv.weight": (3 * dim, dim),
        "attn.qkv.bias": (3 * dim,),
        "attn.proj.weight": (dim, dim),
        "attn.proj.bias": (dim,),
        "norm2.weight": (dim,),
        "norm2.bias": (dim,),
        "mlp.fc1.weight": (hidden, dim),
        "mlp.fc1.bias": (hidden,),
        "mlp.fc2.weight": (dim, hidden),
        "mlp.fc2.bias": (dim,),
    }
    blocks = {f"blocks.{i}.{key}": shape for i in range(depth) for key, shape in one.items()}
    return blocks | {"norm.weight": (dim,), "norm.bias": (dim,)}


def images(count: int, size: int) -> Tensor:
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def renamed(weights: Weights, names: dict[str, str], attention: str) -> Weights:
    """Weights under the names of transformers, queries, keys and values apart."""
    found: Weights = {}
    for key, value in weights.items():
        for old, new in names.items():
            key = key.replace(old, new)
        if ".attn.qkv." in key:
            for part, chunk in zip(attention.split(), value.chunk(3), strict=True):
                found[key.replace("attn.qkv", part)] = chunk
        else:
            found[key] = value
    return found


# The picture transform


def test_the_centre_square_is_cut_and_small_pictures_are_not_resized():
    image = torch.arange(4 * 8.0).reshape(1, 1, 4, 8)
    assert torch.equal(square(image, 4), image[..., 2:6])
    assert torch.equal(square(image.transpose(2, 3), 4), image.transpose(2, 3)[..., 2:6, :])


def test_shrinking_is_bilinear_without_antialiasing():
    image = torch.arange(8.0).expand(1, 1, 8, 8)
    # A quarter of the size: the centres of the new pixels lie between 1 and 2 and between 5 and 6.
    assert torch.equal(square(image, 2)[0, 0, 0], torch.tensor([1.5, 5.5]))
    spike = torch.zeros(1, 1, 8, 8)
    spike[..., 0] = 1.0  # no centre is near: with antialiasing this would be seen
    assert not square(spike, 2).any()


class Plain(PatchEncoder):
    """Shows what the transformer would see."""

    def tokens(self, image: Tensor) -> Tensor:
        return image.flatten(2).transpose(1, 2)


@pytest.mark.parametrize(
    ("name", "white"),
    [("imagenet", [(1 - m) / s for m, s in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]), ("half", [1.0] * 3)],
)
def test_colours_are_normalised(name, white):
    encoder = Plain(image_size=2, patch_size=1, latent_dim=3, normalisation=name)
    found = encoder(torch.full((1, 6, 4, 3), 255, dtype=torch.uint8))
    torch.testing.assert_close(found, torch.tensor(white).expand(1, 4, 3))


def test_impossible_settings_and_pictures_are_refused():
    with pytest.raises(ConfigError, match="image_size=30 is no multiple of the 16 pixels of a patch"):
        Plain(image_size=30, patch_size=16, latent_dim=3, normalisation="half")
    with pytest.raises(ConfigError, match=r"Unknown normalisation 'imagnet'\. Did you mean imagenet"):
        Plain(image_size=32, patch_size=16, latent_dim=3, normalisation="imagnet")
    with pytest.raises(ConfigError, match=r"Unknown size of vjepa1 'larg'\. Did you mean large"):
        build_encoder({"family": "vjepa1", "size": "larg"})
    with pytest.raises(
        ValueError, match=r"Images are \(batch, height, width, 3\), but these have shape \(1, 3, 4, 4\)"
    ):
        Plain(image_size=4, patch_size=2, latent_dim=3, normalisation="half")(torch.zeros(1, 3, 4, 4))


# DINOv2


def cubic(x: float) -> float:
    """The kernel of bicubic interpolation, sharpness -0.75."""
    a, x = -0.75, abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def ramps() -> Tensor:
    """Positions of a 37x37 grid: its row and its column."""
    ramp = torch.arange(37.0)
    return torch.stack([ramp[:, None].expand(37, 37), ramp.expand(37, 37)], dim=-1).reshape(1, 37 * 37, 2)


def test_positions_are_sampled_by_the_published_factor():
    found = resample_positions(ramps(), 16, exact=False).unflatten(1, (16, 16))[0]
    for i in range(1, 15):
        place = (i + 0.5) * 37 / 16.1 - 0.5
        expected = sum(k * cubic(place - k) for k in range(int(place) - 1, int(place) + 3))
        assert float(found[i, 8, 0]) == pytest.approx(expected, abs=1e-4)
        assert float(found[8, i, 1]) == pytest.approx(expected, abs=1e-4)


def test_positions_of_models_with_registers_are_sampled_exactly_and_smoothly():
    found = resample_positions(ramps(), 16, exact=True).unflatten(1, (16, 16))[0]
    inner = torch.arange(2, 14)
    for line in (found[2:14, 8, 0], found[8, 2:14, 1]):
        torch.testing.assert_close(line, (inner + 0.5) * 37 / 16 - 0.5, rtol=0, atol=0.02)
    spike = torch.zeros(1, 37 * 37, 1)
    spike[0, 18 * 37 + 18] = 1.0  # antialiasing gives every position its share
    assert float(resample_positions(spike, 16, exact=True).sum()) == pytest.approx((16 / 37) ** 2, rel=0.1)


def test_positions_of_the_right_size_are_kept_and_no_square_is_refused():
    table = torch.randn(1, 16, 3)
    assert resample_positions(table, 4, exact=False) is table
    with pytest.raises(WeightsError, match=r"hold 15 positions, which is no square"):
        resample_positions(table[:, :15], 4, exact=False)


def dinov2_weights(registers: int) -> Weights:
    dim = 384
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, 1370, dim),
        "mask_token": (1, dim),
        "patch_embed.proj.weight": (dim, 3, 14, 14),
        "patch_embed.proj.bias": (dim,),
        **block_shapes(dim, 12, 4 * dim),
        **{f"blocks.{i}.ls{k}.gamma": (dim,) for i in range(12) for k in (1, 2)},
    }
    if registers:
        shapes["register_tokens"] = (1, registers, dim)
    return random_weights(shapes)


DINOV2_NAMES = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "register_tokens": "embeddings.register_tokens",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "blocks.": "encoder.layer.",
    "attn.proj": "attention.o_proj",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
}


@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2_equals_another_implementation(tmp_path, monkeypatch, registers):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("timm")
    if registers:
        monkeypatch.setitem(dinov2.SIZES, "tested", ("vit_small_patch14_reg4_dinov2", 384, True))
    weights = dinov2_weights(registers)
    torch.save(weights, tmp_path / "dinov2.pth")
    encoder = build_encoder({"family": "dinov2", "size": "tested" if registers else "small", "normalisation": "half"})
    encoder.load_published(read_published(tmp_path / "dinov2.pth"))

    kind = "Dinov2WithRegisters" if registers else "Dinov2"
    settings: dict[str, Any] = {"hidden_size": 384, "num_attention_heads": 6, "image_size": 224, "patch_size": 14}
    config = getattr(transformers, f"{kind}Config")(**settings, **({"num_register_tokens": 4} if registers else {}))
    other = getattr(transformers, f"{kind}Model")(config).eval()
    names = renamed(weights, DINOV2_NAMES, "attention.q_proj attention.k_proj attention.v_proj")
    names = {key.replace("norm.", "layernorm.") if key.startswith("norm.") else key: v for key, v in names.items()}
    positions = names.pop("pos_embed")
    grid = resample_positions(positions[:, 1:], 16, exact=bool(registers))
    names["embeddings.position_embeddings"] = torch.cat([positions[:, :1], grid], dim=1)
    other.load_state_dict(names)

    pixels = images(2, 224)
    with torch.inference_mode():
        found = encoder(pixels)
        seen = (pixels.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
        expected = other(pixel_values=seen).last_hidden_state[:, 1 + registers :]
    assert found.shape == (2, 256, 384)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_dinov2_names_missing_and_left_over_keys():
    pytest.importorskip("timm")
    encoder, weights = build_encoder({"family": "dinov2"}), dinov2_weights(0)
    with pytest.raises(WeightsError, match=r"missing norm\.bias; unknown extra"):
        encoder.load_published({**{k: v for k, v in weights.items() if k != "norm.bias"}, "extra": torch.zeros(1)})
    with pytest.raises(WeightsError, match="lack 'pos_embed'"):
        encoder.load_published({})


# DINOv3


def dinov3_weights() -> Weights:
    dim = 384
    weights = random_weights(
        {
            "cls_token": (1, 1, dim),
            "storage_tokens": (1, 4, dim),
            "mask_token": (1, dim),
            "patch_embed.proj.weight": (dim, 3, 16, 16),
            "patch_embed.proj.bias": (dim,),
            **block_shapes(dim, 12, 4 * dim),
            **{f"blocks.{i}.ls{k}.gamma": (dim,) for i in range(12) for k in (1, 2)},
        }
    )
    for i in range(12):  # the bias of the keys is masked in the published code
        weights[f"blocks.{i}.attn.qkv.bias_mask"] = torch.ones(3 * dim)
        weights[f"blocks.{i}.attn.qkv.bias_mask"][dim : 2 * dim] = 0.0
    periods = 100.0 ** (2 * torch.arange(16.0) / 32)
    return weights | {"rope_embed.periods": periods.bfloat16()}


DINOV3_NAMES = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "storage_tokens": "embeddings.register_tokens",
    "patch_embed.proj": "embeddings.patch_embeddings",
    "blocks.": "model.layer.",
    "attn.proj": "attention.o_proj",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "mlp.fc1": "mlp.up_proj",
    "mlp.fc2": "mlp.down_proj",
}


def test_dinov3_equals_another_implementation(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("timm")
    weights = dinov3_weights()
    torch.save(weights, tmp_path / "dinov3.pth")
    encoder = build_encoder({"family": "dinov3", "size": "small"}).load_published(
        read_published(tmp_path / "dinov3.pth")
    )
    settings: dict[str, Any] = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6}
    config = transformers.DINOv3ViTConfig(
        **settings, image_size=256, num_hidden_layers=12, num_register_tokens=4, layer_norm_eps=1e-5, key_bias=False
    )
    other = transformers.DINOv3ViTModel(config).eval()
    kept = {k: v for k, v in weights.items() if not k.endswith(("bias_mask", "periods"))}
    names = renamed(kept, DINOV3_NAMES, "attention.q_proj attention.k_proj attention.v_proj")
    names = {key: value for key, value in names.items() if not key.endswith("k_proj.bias")}
    names["embeddings.mask_token"] = names["embeddings.mask_token"][None]
    other.load_state_dict(names)
    rope = next(module for module in other.modules() if hasattr(module, "inv_freq"))
    rope.inv_freq.copy_(1 / weights["rope_embed.periods"].float())

    pixels = images(1, 256)
    with torch.inference_mode():
        found = encoder(pixels)
        expected = other(pixel_values=encoder.prepare(pixels)).last_hidden_state[:, 5:]
    assert found.shape == (1, 256, 384)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_dinov3_never_leaves_evaluation_mode():
    pytest.importorskip("timm")
    with torch.device("meta"):
        encoder = build_encoder({"family": "dinov3", "size": "small"})
    assert not any(module.training for module in encoder.train().modules())


def test_dinov3_refuses_periods_of_another_size():
    pytest.importorskip("timm")
    encoder, weights = build_encoder({"family": "dinov3", "size": "small"}), dinov3_weights()
    with pytest.raises(WeightsError, match=r"rope_embed\.periods differ"):
        encoder.load_published({**weights, "rope_embed.periods": 2 * weights["rope_embed.periods"]})


# V-JEPA


def vjepa_weights(dim: int, depth: int) -> Weights:
    return random_weights(
        {
            "patch_embed.proj.weight": (dim, 3, 2, 16, 16),
            "patch_embed.proj.bias": (dim,),
            **block_shapes(dim, depth, 4 * dim),
        }
    )


def run_blocks(weights: Weights, x: Tensor, heads: int, table: Any) -> Tensor:
    """The blocks of V-JEPA, with this package's own parts."""
    dim = x.shape[-1]
    for i in range(2):
        block = Block(dim, heads, 4.0)
        prefix = f"blocks.{i}."
        block.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
        x = block(x, table)
    return F.layer_norm(x, (dim,), weights["norm.weight"], weights["norm.bias"], eps=1e-6)


def patches(weights: Weights, image: Tensor) -> Tensor:
    """A frame given twice meets the sum of both halves of the kernel."""
    x = F.conv2d(image, weights["patch_embed.proj.weight"].sum(dim=2), weights["patch_embed.proj.bias"], stride=16)
    return x.flatten(2).transpose(1, 2)


def published_vjepa(path: Path, weights: Weights) -> Weights:
    """Written as the authors do, read as we do."""
    wrapped = {f"module.backbone.{key}": value for key, value in weights.items()}
    torch.save({"encoder": wrapped, "target_encoder": {}, "epoch": 3, "opt": {"lr": [0.1]}}, path)
    return read_published(path, key="encoder")


@torch.inference_mode()
def test_vjepa2_equals_another_implementation(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    sizes = {"hidden_size": 52, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 4.0}
    monkeypatch.setitem(vjepa2.SIZES, "tested", sizes)
    weights = vjepa_weights(52, 2)
    encoder = build_encoder({"family": "vjepa2", "size": "tested", "image_size": 64})
    encoder.load_published(published_vjepa(tmp_path / "v.pt", {**weights, "pos_embed": torch.zeros(1, 9, 52)}))
    pixels = images(2, 64)
    expected = run_blocks(weights, patches(weights, encoder.prepare(pixels)), 2, rope_table(1, 4, 4, 26))
    torch.testing.assert_close(encoder(pixels), expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_vjepa1_equals_another_implementation(tmp_path, monkeypatch):
    monkeypatch.setitem(vjepa1.SIZES, "tested", {"dim": 48, "depth": 2, "heads": 2})
    weights = vjepa_weights(48, 2) | {"pos_embed": torch.randn(1, 8 * 14 * 14, 48)}
    encoder = build_encoder({"family": "vjepa1", "size": "tested", "image_size": 224})
    encoder.load_published(published_vjepa(tmp_path / "v.pt", weights))
    pixels = images(2, 224)
    # One moment out of eight lies between the fourth and the fifth.
    positions = weights["pos_embed"].unflatten(1, (8, 196))[:, 3:5].mean(dim=1)
    x = patches(weights, encoder.prepare(pixels)) + positions
    expected = run_blocks(weights, x, 2, None)
    torch.testing.assert_close(encoder(pixels), expected, rtol=1e-4, atol=1e-5)


def test_fixed_positions_of_vjepa1_are_stretched_over_a_larger_grid(monkeypatch):
    monkeypatch.setitem(vjepa1.SIZES, "tested", {"dim": 48, "depth": 1, "heads": 2})
    encoder = build_encoder({"family": "vjepa1", "size": "tested", "image_size": 256})
    ramp = torch.arange(14.0).expand(8, 14, 14).reshape(1, -1, 1).expand(-1, -1, 48)  # by column
    encoder.backbone.pos_embed.data.copy_(ramp)
    found = encoder.backbone._positions((1, 16, 16))[0, 0, 0, 5]
    expected = ((torch.arange(16) + 0.5) * 14 / 16 - 0.5).clamp(0, 13)
    torch.testing.assert_close(found, expected)


def test_sine_positions_turn_each_axis_in_its_own_channels():
    table = vjepa1.sine_positions(2, 3, 4, 48).reshape(2, 3, 4, 48)
    assert torch.equal(table[1, 2, :, :24], table[1, 0, :, :24])  # time
    assert torch.equal(table[:, 1, :, 24:36], table[0, 1, 0, 24:36].expand(2, 4, 12))  # row
    assert torch.equal(table[..., 2, 36:], table[0, 0, 2, 36:].expand(2, 3, 12))  # column
    torch.testing.assert_close(
        table[1, 0, 0, [0, 1, 12]],
        torch.tensor([1.0, 10000 ** (-1 / 12), 1.0])
        .sin()
        .where(torch.tensor([True, True, False]), torch.tensor(1.0).cos()),
    )


@pytest.mark.parametrize(("size", "count"), [("large", 303_885_312), ("giant", 1_012_173_952)])
def test_vjepa2_has_the_published_number_of_parameters(size, count):
    pytest.importorskip("transformers")
    with torch.device("meta"):
        encoder = build_encoder({"family": "vjepa2", "size": size})
    assert sum(parameter.numel() for parameter in encoder.parameters()) == count


def test_vjepa1_has_those_and_its_positions():
    with torch.device("meta"):
        encoder = build_encoder({"family": "vjepa1"})
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 303_885_312 + 1568 * 1024


# Files and packages


class Evil:
    """Runs something when unpickled without care."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('this must never run')",))


def test_files_that_are_no_weights_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(WeightsError, match=r"There is no weights file at .*weights\.pth"):
        read_published(path)
    torch.save({"encoder": {"a": torch.zeros(2)}}, path)
    with pytest.raises(WeightsError, match="has no entry 'target_encoder'; it has encoder"):
        read_published(path, key="target_encoder")
    with pytest.raises(WeightsError, match="does not hold a dictionary of tensors; it is not a file of encoder"):
        read_published(path)
    torch.save([1, 2], path)
    with pytest.raises(WeightsError, match="holds a list instead of a dictionary"):
        read_published(path)
    torch.save({"a": Evil()}, path)
    with pytest.raises(WeightsError, match="holds code and not only weights; it was not loaded"):
        read_published(path)


def test_a_pickle_that_torch_did_not_write_is_refused_without_a_word_of_torchs(tmp_path, recwarn):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Evil(), protocol=4))
    with pytest.raises(WeightsError, match="holds code and not only weights; it was not loaded"):
        read_published(path)
    assert not recwarn.list


@pytest.mark.parametrize("kept", [0, 10, 500, -20])
def test_truncated_files_are_refused(tmp_path, kept):
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"(truncated|damaged)"):
        read_published(path)


@pytest.mark.parametrize(("family", "package"), [("dinov2", "timm"), ("dinov3", "timm"), ("vjepa2", "transformers")])
def test_a_package_that_is_missing_is_named_with_how_to_get_it(monkeypatch, family, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"'{family}' needs the package {package}; .*jepawm-bench\[encoders\]"):
        build_encoder({"family": family})


def test_world_models_are_imported_without_these_packages():
    code = (
        "import sys; import jepawm_agents.world_models.weights;"
        "sys.exit(any(name in sys.modules for name in ('timm', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

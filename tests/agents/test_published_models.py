"""Published sizes: parameters counted by the authors' own modules, and dictionaries in their layout.

The models are those that the cards describe under ``official``.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from jepawm_agents.cards import all_cards
from jepawm_agents.world_models.reference import from_reference
from jepawm_agents.world_models.weights import PREDICTORS, build_encoder

# Of the predictor's own dictionary, without embeddings that lie outside it, and those.
COUNTS = {
    "jepa_wm_wall": (17_626_480, 16 * 2 + 16),
    "jepa_wm_pointmaze": (17_626_480, 16 * 4 + 16),
    "jepa_wm_pusht": (17_626_480, 16 * 4 + 16),
    "jepa_wm_metaworld": (17_630_480, 16 * 4 + 16),
    "jepa_wm_droid": (228_835_328, 0),
    "dino_wm_wall": (20_298_744, 10 * 10 + 10 + 10 * 2 + 10),
    "dino_wm_pointmaze": (20_800_884, 10 * 10 + 10 + 20 * 4 + 20),
    "dino_wm_pusht": (20_800_884, 10 * 10 + 10 + 20 * 4 + 20),
    "dino_wm_metaworld": (21_303_024, 20 * 20 + 20 + 20 * 4 + 20),
    "dino_wm_droid": (19_796_604, 10 * 7 + 10),
    "vjepa2_ac_droid": (305_205_632, 0),
    "vjepa2_ac_oss_droid": (305_213_824, 0),
}
WIDTHS = {"dinov2": 384, "dinov3": 1024, "vjepa2": 1408}
OFFICIAL = {card.name: card.variants["official"] for card in all_cards() if "official" in card.variants}


def predictor(name: str):
    """Without memory for its weights."""
    config = OFFICIAL[name]
    settings: dict[str, Any] = {key: v for key, v in config["predictor"].items() if key != "proprio_mode"}
    with torch.device("meta"):
        return PREDICTORS[settings.pop("family")](
            grid_size=16,
            latent_dim=WIDTHS[config["encoder"]["family"]],
            action_dim=config["action_dim"] * config["frameskip"],
            proprio_dim=config["proprio_dim"],
            **settings,
        )


def test_every_published_model_is_counted():
    assert set(COUNTS) == set(OFFICIAL)


@pytest.mark.parametrize("name", COUNTS)
def test_a_predictor_has_the_published_number_of_parameters(name):
    outside = [value.numel() for key, value in predictor(name).named_parameters() if ".patch_embed." in key]
    total = sum(value.numel() for value in predictor(name).parameters())
    assert (total - sum(outside), sum(outside)) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_its_sizes_are_told_from_a_dictionary_in_the_published_layout(name):
    model = predictor(name)
    weights = {}
    for key, value in model.state_dict().items():
        part, _, rest = key.partition(".")
        outside = rest.startswith("patch_embed.")
        weights[f"{part}.module.{rest}" if outside else f"predictor.module.{key}"] = value
    if name.startswith("dino_wm"):  # the masks that the authors' modules register
        masks = {f"predictor.module.transformer.layers.{i}.0.bias": (1, 1, 1024, 1024) for i in range(6)}
        weights |= {key: torch.empty(shape, device="meta") for key, shape in masks.items()}
    normalised = name.startswith("vjepa2")
    with torch.device("meta"):
        read = from_reference(weights, grid_size=16, num_heads=16, normalize_latents=normalised)
    assert type(read) is type(model) and read.latent_dim == model.latent_dim
    assert read.normalize_latents == model.normalize_latents == normalised
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in read.state_dict().items()} == shapes


@pytest.mark.parametrize("name", ["jepa_wm_wall", "jepa_wm_droid", "vjepa2_ac_droid"])
def test_its_encoder_gives_the_grid_and_channels_that_the_predictor_expects(name):
    config = {key: value for key, value in OFFICIAL[name]["encoder"].items() if key != "weights"}
    pytest.importorskip("transformers" if config["family"] == "vjepa2" else "timm")
    with torch.device("meta"):
        encoder = build_encoder(config)
    assert (encoder.grid_size, encoder.latent_dim) == (16, WIDTHS[config["family"]])

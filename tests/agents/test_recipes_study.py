"""The full-size recipes are the study's: its table of configurations, transcribed, and numbers of parameters.

Facts: jepa-wms ``configs/vjepa_wm`` (commit 6eafb14), the 35 ``*_sweep`` files; arXiv 2512.24497, Table S2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from jepawm_agents.training.data import Windows
from jepawm_agents.training.recipes import list_recipes, load_recipe
from jepawm_agents.training.train_settings import steps_of
from jepawm_agents.world_models.weights import PREDICTORS, build_encoder

FAMILIES = {"dino_wm": "dino_wm", "AdaLN": "adaln", "vjepa2_ac": "action_token", "vjepa2_ac_feature": "feature_rope"}
ENCODERS = {
    "dinov2_vits14": ("dinov2", "small", 384),
    "dinov2_vitb14_reg": ("dinov2", "base", 768),
    "dinov2_vitl14_reg": ("dinov2", "large", 1024),
    "dinov3_vitl16": ("dinov3", "large", 1024),
    "v1_open": ("vjepa1", "large", 1024),
    "v2_open_large": ("vjepa2", "large", 1024),
    "v2_open_giant": ("vjepa2", "giant", 1408),
}
DIMENSIONS = {"metaworld": (4, 4), "pusht": (2, 4), "pointmaze": (2, 4), "wall": (2, 2), "droid": (7, 7)}
ENVIRONMENTS = {"mw": "metaworld", "pt": "pusht", "mz": "pointmaze", "wall": "wall", "droid": "droid"}


S, HALF, INET = "dinov2_vits14", "half", "imagenet"
LAST, ALL = "random/sg/W3", "first/bptt/W8"


class Row(NamedTuple):
    """One configuration; what most of them share is the default."""

    config: str
    pred: str
    depth: int
    action: int
    """Width of the action embedding, 0 where it has that of the predictor."""
    proprio: int
    """Width of the embedding; 1 stands for a token."""
    encoder: str = S
    px: int = 224
    norm: str = HALF
    dim: int = 384
    frames: int = 4
    positions: int = 4
    rollout: str = f"1/{LAST}"
    loss: str = "l2"
    batch: int = 256
    epochs: str = "50xfull"
    seed: int = 1


MW, NP1 = "mw_4f_fsk5_ask1_r224_", "noprop_repro_1roll"
D6 = "pred_dino_wm_depth6"
JEPA = {"norm": INET, "rollout": f"2/{LAST}", "seed": 234}
DROID = {"epochs": "315x300", "seed": 234}
AC = {
    "encoder": "v2_open_giant",
    "px": 256,
    "norm": INET,
    "dim": 1024,
    "frames": 8,
    "rollout": f"2/{ALL}",
    "loss": "l1",
}
LARGE = {"px": 256, "norm": INET, "dim": 1024, "seed": 234}
ROWS = [
    Row(f"droid_4f_fps4_r224_{D6}_{NP1}_4fpcs_2n", "dino_wm", 6, 10, 0, batch=128, **DROID),
    Row(
        "droid_4fpcs_fps4_r256_dv3vitl_asp1_pred_AdaLN_depth12_noprop_repro_2roll_4n",
        *("AdaLN", 12, 0, 0),
        **{**JEPA, **DROID, "encoder": "dinov3_vitl16", "px": 256, "dim": 1024},
    ),
    Row("droid_8fpcs_fps4_r256_vj2acvitgL1_repro_2roll_noprop_4n_asp1_wsd", "vjepa2_ac", 24, 0, 0, **AC, **DROID),
    Row("droid_vitgopen", "vjepa2_ac", 24, 0, 1, **AC, **DROID),
    Row(f"{MW}pred_AdaLN0_noprop_depth6_repro_1roll", "AdaLN", 6, 0, 0),
    Row(f"{MW}pred_AdaLN_ftprop_depth6_repro_2roll_save", "AdaLN", 6, 0, 16, **JEPA),
    Row(f"{MW}pred_AdaLN_noprop_depth6_repro_1roll", "AdaLN", 6, 0, 0),
    Row(f"{MW}pred_dino_wm_depth12_{NP1}", "dino_wm", 12, 20, 0),
    Row(f"{MW}pred_dino_wm_depth3_{NP1}", "dino_wm", 3, 20, 0),
    Row(f"{MW}{D6}_{NP1}_hist1", "dino_wm", 6, 20, 0, frames=2),
    Row(f"{MW}{D6}_{NP1}_hist2", "dino_wm", 6, 20, 0, frames=3),
    Row(f"{MW}{D6}_{NP1}_hist5", "dino_wm", 6, 20, 0, frames=6, positions=6),
    Row(f"{MW}{D6}_{NP1}_hist7", "dino_wm", 6, 20, 0, frames=8, positions=8),
    Row(f"{MW}{D6}_{NP1}_save_seed1", "dino_wm", 6, 20, 0),
    Row(f"{MW}{D6}_noprop_repro_2roll", "dino_wm", 6, 20, 0, rollout=f"2/{LAST}"),
    Row(f"{MW}{D6}_noprop_repro_3roll", "dino_wm", 6, 20, 0, rollout=f"3/{LAST}"),
    Row(f"{MW}{D6}_noprop_repro_6roll_hist7", "dino_wm", 6, 20, 0, rollout=f"6/{LAST}", frames=8, positions=8),
    Row(f"{MW}{D6}_repro_1roll_save", "dino_wm", 6, 20, 20, seed=234),
    Row(f"{MW}pred_dino_wm_depth9_{NP1}", "dino_wm", 9, 20, 0),
    Row(
        f"{MW}pred_dino_wm_dinovitb_depth6_{NP1}_save",
        *("dino_wm", 6, 20, 0),
        **{**LARGE, "encoder": "dinov2_vitb14_reg", "px": 224, "dim": 768},
    ),
    Row(
        f"{MW}pred_dino_wm_dinovitl_depth6_{NP1}_save",
        *("dino_wm", 6, 20, 0),
        **{**LARGE, "encoder": "dinov2_vitl14_reg", "px": 224},
    ),
    Row(f"{MW}predvj2ac_noprop_depth6_repro_1roll", "vjepa2_ac", 6, 0, 0),
    Row(f"{MW}predvj2acftcond_noprop_depth6_repro_1roll", "vjepa2_ac_feature", 6, 16, 0),
    Row(f"mw_4f_fsk5_ask1_r256_dv3vitl_{D6}_{NP1}_save", "dino_wm", 6, 20, 0, encoder="dinov3_vitl16", **LARGE),
    Row(f"mw_4f_fsk5_ask1_r256_vj1vitldup_{D6}_{NP1}", "dino_wm", 6, 20, 0, encoder="v1_open", **LARGE),
    Row(f"mw_4f_fsk5_ask1_r256_vj2vitldup_{D6}_{NP1}", "dino_wm", 6, 20, 0, encoder="v2_open_large", **LARGE),
    Row(f"mz_4f_fsk5_ask1_r224_{D6}_{NP1}_save_2n", "dino_wm", 6, 10, 0, batch=128, seed=234),
    Row(f"mz_4f_fsk5_ask1_r224_{D6}_repro_1roll_save_2n", "dino_wm", 6, 10, 20, batch=128, seed=234),
    Row(
        "mz_4f_fsk5_ask1_r224_vjtranoaug_predAdaLN_ftprop_depth6_repro_2roll_save_2n",
        *("AdaLN", 6, 0, 16),
        batch=128,
        **JEPA,
    ),
    Row(f"pt_4f_fsk5_ask1_r224_{D6}_{NP1}_save", "dino_wm", 6, 10, 0, seed=234),
    Row(f"pt_4f_fsk5_ask1_r224_{D6}_repro_1roll_save", "dino_wm", 6, 10, 20, seed=234),
    Row("pt_4f_fsk5_ask1_r224_vjtranoaug_predAdaLN_ftprop_depth6_repro_2roll_save", "AdaLN", 6, 0, 16, **JEPA),
    Row(f"wall_4f_fsk5_ask1_r224_{D6}_{NP1}_save_2n", "dino_wm", 6, 10, 0, batch=128, seed=234),
    Row(f"wall_4f_fsk5_ask1_r224_{D6}_repro_1roll_save_2n", "dino_wm", 6, 10, 10, batch=128, seed=234),
    Row(
        "wall_4f_fsk5_ask1_r224_vjtranoaug_predAdaLN_ftprop_depth6_repro_2roll_save_2n",
        *("AdaLN", 6, 0, 16),
        batch=128,
        **JEPA,
    ),
]
KNOWN = {
    "full/wall_jepa_wm": 17_626_480,
    "full/pusht_jepa_wm": 17_626_480,
    "full/pointmaze_jepa_wm": 17_626_480,
    "full/metaworld_jepa_wm": 17_630_480,
    "full/droid_jepa_wm": 228_835_328,
    "full/wall_dino_wm": 20_298_744,
    "full/pusht_dino_wm": 20_800_884,
    "full/pointmaze_dino_wm": 20_800_884,
    "full/metaworld_dino_wm": 21_303_024,
    "full/droid_dino_wm": 19_796_604,
    "full/droid_vjepa2_ac_fixed": 305_205_632,
    "full/droid_vjepa2_ac": 305_213_824,
}
"""Parameters of the published predictors, counted on the reference's modules without the embeddings beside them."""
FULL = {
    load_recipe(row["name"])["published"]: row["name"]
    for row in list_recipes()
    if row["name"].startswith("full/") and row["kind"] == "world_model"  # others are of other publications
}
every_row = pytest.mark.parametrize("row", [row for row in ROWS if row.config in FULL], ids=lambda row: row.config)


def environment(row: Row) -> str:
    return ENVIRONMENTS[row.config.split("_")[0]]


def test_every_configuration_of_the_study_has_its_recipe_and_no_other_is_said_to_be_published():
    assert len(ROWS) == len({row.config for row in ROWS}) == 35
    assert FULL.keys() == {row.config for row in ROWS}


@every_row
def test_encoder_and_predictor_are_the_published_ones(row: Row):
    recipe = load_recipe(FULL[row.config])
    family, size, latent_dim = ENCODERS[row.encoder]
    assert recipe["encoder"]["model"] == {
        "family": family, "size": size, "image_size": row.px, "normalisation": row.norm
    }  # fmt: skip
    assert recipe["encoder"]["weights"] == "auto" and recipe["data"]["image_size"] == row.px
    predictor = recipe["model"]["predictor"]
    assert (predictor["family"], predictor["depth"], predictor["heads"]) == (FAMILIES[row.pred], row.depth, 16)
    if row.pred == "dino_wm":
        assert (predictor["head_dim"], predictor["mlp_dim"], predictor["dropout"]) == (64, 2048, 0.1)
        assert (predictor["frames"], row.dim) == (row.positions, latent_dim)
    else:
        assert predictor["width"] == row.dim
        assert predictor.get("normalize_latents", False) == row.config.startswith(("droid_8fpcs", "droid_vitgopen"))
    if row.pred == "AdaLN":
        assert predictor.get("modulation_std", 0.2) == (0.0 if "AdaLN0" in row.config else 0.2)
    assert predictor.get("action_width", 0) == row.action
    assert predictor.get("proprio_token", False) == (row.proprio == 1)
    assert predictor.get("proprio_width", 0) == (0 if row.proprio == 1 else row.proprio)


@every_row
def test_the_loss_and_the_optimizer_are_the_published_ones(row: Row):
    train = load_recipe(FULL[row.config])["train"]
    steps, prefix, gradient, window = row.rollout.split("/")
    assert (train["frames"], train["rollout_steps"], train["prefixes"]) == (row.frames, int(steps), prefix)
    assert (train["stop_gradient"], train["window"]) == (gradient == "sg", int(window[1:]))
    assert train["loss"] == {"l2": 0.0, "l1": 0.0, "smooth_l1": 0.0, "cos": 0.0, row.loss: 1.0}
    assert train["order_weights"] == "published" and train["proprio_loss"]
    epochs, length = row.epochs.split("x")
    assert (train["epochs"], train["steps_per_epoch"]) == (int(epochs), 0 if length == "full" else int(length))
    assert (train["batch_size"], train["seed"], train["precision"], train["epsilon"]) == (
        row.batch, row.seed, "bf16", 1e-8
    )  # fmt: skip
    if row.pred == "vjepa2_ac" and "droid" in row.config:
        total = steps_of(train, windows=0)
        assert total == 94_500 and train["schedule"] == "wsd" and train["true_proprio"]
        assert (round(train["warm_up"] * total), round(train["anneal"] * total)) == (4500, 15)
        assert [train[f"{when}learning_rate"] for when in ("start_", "", "final_")] == [7.5e-5, 4.25e-4, 0.0]
        assert train["weight_decay"] == train["final_weight_decay"] == 0.04
        assert train["clip_grad"] == (10.0 if row.config == "droid_vitgopen" else -1.0)
    else:
        assert train["schedule"] == "constant" and not train["true_proprio"] and train["warm_up"] == 0.0
        assert {train[f"{when}learning_rate"] for when in ("start_", "", "final_")} == {5e-4}
        assert (train["weight_decay"], train["final_weight_decay"], train["clip_grad"]) == (1e-7, 1e-6, 1.0)
    assert train["betas"] == [0.9, 0.995 if "droid" in row.config and row.pred == "AdaLN" else 0.999]


@every_row
def test_data_are_the_published_ones(row: Row):
    """Table S2, whose context, frameskip, numbers of trajectories and batches agree with the configurations."""
    recipe, env = load_recipe(FULL[row.config]), environment(row)
    data = recipe["data"]
    assert data["episodes"] * (1 + len(data["further_envs"])) == {
        "metaworld": 12_600, "pusht": 18_500, "pointmaze": 2000, "wall": 1920, "droid": 8000
    }[env]  # fmt: skip
    if env != "pusht":
        assert data["steps"] == {"metaworld": 99, "pointmaze": 100, "wall": 50, "droid": 50}[env]
    assert 100 <= load_recipe("full/pusht_jepa_wm")["data"]["steps"] <= 300
    assert (recipe["model"]["frameskip"], recipe["model"]["window"]) == (1 if env == "droid" else 5, 2)
    assert data["layout"] == {"droid": "droid", "pusht": "pusht_noise"}.get(env, "store")
    action, proprio = DIMENSIONS[env]
    sizes = [len(data["normaliser"][name]) for name in ("action_mean", "action_std", "proprio_mean", "proprio_std")]
    assert sizes == [action, action, proprio, proprio]
    if env == "droid":
        assert data["normaliser"]["action_mean"] == [0.0] * 7 and data["normaliser"]["proprio_std"] == [1.0] * 7
        assert data["options"] == {"fps": 4.0}


@every_row
def test_split_and_sampling_are_the_published_ones(row: Row):
    """Push-T is published as ``train/`` and ``val/``; all of DROID trains, one window of every episode in a pass.

    The others hold out a tenth, and all their windows are equally likely (``traj_dset.py:84-184``).
    """
    data = load_recipe(FULL[row.config])["data"]
    split = {"pusht": ("val", 0.1), "droid": ("", 0.0)}.get(environment(row), ("", 0.1))  # the first rules the second
    assert (data["validation"], data["validation_share"]) == split
    assert data["sampling"] == ("episodes" if environment(row) == "droid" else "windows")


@pytest.mark.parametrize(
    ("name", "windows", "steps"),
    [
        # Windows of an episode of the reference (T - 4 * 5 + 1), and whole batches of nine tenths of the episodes.
        ("full/wall_jepa_wm", 31, 50 * (1728 * 31 // 128)),
        ("full/pointmaze_jepa_wm", 81, 50 * (1800 * 81 // 128)),
        ("full/metaworld_jepa_wm", 80, 50 * (11_340 * 80 // 256)),
    ],
)
def test_an_epoch_has_the_published_number_of_windows(name: str, windows: int, steps: int):
    recipe = load_recipe(name)
    data, train = recipe["data"], recipe["train"]
    frameskip = recipe["model"]["frameskip"] // data["frameskip"]
    episodes = data["episodes"] * (1 + len(data["further_envs"]))
    one = torch.zeros(1, 1).expand(episodes, data["steps"] // data["frameskip"])[..., None]
    cut = Windows(visual=one, actions=one, proprio=one, frameskip=frameskip)
    assert cut.per_epoch(np.array([3]), train["frames"]) == windows
    training = np.arange(round(0.9 * episodes))
    assert steps_of(train, cut.per_epoch(training, train["frames"])) == steps


def test_an_epoch_of_push_t_has_the_published_number_of_windows_but_one_an_episode():
    """The published archive has 18,685 episodes with 2,336,736 frames in ``train/``, 21 with 2,514 in ``val/``.

    None is shorter than a window, so the reference cuts frames - 20 + 1 windows of every one. An action follows each
    recorded frame there; ours, read from these files, end with a frame, so that they have one window less.
    """
    episodes, frames, held_out = 18_685, 2_336_736, 21
    published, recipe = frames - 19 * episodes, load_recipe("full/pusht_jepa_wm")
    assert published == 1_981_721 and 50 * (published // 256) == 387_050
    lengths = np.full(episodes + held_out, frames // episodes - 1)
    lengths[: frames % episodes] += 1  # any lengths of this sum
    one = torch.zeros(1, 1, 1).expand(len(lengths), int(lengths.max()), 1)
    cut = Windows(visual=one, actions=one, proprio=one, frameskip=recipe["model"]["frameskip"], lengths=lengths)
    found = cut.per_epoch(np.arange(episodes), recipe["train"]["frames"])
    assert found == published - episodes
    assert steps_of(recipe["train"], found) == 50 * 7668 > 0.99 * 387_050


@pytest.mark.parametrize("name", [name for name in FULL.values() if "droid" in name])
def test_an_epoch_of_droid_has_300_steps_however_many_episodes_there_are(name: str):
    train = load_recipe(name)["train"]
    for episodes in (8000, 76_000):
        assert steps_of(train, episodes) == 315 * 300
    # Without a number of steps an epoch is a pass, one window of each of the 8000 episodes of Table S2.
    passes = steps_of({**train, "steps_per_epoch": 0}, 8000)
    assert passes == 315 * {128: 62, 256: 31}[train["batch_size"]]


def expected_parameters(predictor: dict[str, Any], latent: int, action: int, proprio: int) -> int:
    """Weights of a predictor, written down from its equations and not from its modules."""

    def linear(before: int, after: int, bias: bool = True) -> int:
        return before * after + bias * after

    felt, acted = predictor.get("proprio_width", 0), predictor.get("action_width", 0)
    embeddings = (linear(proprio, felt) if felt else 0) + (linear(action, acted) if acted else 0)
    depth = predictor["depth"]
    if predictor["family"] == "dino_wm":
        dim, inner, hidden = latent + felt + acted, 16 * 64, 2048
        attention = 2 * dim + linear(dim, 3 * inner, bias=False) + linear(inner, dim)
        feed_forward = 2 * dim + linear(dim, hidden) + linear(hidden, dim)
        return embeddings + 256 * predictor["frames"] * dim + depth * (attention + feed_forward) + 2 * dim
    width = predictor["width"]
    dim = width + felt + acted
    block = 4 * dim + linear(dim, 3 * dim) + linear(dim, dim) + linear(dim, 4 * dim) + linear(4 * dim, dim)
    if predictor["family"] == "adaln":
        block += linear(dim, 6 * dim)
    if predictor["family"] in ("adaln", "action_token"):
        embeddings += linear(action, dim)
    if predictor.get("proprio_token"):
        embeddings += linear(proprio, dim)
    return embeddings + linear(latent, width) + depth * block + 2 * dim + linear(width, latent)


@pytest.fixture(scope="module")
def encoder_sizes():
    """Grid and channels of an encoder, built without memory for its weights."""
    known: dict[str, tuple[int, int]] = {}

    def sizes(settings: dict[str, Any]) -> tuple[int, int]:
        key = str(settings)
        if key not in known:
            with torch.device("meta"):
                encoder = build_encoder(settings)
            known[key] = (encoder.grid_size, encoder.latent_dim)
        return known[key]

    return sizes


@every_row
def test_predictors_have_the_published_number_of_parameters(row: Row, encoder_sizes):
    name = FULL[row.config]
    recipe = load_recipe(name)
    grid, latent = encoder_sizes(recipe["encoder"]["model"])
    assert (grid, latent) == (16, ENCODERS[row.encoder][2])
    action, proprio = DIMENSIONS[environment(row)]
    action *= recipe["model"]["frameskip"]
    settings = {key: value for key, value in recipe["model"]["predictor"].items() if key != "proprio_mode"}
    family = settings.pop("family")
    with torch.device("meta"):
        predictor = PREDICTORS[family](
            grid_size=grid, latent_dim=latent, action_dim=action, proprio_dim=proprio, **settings
        )
    parameters = {key: parameter.numel() for key, parameter in predictor.named_parameters()}
    expected = expected_parameters(recipe["model"]["predictor"], latent, action, proprio)
    assert sum(parameters.values()) == expected
    if name in KNOWN:
        beside = ("action_encoder.", "proprio_encoder.") if family == "dino_wm" else ("proprio_encoder.",)
        if family == "action_token":
            beside = ()
        assert sum(count for key, count in parameters.items() if not key.startswith(beside)) == KNOWN[name]

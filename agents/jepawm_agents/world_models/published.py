"""Descriptions of the published world models, from which :func:`.weights.build` makes them.

Facts: jepa-wms ``hubconf.py`` and ``configs/`` (commit 6eafb14). The files hold the predictor only; the encoder's
weights come from their own authors, and image normalisation and number of heads are in no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown

WINDOW = 2
HEADS = 16

# Primitive action and proprioception, action embedding and proprio embedding of DINO-WM, frameskip.
_ENVIRONMENTS = {
    "wall": {"action_dim": 2, "proprio_dim": 2, "action_width": 10, "proprio_width": 10, "frameskip": 5},
    "pointmaze": {"action_dim": 2, "proprio_dim": 4, "action_width": 10, "proprio_width": 20, "frameskip": 5},
    "pusht": {"action_dim": 2, "proprio_dim": 4, "action_width": 10, "proprio_width": 20, "frameskip": 5},
    "metaworld": {"action_dim": 4, "proprio_dim": 4, "action_width": 20, "proprio_width": 20, "frameskip": 5},
    "droid": {"action_dim": 7, "proprio_dim": 7, "action_width": 10, "proprio_width": 0, "frameskip": 1},
}


def _described(environment: str, encoder: Mapping[str, Any], predictor: Mapping[str, Any]) -> dict[str, Any]:
    shared = {key: _ENVIRONMENTS[environment][key] for key in ("action_dim", "proprio_dim", "frameskip")}
    return {"encoder": dict(encoder), "predictor": dict(predictor), **shared, "window": WINDOW}


def _jepa_wm(environment: str) -> dict[str, Any]:
    if environment == "droid":
        encoder = {"family": "dinov3", "size": "large", "image_size": 256, "normalisation": "imagenet"}
        return _described(environment, encoder, {"family": "adaln", "width": 1024, "depth": 12, "heads": HEADS})
    encoder = {"family": "dinov2", "size": "small", "image_size": 224, "normalisation": "imagenet"}
    predictor = {"family": "adaln", "width": 384, "proprio_width": 16, "depth": 6, "heads": HEADS}
    return _described(environment, encoder, predictor)


def _dino_wm(environment: str) -> dict[str, Any]:
    encoder = {"family": "dinov2", "size": "small", "image_size": 224, "normalisation": "half"}
    widths = {key: _ENVIRONMENTS[environment][key] for key in ("action_width", "proprio_width")}
    sizes = {"depth": 6, "heads": HEADS, "head_dim": 64, "mlp_dim": 2048, "frames": 4, "dropout": 0.1}
    return _described(environment, encoder, {"family": "dino_wm", **widths, **sizes})


def _vjepa2_ac(*, proprio: bool) -> dict[str, Any]:
    encoder = {"family": "vjepa2", "size": "giant", "image_size": 256, "normalisation": "imagenet"}
    sizes = {"width": 1024, "depth": 24, "heads": HEADS, "proprio_token": proprio, "normalize_latents": True}
    return _described("droid", encoder, {"family": "action_token", **sizes})


PUBLISHED: dict[str, dict[str, Any]] = {
    **{f"jepa_wm_{name}": _jepa_wm(name) for name in _ENVIRONMENTS},
    **{f"dino_wm_{name}": _dino_wm(name) for name in _ENVIRONMENTS},
    "vjepa2_ac_droid": _vjepa2_ac(proprio=False),
    "vjepa2_ac_oss_droid": _vjepa2_ac(proprio=True),
}
"""Descriptions by name. The model called ``vjepa2_ac_oss`` by its authors is ``vjepa2_ac_oss_droid`` here."""


def published(name: str) -> dict[str, Any]:
    """The description of a published world model.

    Raises:
        ConfigError: for an unknown name.
    """
    if name not in PUBLISHED:
        raise ConfigError(unknown("published world model", name, PUBLISHED))
    return PUBLISHED[name]

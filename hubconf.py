"""The published world models for torch.hub, one entry a name.

``torch.hub.load(FOLDER, "jepa_wm_wall", source="local")`` returns a world model: ``encode`` observations, ``rollout``
actions, ``normaliser`` for the constants. Files are found or fetched as for the agents; see
:mod:`jepawm_agents.checkpoints`.
"""

import sys as _sys
from collections.abc import Callable as _Callable
from pathlib import Path as _Path
from typing import Any as _Any

dependencies = ["torch", "numpy", "safetensors", "gymnasium", "timm"]

# The code of this very folder, whatever else is installed.
_ROOT = _Path(__file__).resolve().parent
_sys.path[:0] = [str(_ROOT / folder) for folder in ("agents", "envs", ".")]

from jepawm_agents.checkpoints.by_name import fresh_official as _fresh_official  # noqa: E402
from jepawm_agents.checkpoints.by_name import load_official as _load_official  # noqa: E402
from jepawm_agents.checkpoints.by_name import official_names as _official_names  # noqa: E402

# Names of the authors' own hub that differ from those of the cards.
_ALIASES = {"vjepa2_ac_oss": "vjepa2_ac_oss_droid"}


def _entry(name: str, card: str) -> _Callable[..., _Any]:
    def load(
        pretrained: bool = True,
        device: str = "cpu",
        weights: str | None = None,
        encoder_weights: str = "auto",
    ) -> _Any:
        if not pretrained:
            return _fresh_official(card, device=device)
        return _load_official(card, weights=weights, encoder_weights=encoder_weights, device=device).model

    load.__name__ = name
    load.__doc__ = f"""The published world model {card}.

    Args:
        pretrained: whether to load weights; otherwise they are fresh.
        device: where the model goes.
        weights: a file to use instead of the published one.
        encoder_weights: a file of the image encoder's weights; ``auto`` finds or fetches it, ``random`` does without.

    Returns:
        A ``jepawm_agents.world_models.jepa.JEPAWorldModel`` in evaluation mode.
    """
    return load


for _name, _card in {**{name: name for name in _official_names()}, **_ALIASES}.items():
    globals()[_name] = _entry(_name, _card)

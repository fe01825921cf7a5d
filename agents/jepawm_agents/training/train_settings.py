"""Table ``train`` of a recipe for predictors: what can be refused beforehand, and how long it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown
from jepawm_agents.training.distances import weighted
from jepawm_agents.training.distributed import Ranks, choose_device
from jepawm_agents.training.loop import LoopSettings
from jepawm_agents.training.losses import ORDER_WEIGHTS

PREFIXES = ("random", "first", "all")
"""Where imagining begins: at one random frame a step, at the first, or at every one (jepa-wms ``video_wm.py:455``)."""


def check_training(train: Mapping[str, Any]) -> None:
    """Refuse settings with which no predictor can be trained.

    Raises:
        ConfigError: naming them.
    """
    for key, known in (("prefixes", PREFIXES), ("order_weights", ORDER_WEIGHTS)):
        if train[key] not in known:
            raise ConfigError(unknown(f"train.{key}", str(train[key]), known))
    for key in ("batch_size", "window", "rollout_steps", "validation_windows"):
        if train[key] < 1:
            raise ConfigError(f"train.{key}={train[key]} is too small; it is a whole number from 1.")
    if train["frames"] <= train["rollout_steps"]:
        raise ConfigError(
            f"train.frames={train['frames']} is too few for train.rollout_steps={train['rollout_steps']}: windows "
            "hold the frame from which all steps are imagined and their targets, one frame more than steps at least."
        )
    if train["epochs"] < 1 and train["steps"] < 1:
        raise ConfigError(f"train.steps={train['steps']} is too small; train for one step or one epoch at least.")
    weighted(train["loss"])
    choose_device(train["device"])
    LoopSettings.of(train, steps=1)
    check_parts(train)


def steps_of(train: Mapping[str, Any], windows: int) -> int:
    """Number of training steps.

    Args:
        train: the table; ``epochs`` above 0 count, else ``steps``. An epoch has ``steps_per_epoch`` steps, or, where
            that is 0, as many whole batches as there are windows for.
        windows: of an epoch; see :meth:`.data.Windows.per_epoch`.
    """
    if train["epochs"] < 1:
        return train["steps"]
    return train["epochs"] * (train["steps_per_epoch"] or max(1, windows // train["batch_size"]))


def check_parts(train: Mapping[str, Any]) -> None:
    """Refuse a batch that its parts and the processes do not divide equally.

    Raises:
        ConfigError: saying what would.
    """
    batch, accumulate, processes = train["batch_size"], train["accumulate"], Ranks.current().size
    if batch % (accumulate * processes):
        raise ConfigError(
            f"train.batch_size={batch} cannot be split into equal parts for {processes} process(es) times "
            f"train.accumulate={accumulate}; make it a multiple of {accumulate * processes}."
        )

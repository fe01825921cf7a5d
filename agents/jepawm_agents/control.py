"""How plans become motion: what the model remembers, how actions are repeated and scaled, when planning stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jepawm_agents.errors import ConfigError


@dataclass(frozen=True)
class Control:
    """Settings of the loop around the planner; the defaults are those of the published tables."""

    context: int = 1
    """Real frames the model is given, the present one included. Frames of the past are those of the last model steps
    with the actions executed between them, so more than one asks for ``execution_horizon`` 1: in longer chunks
    nobody looks in between. An episode begins with one. At most the model's window."""
    action_repeat: int = 1
    """Environment steps for which every planned action is held (the published RoboCasa protocol: 5). As in the
    reference, a plan looks as far ahead as without (``plan_evaluator.py:132-155``)."""
    action_scale: float | Sequence[float] = 1.0
    """Factor, one or one a primitive action number, from the model's action units to the environment's (jepa-wms
    ``robocasa.py:189-191``: metres and radians to controller units)."""
    early_exit: float | None = None
    """Where the objective between the present frame and the goal is at most this, the episode is taken to be there:
    it gets zero actions until its end and is planned no more. What is believed may be wrong. None: never."""

    def __post_init__(self) -> None:
        for name in ("context", "action_repeat"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name}={value!r} is not possible; it must be a whole number from 1.")
        scales = self.action_scale if isinstance(self.action_scale, Sequence) else [self.action_scale]
        if not scales or not all(_is_number(scale) and scale != 0 for scale in scales):
            raise ConfigError(f"action_scale={self.action_scale!r} is not possible; it must be numbers other than 0.")
        if self.early_exit is not None and not _is_number(self.early_exit):
            raise ConfigError(f"early_exit={self.early_exit!r} is not possible; it must be a cost, or left out.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")

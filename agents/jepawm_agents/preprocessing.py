"""Between an environment's clock and a model's: image size and frameskip."""

from __future__ import annotations

from dataclasses import dataclass

from jepawm_agents.errors import ConfigError


@dataclass(frozen=True)
class Preprocessing:
    """How observations and actions of an environment become those of a world model."""

    image_size: int = 64
    """Height and width of the images the encoder was trained on."""
    frameskip: int = 5
    """Environment steps in one model step; their actions lie side by side in one model action."""

    def __post_init__(self) -> None:
        if self.image_size < 1 or self.frameskip < 1:
            raise ConfigError(f"image_size={self.image_size} and frameskip={self.frameskip} must be at least 1.")

    def model_steps(self, steps_left: int) -> int:
        """:func:`model_steps` at this frameskip."""
        return model_steps(steps_left, self.frameskip)


def model_steps(steps_left: int, frameskip: int) -> int:
    """Model steps to plan for the environment steps left, at least one (jepa-wms ``plan_evaluator.py:132-155``).

    As published one step more than is left counts, so that the last plan may end one step after the episode.
    """
    return max((steps_left + 1) // frameskip, 1)

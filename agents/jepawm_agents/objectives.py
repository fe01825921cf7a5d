"""How far an imagined latent is from the goal's.

Facts: jepa-wms ``objectives.py`` (commit 6eafb14). L2 and L1 are means over all dimensions, not norms; the
published tables read the last imagined latent only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature

import torch
from torch import Tensor
from torch.nn import functional as F

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown

Distance = Callable[[Tensor, Tensor], Tensor]


def mean_squared(latent: Tensor, goal: Tensor) -> Tensor:
    """Mean squared difference over the last two axes."""
    return (latent - goal).square().mean(dim=(-2, -1))


def mean_absolute(latent: Tensor, goal: Tensor) -> Tensor:
    """Mean absolute difference over the last two axes."""
    return (latent - goal).abs().mean(dim=(-2, -1))


def negative_cosine(latent: Tensor, goal: Tensor) -> Tensor:
    """Minus the cosine of the last two axes taken as one vector."""
    return -F.cosine_similarity(latent.flatten(-2), goal.flatten(-2), dim=-1)


DISTANCES: dict[str, Distance] = {"L2": mean_squared, "L1": mean_absolute, "cos": negative_cosine}
REDUCTIONS = ("last", "sum")


@dataclass(frozen=True)
class Objective:
    """Cost of imagined latents: visual distance plus ``alpha`` times proprio distance."""

    distance: Distance
    reduce: str
    alpha: float
    ramp: float = 0.0

    def __call__(
        self, visual: Tensor, proprio: Tensor | None, goal_visual: Tensor, goal_proprio: Tensor | None
    ) -> Tensor:
        """Score imagined trajectories.

        Args:
            visual: (E, N, T, P, D); index 0 on axis T is the current frame.
            proprio: (E, N, T, P, E') or None.
            goal_visual: (E, P, D).
            goal_proprio: (E, P, E') or None.

        Returns:
            Costs (E, N), float32; summed over all T frames with ``reduce="sum"``, weighed by (t / (T - 1)) ** ramp.
        """
        first = -1 if self.reduce == "last" else 0
        cost = self.distance(visual[:, :, first:].float(), goal_visual[:, None, None].float())
        if proprio is not None and goal_proprio is not None and self.alpha:
            felt = self.distance(proprio[:, :, first:].float(), goal_proprio[:, None, None].float())
            cost = cost + self.alpha * felt
        if self.ramp:
            times = torch.arange(cost.shape[2], dtype=cost.dtype, device=cost.device)
            cost = cost * (times / max(1, cost.shape[2] - 1)) ** self.ramp
        return cost.sum(dim=2)


def make_objective(name: str, *, reduce: str = "last", alpha: float = 0.1, ramp: float = 0.0) -> Objective:
    """Build an objective by name.

    Args:
        name: ``L2``, ``L1`` or ``cos``.
        reduce: ``last`` (published) or ``sum`` over the imagined frames, the current one included.
        alpha: weight of proprioception.
        ramp: exponent of the weights of a sum, which grow from 0 at the present to 1 at the horizon; 0: all are 1.
            With a sum of equals, waiting behind a wall next to the goal can be cheaper than a long way round.

    Raises:
        ConfigError: for an unknown name or reduction, an alpha or a ramp that is no number from zero up, or a ramp
            without a sum.
    """
    if name not in DISTANCES:
        raise ConfigError(unknown("objective", name, DISTANCES))
    if reduce not in REDUCTIONS:
        raise ConfigError(unknown("reduction", reduce, REDUCTIONS))
    if not isinstance(alpha, int | float) or not 0 <= alpha < float("inf"):
        raise ConfigError(f"alpha={alpha!r} is not possible; the weight of proprioception is a number from 0 up.")
    if not isinstance(ramp, int | float) or not 0 <= ramp < float("inf"):
        raise ConfigError(f"ramp={ramp!r} is not possible; the exponent of the weights is a number from 0 up.")
    if ramp and reduce != "sum":
        raise ConfigError(f'ramp={ramp:g} weighs the frames of a sum; set reduce to "sum" or leave it out.')
    return Objective(DISTANCES[name], reduce, float(alpha), float(ramp))


OBJECTIVE_SETTINGS = tuple(name for name in signature(make_objective).parameters if name != "name")

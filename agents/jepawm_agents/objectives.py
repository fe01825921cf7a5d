"""How far an imagined latent is from the goal's.

Facts: jepa-wms ``objectives.py`` (commit 6eafb14). L2 and L1 are means over all dimensions, not norms; the
published tables read the last imagined latent only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
            Costs (E, N), float32; summed over all T frames with ``reduce="sum"``.
        """
        first = -1 if self.reduce == "last" else 0
        cost = self.distance(visual[:, :, first:].float(), goal_visual[:, None, None].float())
        if proprio is not None and goal_proprio is not None and self.alpha:
            felt = self.distance(proprio[:, :, first:].float(), goal_proprio[:, None, None].float())
            cost = cost + self.alpha * felt
        return cost.sum(dim=2)


def make_objective(name: str, *, reduce: str = "last", alpha: float = 0.1) -> Objective:
    """Build an objective by name.

    Args:
        name: ``L2``, ``L1`` or ``cos``.
        reduce: ``last`` (published) or ``sum`` over the imagined frames, the current one included.
        alpha: weight of proprioception.

    Raises:
        ConfigError: for an unknown name or reduction, or an alpha that is no number from zero up.
    """
    if name not in DISTANCES:
        raise ConfigError(unknown("objective", name, DISTANCES))
    if reduce not in REDUCTIONS:
        raise ConfigError(unknown("reduction", reduce, REDUCTIONS))
    if not isinstance(alpha, int | float) or not 0 <= alpha < float("inf"):
        raise ConfigError(f"alpha={alpha!r} is not possible; the weight of proprioception is a number from 0 up.")
    return Objective(DISTANCES[name], reduce, float(alpha))

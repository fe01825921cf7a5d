"""Carrying a plan over to the next replanning."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from jepawm_agents.planners.base import Plan


def remainder(sequences: Tensor, previous: Plan, horizon: int) -> Tensor:
    """What is left of action sequences (E, ..., H', A) of the previous plan, at most ``horizon`` steps of it."""
    executed = previous.actions.shape[1]
    return sequences[..., executed : executed + horizon, :]


def shifted_mean(previous: Plan, like: Tensor) -> Tensor:
    """The previous sequence without its executed steps; nothing is known of the steps after it, so they are zero.

    Args:
        previous: the plan before this one.
        like: candidates (E, N, H, A) of the plan to come.

    Returns:
        (E, H, A).

    Raises:
        ValueError: if the previous plan is of another number of episodes or action numbers.
    """
    episodes, _, horizon, action_dim = like.shape
    if (previous.mean.shape[0], previous.mean.shape[-1]) != (episodes, action_dim):
        raise ValueError(
            f"The previous plan is of {previous.mean.shape[0]} episodes with {previous.mean.shape[-1]} action numbers, "
            f"this one of {episodes} with {action_dim}; hand in the rows of the same episodes, or none."
        )
    rest = remainder(previous.mean, previous, horizon).to(like)
    return F.pad(rest, (0, 0, 0, horizon - rest.shape[1]))

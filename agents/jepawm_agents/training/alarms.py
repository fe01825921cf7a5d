"""Signs of collapse: latents that no longer differ. An alarm is a line on stderr and a figure, never a stop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

DEAD = 0.05
"""A dimension is dead if its deviation is below this share of what it should be."""
DEAD_SHARE = 0.1
"""Share of dead dimensions from which it is an alarm."""
RANK_SHARE = 0.05
"""Least effective rank of an encoder's latents, as a share of their dimensions; trained compact ones reach 0.3."""
IMAGINED_RANK = 0.25
"""Least effective rank of imagined latents, as a share of that of true ones."""


class Spread(NamedTuple):
    """How latents fill their space."""

    std: Tensor
    """(F,) deviation of every dimension."""
    rank: float
    """Effective rank, 1 to F."""


def spread(z: Tensor) -> Spread:
    """The spread of latents (B, F)."""
    return Spread(z.std(dim=0), effective_rank(z))


def effective_rank(z: Tensor) -> float:
    """Exponential of the entropy of the covariance spectrum of (B, F) (Roy and Vetterli, 2007)."""
    spectrum = torch.linalg.eigvalsh(torch.cov(z.double().T)).clamp_min(1e-12)
    share = spectrum / spectrum.sum()
    return float(torch.exp(-(share * share.log()).sum()))


def encoder_alarms(found: Spread, wanted_std: float = 1.0) -> list[str]:
    """What is suspicious about an encoder's latents.

    Args:
        found: their spread.
        wanted_std: deviation that a dimension should have; the variance term asks for 1.
    """
    alarms = _dead(found.std, torch.full_like(found.std, wanted_std), "latents")
    least = RANK_SHARE * len(found.std)
    # The rank of constant latents means nothing; they are told as dead.
    if not alarms and found.rank < least:
        alarms.append(f"the effective rank of the latents is {found.rank:.1f} of {len(found.std)} dimensions")
    return alarms


def imagined_alarms(imagined: Spread, true: Spread) -> list[str]:
    """What is suspicious about imagined latents beside the true ones of the same moments."""
    alarms = _dead(imagined.std, true.std, "imagined latents")
    if not alarms and imagined.rank < IMAGINED_RANK * true.rank:
        alarms.append(f"the effective rank of imagined latents is {imagined.rank:.1f}, of true ones {true.rank:.1f}")
    return alarms


def sound(stage: str, alarms: Sequence[str]) -> float:
    """Print alarms on stderr; their number, for the curve."""
    for alarm in alarms:
        print(f"Alarm in stage {stage}, a sign of collapse: {alarm}.", file=sys.stderr)
    return float(len(alarms))


def _dead(std: Tensor, wanted: Tensor, what: str) -> list[str]:
    """At most one alarm: dimensions that should differ and do not."""
    alive = wanted > 1e-6
    dead = int((std[alive] < DEAD * wanted[alive]).sum())
    if dead <= DEAD_SHARE * int(alive.sum()):
        return []
    return [f"{dead} of {int(alive.sum())} dimensions of the {what} hardly differ between frames"]

"""When a task counts as solved, as data.

A predicate names the quantities that must be small and how small. A change that can move a score is a new
version, so that old results keep their label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Predicate:
    """A success rule: every listed quantity strictly below its limit."""

    name: str
    """Environment and rule, ``wall/published``."""
    version: int
    limits: Mapping[str, float]
    """Quantity to its strict upper limit, in the unit that the environment's ``distances`` states."""
    hold: int = 5
    """For the hold score: success during this many last steps."""
    source: str = ""
    """Where the limits come from."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", MappingProxyType(dict(self.limits)))

    @property
    def id(self) -> str:
        """The label printed with every figure, ``wall/published@1``."""
        return f"{self.name}@{self.version}"

    def met(self, distances: Mapping[str, NDArray[np.floating]]) -> NDArray[np.bool_]:
        """Where the rule holds.

        Args:
            distances: every quantity, arrays of one common shape.

        Returns:
            Booleans of that shape.
        """
        return np.logical_and.reduce([np.asarray(distances[key]) < limit for key, limit in self.limits.items()])

    def __reduce__(self):
        return Predicate, (self.name, self.version, dict(self.limits), self.hold, self.source)

"""Factors of variation: what may look or behave differently from the published environment, and by how much.

An environment lists its :class:`Factor` objects. :func:`resolve` turns what a user asks for into the values that
differ from the published ones; with none asked for, every pixel and state is that of the plain environment.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from gymnasium import spaces

from jepawm_envs.errors import InvalidOption

Value: TypeAlias = int | float | tuple[int, ...] | tuple[float, ...]
"""What a factor holds: a plain number or a tuple of them, so that it can be compared, hashed and written to JSON."""
Request: TypeAlias = Mapping[str, Any] | Sequence[str] | str | None

SAMPLE = "sample"
KINDS = ("appearance", "physics")
GROUPS = ("all", *KINDS)
"""Words that stand for several factors where names are listed."""


@dataclass(frozen=True)
class Factor:
    """One thing that can be varied.

    Args:
        name: what varies, as ``object.property``.
        space: the values it can take: a Box of shape () or (n,) with finite bounds, or a Discrete. Give a Box of
            fractions ``dtype=np.float64``, so that its bounds are the numbers written.
        default: the published value.
        kind: ``appearance`` if it only moves pixels, ``physics`` if it can move states.
        summary: one line for people, with the unit.

    Raises:
        InvalidOption: for a space that cannot be sampled, another kind, or a default outside the space.
    """

    name: str
    space: spaces.Box | spaces.Discrete
    default: Any
    kind: Literal["appearance", "physics"]
    summary: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidOption(f"Factor {self.name} has kind {self.kind!r}; choose one of {', '.join(KINDS)}.")
        if self.name in (*GROUPS, SAMPLE):
            raise InvalidOption(f"A factor cannot be named {self.name!r}, which has a meaning of its own.")
        if isinstance(self.space, spaces.Box):
            if self.space.shape is None or len(self.space.shape) > 1:
                raise InvalidOption(f"Factor {self.name} needs a Box of shape () or (n,), not {self.space.shape}.")
            if not (np.isfinite(self.space.low).all() and np.isfinite(self.space.high).all()):
                raise InvalidOption(f"Factor {self.name} needs finite bounds, not {self.range}.")
        elif not isinstance(self.space, spaces.Discrete):
            raise InvalidOption(f"Factor {self.name} needs a Box or a Discrete, not {self.space}.")
        object.__setattr__(self, "default", self.check(self.default))

    @property
    def range(self) -> str:
        """The possible values, in words."""
        if isinstance(self.space, spaces.Discrete):
            return f"a whole number from {self.space.start} to {self.space.start + self.space.n - 1}"
        low, high = (np.unique(bound).tolist() for bound in (self.space.low, self.space.high))
        low, high = (bound[0] if len(bound) == 1 else bound for bound in (low, high))
        whole = "whole " if np.issubdtype(self.space.dtype, np.integer) else ""
        count = "a number" if not self.space.shape else f"{self.space.shape[0]} numbers"
        return f"{count.replace(' ', f' {whole}')} from {low} to {high}"

    def check(self, value: Any) -> Value:
        """The value as plain numbers.

        Raises:
            InvalidOption: when it is outside the space.
        """
        refusal = InvalidOption(f"Factor {self.name} must be {self.range}, not {value!r}.")
        try:
            numbers = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise refusal from None
        if isinstance(value, str) or numbers.shape != self.space.shape or not np.isfinite(numbers).all():
            raise refusal
        if np.issubdtype(self.space.dtype, np.integer) and (numbers != np.round(numbers)).any():
            raise refusal
        if isinstance(self.space, spaces.Discrete):
            inside = self.space.start <= numbers < self.space.start + self.space.n
        else:
            typed = numbers if np.issubdtype(self.space.dtype, np.integer) else numbers.astype(self.space.dtype)
            inside = ((self.space.low <= typed) & (typed <= self.space.high)).all()
        if not inside:
            raise refusal
        return self._plain(numbers)

    def sample(self, random: np.random.Generator) -> Value:
        """A value drawn uniformly from the space."""
        if isinstance(self.space, spaces.Discrete):
            return int(random.integers(self.space.start, self.space.start + self.space.n))
        low, high = self.space.low, self.space.high
        if np.issubdtype(self.space.dtype, np.integer):
            return self._plain(random.integers(low.astype(np.int64), high.astype(np.int64), endpoint=True))
        return self._plain(random.uniform(low.astype(np.float64), high.astype(np.float64)))

    def _plain(self, numbers: Any) -> Value:
        """Python numbers of the space's type."""
        values = np.asarray(numbers).astype(self.space.dtype).tolist()
        return tuple(values) if isinstance(values, list) else values


def resolve(table: Sequence[Factor], requested: Request, seed: int) -> dict[str, Value]:
    """The values that a request asks for and that differ from the published ones.

    Args:
        table: the environment's factors.
        requested: a mapping from name to value, or to ``"sample"``; names to sample, or one of them; a group
            (``all``, ``appearance``, ``physics``) to sample; None for the published environment.
        seed: of the sampled values, at least 0. Every factor draws from a generator of its own, made of the seed
            and its name, so neither other factors nor their order matter.

    Returns:
        Values by name, in the order of the table; a factor at its default is left out.

    Raises:
        InvalidOption: for an unknown name or a value outside its range.
    """
    wanted = _wanted(table, requested)
    values = {}
    for factor in table:
        if factor.name in wanted:
            given = wanted[factor.name]
            sampled = isinstance(given, str) and given == SAMPLE
            value = factor.sample(_generator(seed, factor.name)) if sampled else factor.check(given)
            if value != factor.default:
                values[factor.name] = value
    return values


def check_request(table: Sequence[Factor], requested: Request) -> None:
    """Refuse a request that :func:`resolve` would refuse, before anything is drawn.

    Raises:
        InvalidOption: as :func:`resolve`.
    """
    resolve(table, requested, seed=0)


def value_in_force(table: Sequence[Factor], values: Mapping[str, Value], name: str) -> Any:
    """The value of one factor: what :func:`resolve` gave, else the default.

    Raises:
        InvalidOption: for an unknown name.
    """
    return values[name] if name in values else find(table, name).default


def find(table: Sequence[Factor], name: str) -> Factor:
    """The factor of a name.

    Raises:
        InvalidOption: for an unknown name, with the nearest ones.
    """
    for factor in table:
        if factor.name == name:
            return factor
    names = [factor.name for factor in table]
    if not names:
        raise InvalidOption(f"Factor {name!r} is not known; this environment has no factors.")
    near = difflib.get_close_matches(str(name), [*names, *GROUPS], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}."
    raise InvalidOption(f"Factor {name!r} is not known; {hint}")


def describe(table: Sequence[Factor]) -> list[dict[str, Any]]:
    """The table as plain data, for listings."""
    return [
        {"name": f.name, "kind": f.kind, "default": f.default, "range": f.range, "summary": f.summary} for f in table
    ]


def _wanted(table: Sequence[Factor], requested: Request) -> dict[str, Any]:
    """What is asked for each factor, by name."""
    if requested is None:
        return {}
    if isinstance(requested, Mapping):
        for name in requested:
            find(table, name)
        return dict(requested)
    if not isinstance(requested, Sequence):
        raise InvalidOption(
            f"factors={requested!r} is not understood; give a mapping from name to value, a list of names to sample, "
            f"or one of {', '.join(GROUPS)}."
        )
    names = [requested] if isinstance(requested, str) else requested
    return {name: SAMPLE for word in names for name in _members(table, word)}


def _members(table: Sequence[Factor], word: str) -> list[str]:
    """The factors that a group or a name stands for."""
    if word in GROUPS:
        return [factor.name for factor in table if word in ("all", factor.kind)]
    return [find(table, word).name]


def _generator(seed: int, name: str) -> np.random.Generator:
    """The generator of one factor."""
    if seed < 0:
        raise InvalidOption(f"Factors need a seed of at least 0, not {seed}.")
    words = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], dtype="<u4")
    return np.random.default_rng([int(seed), *words.tolist()])

"""What a run is asked to do: names resolved and checked, nothing started yet."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from jepawm_bench.agent import AgentCard, AgentRequest
from jepawm_bench.canonical import sha256
from jepawm_bench.errors import UsageError
from jepawm_bench.protocols import Protocol, find_env, find_protocol, short_name
from jepawm_bench.settings import (
    flatten,
    for_protocol,
    format_value,
    merge,
    refuse_parts_of_values,
    switch_planner,
)
from jepawm_bench.suggest import unknown


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides a run's outcome except the code and the weights."""

    agent: str
    variant: str
    kind: str
    env: str
    protocol: str
    split: str | None
    """Of a frozen task list; None where the seed makes the tasks."""
    seed: int
    episodes: int
    settings: Mapping[str, Any]
    """The agent's settings in force."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """The part of them that was asked for in the command."""
    weights: str | None = None

    @property
    def label(self) -> str:
        """Variant and overrides: ``compact`` or ``compact, planner.name=mppi``."""
        return ", ".join([self.variant, *(f"{key}={value}" for key, value in flatten(self.overrides).items())])

    def full_label(self, weights_sha256: str | None) -> str:
        """The label, and the weights where they were chosen in the command: ``compact, weights=1a2b3c4d``."""
        return f"{self.label}, weights={str(weights_sha256)[:8]}" if self.weights else self.label

    @property
    def command(self) -> str:
        """A command that repeats the run."""
        words = ["jepawm-bench", "run", "--agent", f"{self.agent}@{self.variant}", "--env", self.env]
        words += ["--protocol", self.protocol, "--episodes", str(self.episodes), "--seed", str(self.seed)]
        if self.split not in (None, "test"):
            words += ["--split", str(self.split)]
        if self.weights:
            words += ["--weights", self.weights]
        for key, value in flatten(self.overrides).items():
            words += ["--set", f"{key}={format_value(value)}"]
        return shlex.join(words)

    def request(self, card: AgentCard, device: str) -> AgentRequest:
        """What the agent's factory is given."""
        rules = find_protocol(self.protocol, self.env)
        return AgentRequest(
            card, self.variant, self.settings, self.env, self.protocol, device, self.weights, rules.env_settings
        )


def resolve(
    card: AgentCard,
    *,
    variant: str | None = None,
    env: str | None = None,
    protocol: str = "paper",
    split: str = "test",
    seed: int | None = None,
    episodes: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    weights: str | None = None,
) -> tuple[RunSpec, Protocol]:
    """Check a request against the catalogue.

    Raises:
        UsageError: for an unknown name, or an environment that the agent cannot play.
    """
    variant = card.default_variant if variant is None else variant
    if variant not in card.variants:
        raise unknown(f"variant of {card.name}", variant, card.variants)
    env_id = _choose_env(card, env)
    found = find_protocol(protocol, env_id)
    overrides = dict(overrides or {})
    settings = switch_planner(for_protocol(card.variants[variant], found.name, env_id), overrides)
    refuse_parts_of_values(settings, overrides)
    spec = RunSpec(
        agent=card.name,
        variant=variant,
        kind=card.kind,
        env=env_id,
        protocol=found.name,
        split=split if found.frozen else None,
        seed=found.default_seed if seed is None else seed,
        episodes=found.episodes if episodes is None else episodes,
        settings=merge(settings, overrides),
        overrides=overrides,
        weights=weights,
    )
    return spec, found


def folder_name(spec: RunSpec, card: AgentCard, protocol: Protocol) -> str:
    """Default name of the run folder: whatever is not the default is in it."""
    parts = [spec.agent]
    if spec.variant != card.default_variant:
        parts.append(spec.variant)
    parts += [short_name(spec.env), spec.protocol]
    if spec.split not in (None, "test"):
        parts.append(str(spec.split))
    parts.append(f"seed{spec.seed}")
    if spec.episodes != protocol.episodes:
        parts.append(f"n{spec.episodes}")
    if spec.overrides or spec.weights:
        parts.append(sha256([flatten(spec.overrides), spec.weights])[:8])
    return "-".join(parts)


def _choose_env(card: AgentCard, env: str | None) -> str:
    if env is None and card.default_env is None:
        raise UsageError(
            f"Agent {card.name!r} plays any environment; say which, for example --env JepaWM/Wall-v0 "
            "('jepawm-bench list envs' shows all)."
        )
    _require_environment(card)
    env_id = find_env(env if env is not None else str(card.default_env))
    if not any(fnmatchcase(env_id, pattern) for pattern in card.envs):
        raise UsageError(f"Agent {card.name!r} cannot play {env_id}; it plays {', '.join(card.envs)}.")
    return env_id


def _require_environment(card: AgentCard) -> None:
    """Refuse an agent none of whose environments is here, whatever the command names.

    Raises:
        UsageError: naming them.
    """
    from jepawm_envs.registration import ENVIRONMENTS

    if not any(fnmatchcase(env_id, pattern) for env_id in ENVIRONMENTS for pattern in card.envs):
        raise UsageError(
            f"Agent {card.name!r} plays {', '.join(card.envs)}, an environment that this version does not have yet, so "
            "it cannot be run; 'jepawm-bench list envs' shows those that are here."
        )

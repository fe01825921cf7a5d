"""Is everything there? Looks at packages, task lists, environments and agents, and plays a tiny episode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from jepawm_bench import provenance
from jepawm_bench.errors import BenchError, MissingExtra
from jepawm_bench.protocols import SPLITS, all_protocols

OK, MISSING, FAILED = "ok", "missing", "failed"

EXTRAS = {
    "agents": ("torch", "safetensors"),
    "rl": ("stable_baselines3",),
    "video": ("imageio", "av"),
}
"""Extra to the modules it brings."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    what: str
    state: str
    """``ok``, ``missing`` (optional, advice given) or ``failed``."""
    detail: str


def examine() -> Iterator[Finding]:
    """Look at one thing after the other, quick ones first."""
    yield from _packages()
    yield from _manifests()
    yield from _environments()
    yield from _agents()


def _packages() -> Iterator[Finding]:
    found = {name: version for name, version in provenance.versions().items() if version}
    yield Finding("versions", OK, ", ".join(f"{name} {version}" for name, version in found.items()))
    hardware = provenance.machine()
    yield Finding("machine", OK, f"{hardware['platform']}, {hardware['cores']} cores, {hardware['cpu']}")
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if find_spec(module) is None]
        if absent:
            yield Finding(f"extra {extra}", MISSING, f'no {", ".join(absent)}: pip install "jepawm-bench[{extra}]"')
        else:
            yield Finding(f"extra {extra}", OK, ", ".join(modules))


def _manifests() -> Iterator[Finding]:
    from jepawm_bench.manifests import manifest_name, packaged_manifest

    for protocol in all_protocols():
        for split in SPLITS if protocol.frozen else ():
            name = manifest_name(protocol, split)
            try:
                manifest = packaged_manifest(protocol, split)
                yield Finding(name, OK, f"{len(manifest.tasks)} tasks, sha256 {manifest.sha256[:12]}")
            except (BenchError, OSError) as error:
                yield Finding(name, FAILED, str(error))


def _environments() -> Iterator[Finding]:
    import gymnasium

    from jepawm_envs.registration import ENVIRONMENTS

    for env_id in ENVIRONMENTS:
        try:
            env = gymnasium.make(env_id, image_size=64, disable_env_checker=True)
            observation, _ = env.reset(seed=0)
            yield Finding(env_id, OK, f"draws images of {observation['pixels'].shape[0]} pixels")
        except Exception as error:  # whatever a rendering backend raises
            yield Finding(env_id, FAILED, f"{type(error).__name__}: {error}")


def _agents() -> Iterator[Finding]:
    from jepawm_bench.registry import load_registry

    registry = load_registry()
    for owner, problem in registry.broken.items():
        yield Finding(f"agents of {owner}", FAILED, problem)
    agents = [card for card in registry.cards.values() if card.kind == "agent" and card.default_env]
    yield _tiny_episode("random", "JepaWM/Wall-v0")
    if agents:
        yield _tiny_episode(agents[0].name, str(agents[0].default_env))


def _tiny_episode(agent: str, env_id: str) -> Finding:
    from jepawm_bench.evaluation import evaluate

    what = f"one episode of {agent}"
    try:
        result = evaluate(agent, env_id, episodes=1)
    except MissingExtra as error:
        return Finding(what, MISSING, str(error))
    except BenchError as error:
        return Finding(what, FAILED, str(error))
    record = result.records[0]
    outcome = "success" if record.success else "no success"
    return Finding(what, OK, f"{outcome}, {record.steps} steps, {record.plan_seconds:.2f} s planning on {env_id}")

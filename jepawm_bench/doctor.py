"""Is everything there? Looks at packages, task lists, environments and agents, and plays a tiny episode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from jepawm_bench import provenance
from jepawm_bench.errors import BenchError, MissingExtra
from jepawm_bench.protocols import SPLITS, all_protocols, family

if TYPE_CHECKING:
    from jepawm_envs.registration import EnvRecord

FEW = 2
"""Task lists of one family that are named one by one."""
OK, MISSING, FAILED = "ok", "missing", "failed"

EXTRAS = {
    "agents": ("torch", "safetensors", "nevergrad", "huggingface_hub"),
    "data": ("minari", "pyarrow"),
    "encoders": ("timm", "transformers"),
    "metaworld": ("metaworld",),
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
    yield _rendering()
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

    families: dict[str, list[tuple[str, int, str]]] = {}
    for protocol in all_protocols():
        for split in SPLITS if protocol.frozen else ():
            name = manifest_name(protocol, split)
            try:
                manifest = packaged_manifest(protocol, split)
                found = families.setdefault(family(protocol.env_id), [])
                found.append((name, len(manifest.tasks), manifest.sha256[:12]))
            except (BenchError, OSError) as error:
                yield Finding(name, FAILED, str(error))
    for shared, found in families.items():
        if len(found) > FEW:
            yield Finding(f"{shared} tasks", OK, f"{len(found)} lists, {sum(tasks for _, tasks, _ in found)} tasks")
        else:
            yield from (Finding(name, OK, f"{tasks} tasks, sha256 {digest}") for name, tasks, digest in found)


def _rendering() -> Finding:
    from jepawm_envs import rendering

    try:
        found = rendering.describe()
    except rendering.RenderingError as error:
        return Finding("rendering", FAILED, str(error))
    return Finding("rendering", OK, ", ".join(f"{name} {value}" for name, value in found.items()))


def _environments() -> Iterator[Finding]:
    from jepawm_envs.registration import ENVIRONMENTS

    families: dict[str, list[EnvRecord]] = {}
    for record in ENVIRONMENTS.values():
        families.setdefault(family(record.id), []).append(record)
    for records in families.values():
        yield _environment(records[0], len(records))


def _environment(record: EnvRecord, siblings: int) -> Finding:
    """Whether one environment draws; it stands for its siblings."""
    import gymnasium

    what = record.id if siblings == 1 else f"{record.id} and {siblings - 1} more"
    try:
        env = gymnasium.make(record.id, image_size=64, disable_env_checker=True)
        observation, _ = env.reset(seed=0)
        drawn = f"draws images of {observation['pixels'].shape[0]} pixels"
        env.close()
        return Finding(what, OK, drawn)
    except Exception as error:  # whatever a simulator or a rendering backend raises
        absent = record.extra and any(find_spec(module) is None for module in EXTRAS[record.extra])
        return Finding(what, MISSING if absent else FAILED, f"{type(error).__name__}: {error}")


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

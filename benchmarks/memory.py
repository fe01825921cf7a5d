"""How much memory an environment takes: growth of a process over eight of them, state and pixels.

``python benchmarks/memory.py`` measures, writes ``benchmarks/kept_memory.json`` and fills the README's table;
``--env ID --obs-type state`` measures one and prints it. Needs Linux, which says what a process holds.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium

from jepawm_bench.provenance import machine
from jepawm_envs.goal_env import OBS_TYPES
from jepawm_envs.registration import ENVIRONMENTS

HERE = Path(__file__).resolve().parent
SLOT = re.compile(r"(<!-- table: memory -->\n).*?(<!-- end of memory -->)", re.DOTALL)
COMMAND = "python benchmarks/memory.py"
STATUS = Path("/proc/self/status")
COUNT = 8
STEPS = 30
SLOW = ("JepaWM/MetaworldReach-v0", "JepaWM/MetaworldDrawerClose-v0")
MEBIBYTE = 1024


def measure(env_id: str, obs_type: str) -> dict[str, Any]:
    """Mebibytes of a process with one environment in use, and how many each of eight more adds.

    The first brings in the libraries and what environments share; it is kept, so that nothing shared is freed.
    """
    kept = [in_use(env_id, obs_type)]
    first = resident()
    kept += [in_use(env_id, obs_type) for _ in range(COUNT)]
    grown = resident()
    for env in kept:
        env.close()
    return {"env": env_id, "obs_type": obs_type, "process": first, "each": (grown - first) / COUNT}


def in_use(env_id: str, obs_type: str) -> gymnasium.Env:
    """An environment in the middle of its life: reset, an episode long, its pictures of 224 pixels looked at."""
    env = gymnasium.make(env_id, obs_type=obs_type)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    for _ in range(STEPS):
        observation = env.step(env.action_space.sample())[0]
    dict(observation)  # draws
    return env


def resident() -> float:
    """Memory that this process holds, MiB.

    Raises:
        SystemExit: where the system does not say.
    """
    gc.collect()
    if not STATUS.is_file():
        raise SystemExit(f"There is no {STATUS} here; measure memory on Linux.")
    found = re.search(r"^VmRSS:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{STATUS} does not say VmRSS; measure memory on a usual Linux.")
    return int(found.group(1)) / MEBIBYTE


def measure_all() -> list[dict[str, Any]]:
    """Every environment in a process of its own, Metaworld by two of its tasks."""
    ids = [record.id for record in ENVIRONMENTS.values() if not record.slow] + list(SLOW)
    rows = []
    for env_id in ids:
        for obs_type in OBS_TYPES:
            words = [sys.executable, __file__, "--env", env_id, "--obs-type", obs_type]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(done.stdout))
            print(done.stdout.strip(), flush=True)
    return rows


def keep(rows: list[dict[str, Any]]) -> None:
    """Write the figures, with what they were measured on, and the README's table."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True)
    run = {
        "command": COMMAND,
        "commit": head.stdout.strip(),
        "machine": machine(),
        "versions": {package: version(package) for package in ("numpy", "gymnasium", "mujoco", "metaworld", "pymunk")},
        "count": COUNT,
        "unit": "MiB",
        "rows": rows,
    }
    (HERE / "kept_memory.json").write_text(json.dumps(run, indent=1) + "\n")
    page = HERE / "README.md"
    page.write_text(SLOT.sub(lambda match: match.group(1) + table(run) + match.group(2), page.read_text()))


def table(run: dict[str, Any]) -> str:
    """The Markdown table of a kept run."""
    figures = {(row["env"], row["obs_type"]): row for row in run["rows"]}
    lines = [
        f"`{run['command']}` at commit {run['commit'][:10]}, {run['machine']['platform']}, "
        f"MuJoCo {run['versions']['mujoco']}; MiB, raw figures in `kept_memory.json`.\n",
        "| environment | process, state | each more | process, pixels | each more |",
        "|---|--:|--:|--:|--:|",
    ]
    for env_id in dict.fromkeys(row["env"] for row in run["rows"]):
        cells = [
            f"{figures[env_id, obs_type][key]:.{digits}f}"
            for obs_type in ("state", "pixels")
            for key, digits in (("process", 0), ("each", 2))
        ]
        lines.append(f"| {env_id} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", help="only this id, without keeping")
    parser.add_argument("--obs-type", choices=OBS_TYPES, default="state")
    given = parser.parse_args()
    if given.env:
        print(json.dumps(measure(given.env, given.obs_type)))
    else:
        keep(measure_all())

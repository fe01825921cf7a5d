"""Keep a run of the benchmarks: what matters of pytest-benchmark's JSON, and the tables of the README.

``python benchmarks/keep.py RAW.json COMMAND`` writes ``benchmarks/kept.json`` and fills the tables; it is run on the
machine that took the times. Benchmarks that the new run did not time keep the figures, the commit and the machine of
theirs.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

from jepawm_bench.provenance import machine

HERE = Path(__file__).resolve().parent
SLOT = re.compile(r"(<!-- table: benchmarks -->\n).*?(<!-- end of table -->)", re.DOTALL)
PATHS_SLOT = re.compile(r"(<!-- table: paths -->\n).*?(<!-- end of paths -->)", re.DOTALL)
PATHS = ("fast", "fast_compiled", "bf16", "bf16_compiled")
"""Ways of imagining that ``test_inference_speed.py`` compares with the plain one."""
COMMAND = "make bench"


def kept(raw: dict, command: str) -> dict:
    """Machine, versions, commit and the figures of every benchmark, in seconds; no name of a host."""
    if raw["commit_info"]["dirty"]:
        sys.exit("These times were taken with changes that no commit has; commit first, then measure again.")
    rows = [
        {"name": one["name"], **{key: one["stats"][key] for key in ("min", "median", "iqr", "rounds")}}
        for one in raw["benchmarks"]
    ]
    return {
        "command": command,
        "commit": raw["commit_info"]["id"],
        "machine": machine(),
        "versions": {package: version(package) for package in ("numpy", "torch", "gymnasium")},
        "rows": rows,
    }


def merged(runs: list[dict], new: dict) -> list[dict]:
    """All runs, the new one first; of the others only what it did not time."""
    names = {row["name"] for row in new["rows"]}
    older = [{**run, "rows": [row for row in run["rows"] if row["name"] not in names]} for run in runs]
    return [new, *(run for run in older if run["rows"])]


def table(run: dict) -> str:
    """The Markdown table of a kept run."""
    place = run["machine"]
    lines = [
        f"`{run['command']}` at commit {run['commit'][:10]}, {place['cpu']}, {place['cores']} cores, one thread, "
        f"torch {run['versions']['torch']}; raw figures in `kept.json`.\n",
        "| benchmark | median | IQR | rounds |",
        "|---|--:|--:|--:|",
    ]
    lines += [
        f"| {row['name'].removeprefix('test_')} | {_time(row['median'])} | {_time(row['iqr'])} | {row['rounds']} |"
        for row in run["rows"]
    ]
    return "\n".join(lines) + "\n"


def paths_table(runs: list[dict]) -> str:
    """The Markdown table of how much faster than the plain one each way of imagining is, by medians."""
    medians: dict[tuple[str, str], dict[str, float]] = {}
    for row in (row for run in runs for row in run["rows"]):
        name, _, parameters = row["name"].removesuffix("]").partition("[")
        words = parameters.split("-")
        path = next((word for word in words if word in ("plain", *PATHS)), None)
        if path is not None and len(words) == 2:
            model = next(word for word in words if word != path)
            medians.setdefault((model, name.removeprefix("test_")), {})[path] = row["median"]
    lines = [f"| model | benchmark | plain | {' | '.join(PATHS)} |", f"|---|---|--:|{'--:|' * len(PATHS)}"]
    for (model, name), times in sorted(medians.items()):
        ratios = (f"{times['plain'] / times[path]:.2f}x" if path in times else "" for path in PATHS)
        lines.append(f"| {model} | {name} | {_time(times['plain'])} | {' | '.join(ratios)} |")
    return "\n".join(lines) + "\n"


def _time(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


if __name__ == "__main__":
    file = HERE / "kept.json"
    run = kept(json.loads(Path(sys.argv[1]).read_text()), " ".join(sys.argv[2:]) or COMMAND)
    runs = merged(json.loads(file.read_text())["runs"], run)
    file.write_text(json.dumps({"runs": runs}, indent=1) + "\n")
    page = HERE / "README.md"
    text = page.read_text()
    text = SLOT.sub(lambda match: match.group(1) + "\n".join(map(table, runs)) + match.group(2), text)
    page.write_text(PATHS_SLOT.sub(lambda match: match.group(1) + paths_table(runs) + match.group(2), text))

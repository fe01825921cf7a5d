"""Where a result comes from: versions, commit, machine, time."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "gymnasium", "mujoco", "pymunk", "metaworld")


def versions() -> dict[str, str | None]:
    """Python, this package, and the packages that decide what a run gives; None for those not installed."""
    from jepawm_bench import __version__

    return {"python": platform.python_version(), "jepawm-bench": __version__} | {
        package: installed_version(package) for package in PACKAGES
    }


def installed_version(package: str) -> str | None:
    """Version of a distribution, None when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> dict[str, Any] | None:
    """Commit of this package's checkout and whether tracked files were changed; None outside a checkout."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    head = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return None if head is None else {"commit": head, "dirty": bool(changes)}


def machine() -> dict[str, Any]:
    """Processor, cores and platform; no names of machines or people."""
    return {
        "platform": f"{platform.system()}-{platform.machine()}",
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
    }


def now() -> str:
    """Time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()

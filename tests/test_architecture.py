"""The boundaries between the packages, proven by looking."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from importlib.resources import files

import pytest

PACKAGES = ("jepawm_envs", "jepawm_agents", "jepawm_bench")
TORCH_FREE = (
    "jepawm_envs",
    "jepawm_envs.data",
    "jepawm_bench",
    "jepawm_bench.cli",
    "jepawm_agents",
    "jepawm_agents.cards",
    "jepawm_agents.planners",
    "jepawm_agents.training.recipes",
)
WALL = "import gymnasium; env = gymnasium.make('JepaWM/Wall-v0', image_size=16); env.reset(seed=0)[0]['pixels']"


def modules_of(package: str) -> list[str]:
    """Every module of a package, found on disk, but for the one that starts the program."""
    path = importlib.import_module(package).__path__
    found = [module.name for module in pkgutil.walk_packages(path, f"{package}.", onerror=_raise)]
    return [package, *(name for name in found if not name.endswith("__main__"))]


def _raise(name: str) -> None:
    raise ImportError(f"{name} cannot be imported")


def loaded_after(code: str) -> set[str]:
    """Top-level names of all modules that a fresh interpreter has loaded after ``code``."""
    report = "import sys; print(*{name.partition('.')[0] for name in sys.modules}, sep=',')"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split(","))


def test_the_probe_sees_torch_when_it_is_there():
    assert "torch" in loaded_after("import torch")
    assert "torch" in loaded_after("import jepawm_agents; jepawm_agents.JEPAWMAgent")
    assert "torch" not in loaded_after("")


@pytest.mark.parametrize("module", TORCH_FREE)
def test_importing_it_does_not_import_torch(module):
    assert "torch" not in loaded_after(f"import {module}")


@pytest.mark.parametrize("package", ["jepawm_envs", "jepawm_bench"])
def test_no_module_of_environments_or_harness_imports_torch_or_the_agents(package):
    loaded = loaded_after("\n".join(f"import {name}" for name in modules_of(package)))
    assert package in loaded
    assert not loaded & {"torch", "jepawm_agents"}


def test_environments_know_nothing_of_the_harness():
    loaded = loaded_after("\n".join(f"import {name}" for name in modules_of("jepawm_envs")))
    assert "jepawm_bench" not in loaded


@pytest.mark.parametrize("package", ["jepawm_envs", "jepawm_bench"])
def test_importing_environments_or_harness_registers_the_ids_and_playing_needs_no_torch(package):
    assert "torch" not in loaded_after(f"import {package}; {WALL}")


def test_reading_cards_and_recipes_needs_no_torch():
    code = "from jepawm_agents.cards import all_cards; from jepawm_agents.training.recipes import list_recipes"
    assert "torch" not in loaded_after(f"{code}; assert list(all_cards()) and list_recipes()")


@pytest.mark.parametrize("module", [name for package in PACKAGES for name in modules_of(package)])
def test_every_module_can_be_imported_and_says_what_it_is(module):
    assert importlib.import_module(module).__doc__


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_are_told_that_a_package_is_typed(package):
    assert (files(package) / "py.typed").is_file()

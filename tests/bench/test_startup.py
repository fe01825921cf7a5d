"""What importing the harness loads, and what it does not."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "gymnasium", "numpy", "PIL", "h5py")


def loaded(code: str) -> set[str]:
    """Names of heavy packages that a fresh process has loaded after running ``code``."""
    report = f"\nimport sys\nprint(' '.join(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split()) if done.stderr.strip() else set()


def test_the_probe_sees_what_is_loaded():
    assert loaded("import numpy, h5py") >= {"numpy", "h5py"}
    assert "torch" in loaded("import sys, types; sys.modules['torch'] = types.ModuleType('torch')")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list", "agents"], ["list", "protocols"]])
def test_the_command_line_starts_without_numpy_gymnasium_and_torch(words):
    assert loaded(f"from jepawm_bench.cli import main\nassert main({words}) == 0") == set()


@pytest.mark.parametrize(
    "code",
    [
        "import jepawm_bench.evaluation, jepawm_bench.doctor, jepawm_bench.films, jepawm_bench.leaderboard",
        "from jepawm_bench.cli import main\nassert main(['list', 'envs']) == 0",
        "import jepawm_bench\njepawm_bench.evaluate('random', 'JepaWM/Wall-v0', episodes=1)",
    ],
    ids=["modules", "list envs", "a run of a baseline"],
)
def test_torch_is_never_loaded_by_the_harness(code):
    assert "torch" not in loaded(code)


@pytest.mark.parametrize(
    "imports",
    [
        "import jepawm_bench, gymnasium",
        "import gymnasium, jepawm_bench",
        "import jepawm_bench, gymnasium.spaces as gymnasium",
    ],
    ids=["bench first", "gymnasium first", "a submodule"],
)
def test_importing_the_harness_registers_the_ids(imports):
    code = f"{imports}\nimport gymnasium\nassert 'JepaWM/Wall-v0' in gymnasium.registry"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_registering_late_leaves_gymnasium_as_it_is():
    code = """
import sys, importlib.util
before = importlib.util.find_spec("gymnasium").loader
import jepawm_bench, gymnasium
assert type(gymnasium.__spec__.loader) is type(before), gymnasium.__spec__.loader
assert not any("AfterGymnasium" in type(finder).__name__ for finder in sys.meta_path)
import importlib; importlib.reload(gymnasium)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_doctor_plays_and_advises(cli):
    answer = cli("doctor")
    assert "one episode of random: no success" in answer.out
    assert "wall-standard-test: 200 tasks" in answer.out

"""What the harness tests share: the stranger's package, the command line, small runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from jepawm_bench.cli import main

PLUGIN = Path(__file__).parents[1] / "plugin"
WALL = "JepaWM/Wall-v0"


@dataclass(frozen=True)
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def last_json(self) -> dict:
        return json.loads(self.out.splitlines()[-1])


Command = Callable[..., Answer]


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs the stranger's package for one test."""
    monkeypatch.syspath_prepend(str(PLUGIN))


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in this process."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")

    def run(*words: object) -> Answer:
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return run


@pytest.fixture
def start() -> Callable[..., subprocess.Popen]:
    """Starts a command in another process, with the stranger's package installed."""

    def popen(*words: object) -> subprocess.Popen:
        paths = [str(PLUGIN), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-m", "jepawm_bench", *map(str, words)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return popen


@pytest.fixture
def make_run(cli: Command, tmp_path: Path) -> Callable[..., Path]:
    """Makes a small finished run and gives its folder."""

    def make(agent: str, *extra: object, name: str | None = None, episodes: int = 6) -> Path:
        folder = tmp_path / (name or agent)
        answer = cli(
            "run", "--agent", agent, "--env", WALL, "--episodes", episodes, "--workers", 1, "--out", folder, *extra
        )
        assert answer.code == 0, answer.err
        return folder

    return make

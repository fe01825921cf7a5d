"""The page of planners is the one that their classes give."""

from __future__ import annotations

import dataclasses
import runpy
import sys
from importlib import import_module
from pathlib import Path

import pytest

from jepawm_agents.control import Control
from jepawm_agents.planners.icem import ICEM
from jepawm_agents.planners.registry import PLANNERS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "planners.md").read_text()


def test_the_page_is_current(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["planners.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "docs" / "planners.py"), run_name="__main__")
    assert ended.value.code == 0


def test_every_setting_of_every_planner_is_explained():
    for name, record in PLANNERS.items():
        module, attribute = record.entry_point.split(":")
        assert f"| `{name}` | {record.summary} | {record.source} |" in PAGE
        for field in dataclasses.fields(getattr(import_module(module), attribute)):
            assert f"| `{field.name}` |" in PAGE, (name, field.name)
    for field in dataclasses.fields(Control):
        assert f"| `{field.name}` |" in PAGE


def test_the_explanation_is_that_of_the_nearest_class():
    documented = runpy.run_path(str(ROOT / "docs" / "planners.py"))["documented"]
    texts = documented(ICEM)
    assert texts["horizon"] == "H, model steps looked ahead."  # of the shared settings
    assert texts["momentum_mean"] == "Share of the old mean kept at an update."  # of CEM, whose default it changes
    assert texts["noise_beta"].startswith("Exponent of the noise")

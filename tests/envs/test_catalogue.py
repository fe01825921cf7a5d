"""The page of environments is the one that the registry gives."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from jepawm_envs.registration import ENVIRONMENTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "envs" / "README.md").read_text()


def test_the_catalogue_is_current(monkeypatch):
    pytest.importorskip("metaworld")
    monkeypatch.setattr(sys, "argv", ["catalogue.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "docs" / "catalogue.py"), run_name="__main__")
    assert ended.value.code == 0


def test_every_id_is_in_it():
    assert all(f"`{env_id}`" in PAGE for env_id in ENVIRONMENTS)


def test_every_picture_is_there():
    pictures = re.findall(r"\]\((\.\./docs/[^)]+\.png)\)", PAGE)
    assert len(pictures) == 8
    assert all((ROOT / "envs" / picture).is_file() for picture in pictures)

"""Registers the environment ids when Gymnasium is there, without loading it for ``--help``.

``import jepawm_bench`` promises that ``gymnasium.make("JepaWM/...")`` works afterwards. Importing Gymnasium
takes longer than the rest of the command line's start, so when it is not loaded yet, registration waits for it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def register_ids() -> None:
    """Register now if Gymnasium is loaded, else right after it is imported for the first time."""
    if "gymnasium" in sys.modules:
        importlib.import_module("jepawm_envs")
    elif not any(isinstance(finder, _AfterGymnasium) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterGymnasium())


class _AfterGymnasium(MetaPathFinder):
    """Sees the first ``import gymnasium``, steps aside, and adds one step to its loading."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenRegister(spec.loader)
        return spec


class _ThenRegister(Loader):
    """A loader that runs another one and then imports the environments."""

    def __init__(self, loader: Loader):
        self._loader = loader

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        importlib.import_module("jepawm_envs")

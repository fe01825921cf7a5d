"""Where figures go beside the curve: TensorBoard and Weights & Biases, both optional."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from jepawm_agents.errors import ConfigError


class Log(Protocol):
    """Somebody who is told figures."""

    def open(self, first: int) -> None:
        """Begin after step ``first``; what was told of later steps is void."""
        ...

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures after so many steps."""
        ...

    def close(self) -> None:
        """End."""
        ...


class TensorBoardLog:
    """Event files for ``tensorboard --logdir FOLDER``.

    Args:
        folder: of the event files.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def open(self, first: int) -> None:
        """See :class:`Log`."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self.folder), purge_step=first + 1)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """See :class:`Log`."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """See :class:`Log`."""
        self._writer.close()


class WandbLog:
    """A run of Weights & Biases; its id is kept in the folder, so that a resumed training goes on in it.

    Args:
        project: where the run is listed.
        name: of the run, its stage.
        folder: of the training.
        config: the recipe.
    """

    def __init__(self, project: str, name: str, folder: Path, config: Mapping[str, Any]):
        self.project, self.name, self.folder, self.config = project, name, folder, dict(config)

    def open(self, first: int) -> None:
        """See :class:`Log`."""
        import wandb  # pyright: ignore[reportMissingImports]

        note = self.folder / f"{self.name}.wandb"
        known = note.read_text().strip() if first and note.exists() else None
        self._run = wandb.init(
            project=self.project,
            group=self.folder.name,
            name=f"{self.folder.name}-{self.name}",
            dir=str(self.folder),
            config=self.config,
            id=known,
            resume="allow" if known else None,
        )
        note.write_text(self._run.id)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """See :class:`Log`."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """See :class:`Log`."""
        self._run.finish()


def make_logs(settings: Mapping[str, Any], stage: str, out: Path, config: Mapping[str, Any]) -> list[Log]:
    """The logs that table ``log`` of a recipe asks for.

    Args:
        settings: ``tensorboard``, ``wandb``, ``wandb_project``.
        stage: what is trained.
        out: folder of the training; event files go to ``out/tensorboard/stage``.
        config: the recipe.
    """
    check_logs(settings)
    logs: list[Log] = []
    if settings["tensorboard"]:
        logs.append(TensorBoardLog(out / "tensorboard" / stage))
    if settings["wandb"]:
        logs.append(WandbLog(settings["wandb_project"] or "jepawm-bench", stage, out, config))
    return logs


def check_logs(settings: Mapping[str, Any]) -> None:
    """Refuse logs whose packages are absent.

    Raises:
        ConfigError: with the command that installs them.
    """
    needed = {"tensorboard": 'pip install "jepawm-bench[train]"', "wandb": "pip install wandb"}
    for name, remedy in needed.items():
        if settings[name] and not _installed(name):
            raise ConfigError(f"log.{name}=true needs the package {name}, which is not installed: {remedy}.")


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # a module without a spec that somebody put into sys.modules
        return True

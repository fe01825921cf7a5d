"""The training loop that every stage shares: steps, curves, logs, checkpoints, exact resume."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor, nn

from jepawm_agents.errors import AgentError, ConfigError
from jepawm_agents.suggest import unknown
from jepawm_agents.training.checkpoint import Checkpoint
from jepawm_agents.training.curve import latest, write_curve
from jepawm_agents.training.distributed import Ranks
from jepawm_agents.training.interruption import Interruption
from jepawm_agents.training.learner import PRECISIONS, Learned, Learner
from jepawm_agents.training.loggers import Log
from jepawm_agents.training.schedules import SCHEDULES

Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called with (stage, steps done, steps, latest figures)."""


SECONDS_BETWEEN_CURVES = 5.0
"""The whole file is written anew every time."""


@dataclass(frozen=True)
class LoopSettings:
    """Settings of a loop; names as in the recipes.

    Raises:
        ConfigError: for values that cannot be.
    """

    steps: int
    learning_rate: float
    """The highest one."""
    weight_decay: float
    clip_grad: float = 1.0
    """Longest gradient; 0 or less: any."""
    log_every: int = 50
    validate_every: int = 1000
    checkpoint_every: int = 500
    start_learning_rate: float = 0.0
    final_learning_rate: float = 0.0
    warm_up: float = 0.05
    """Share of the steps over which the learning rate rises."""
    schedule: str = "cosine"
    """See :func:`jepawm_agents.training.schedules.learning_rate`."""
    anneal: float = 0.0
    """Share of the steps over which it falls, for schedule ``wsd``."""
    final_weight_decay: float = -1.0
    """Reached along a cosine; below 0: ``weight_decay`` stays."""
    betas: Sequence[float] = (0.9, 0.999)
    epsilon: float = 1e-8
    accumulate: int = 1
    """Parts in which a batch is taken one after the other, for memory."""
    precision: str = "float32"
    """``float32``, or ``bf16`` for mixed precision."""
    seed: int = 0
    """Of dropout."""
    max_seconds: float = 0.0
    """After so long the loop stops at a checkpoint, to be resumed; 0: never."""

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ConfigError(unknown("schedule of the learning rate", self.schedule, SCHEDULES))
        if self.precision not in PRECISIONS:
            raise ConfigError(unknown("precision of a training", self.precision, PRECISIONS))
        for name in ("steps", "accumulate", "log_every", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} is not possible; it is a whole number from 1.")
        for name in ("warm_up", "anneal"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)} is not possible; it is a share of the steps, 0 to 1.")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas={list(self.betas)} is not possible; they are two numbers from 0 to below 1.")

    @classmethod
    def of(cls, table: Mapping[str, Any], **changes: Any) -> LoopSettings:
        """The settings that a table of a recipe holds among others; what it leaves open has its default."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in table.items() if key in known} | changes)


def run_loop(
    stage: str,
    modules: nn.Module,
    settings: LoopSettings,
    loss_of_step: Callable[..., Tensor],
    validate: Callable[[], Mapping[str, float]],
    *,
    out: Path,
    identity: Mapping[str, Any],
    resume: bool,
    progress: Progress,
    splits: bool = False,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
    evaluate_every: int = 0,
    logs: Sequence[Log] = (),
    clipped: Sequence[nn.Module] | None = None,
) -> dict[str, float]:
    """Train ``modules`` in place.

    Where several processes train (:mod:`.distributed`), they share every batch if the loss can be split, else each
    takes all of it; the first one alone validates, evaluates and writes.

    Args:
        stage: name of this stage, of its checkpoint and of its curve.
        modules: everything that is trained, on the device to train on.
        settings: of the loop.
        loss_of_step: the loss of step k; it must draw its randomness from k, or as dropout does.
        validate: figures on held-out episodes.
        out: folder for ``{stage}.ckpt`` and ``{stage}.csv``.
        identity: what must be the same for a checkpoint to be continued.
        resume: continue from the checkpoint if there is one.
        progress: told about every step.
        splits: whether ``loss_of_step`` takes a :class:`.distributed.Share` of the batch as second argument; the
            loss must then be a mean over the batch.
        evaluate: further figures, costlier than those of ``validate``.
        evaluate_every: steps between them, and at the last one; 0: never.
        logs: told the figures as they come.
        clipped: parts whose gradients are clipped, each by its own length; by default ``modules`` as a whole.

    Returns:
        The last validation figures.

    Raises:
        AgentError: if the checkpoint belongs to another training, or the loss is no longer a number.
        KeyboardInterrupt: after Ctrl-C, termination or ``max_seconds``, with everything saved.
    """
    ranks = Ranks.current()
    learner = Learner(
        stage, modules, settings, loss_of_step, ranks if splits else Ranks(), splits=splits, clipped=clipped
    )
    takings = [(settings.validate_every, validate)]
    if evaluate is not None and evaluate_every > 0:
        takings.append((evaluate_every, evaluate))
    loop = _Loop(stage, modules, settings, learner, takings, out, Checkpoint(out / f"{stage}.ckpt", identity), logs)
    loop.run(resume, progress, writes=ranks.first)
    return latest(loop.rows)


class _Loop:
    """The loop while it runs; arguments as in :func:`run_loop`, ``takings`` say how often which figures are taken."""

    def __init__(
        self,
        stage: str,
        modules: nn.Module,
        settings: LoopSettings,
        learner: Learner,
        takings: Sequence[tuple[int, Callable[[], Mapping[str, float]]]],
        out: Path,
        checkpoint: Checkpoint,
        logs: Sequence[Log],
    ):
        self.stage, self.modules, self.settings, self.learner = stage, modules, settings, learner
        self.takings, self.curve, self.checkpoint, self.logs = takings, out / f"{stage}.csv", checkpoint, logs
        self.rows: list[dict[str, Any]] = []
        self.figures: dict[str, float] = {}
        self.started = self.began = time.monotonic()
        self.written = -math.inf

    def run(self, resume: bool, progress: Progress, *, writes: bool) -> None:
        """Train to the end; figures, files and logs only if this process writes."""
        first, steps = self._begin(resume), self.settings.steps
        if first == steps:
            return
        with _opened(self.logs if writes else (), first) as logs, Interruption() as interruption:
            for step in range(first, steps):
                learned = self.learner.learn(step, lambda: interruption.asked or self._out_of_time())
                done = step + 1
                self._note(done, learned, logs, writes)
                if writes and (learned.stop or self._due(done, self.settings.checkpoint_every)):
                    self.checkpoint.save(self.modules, self.learner.optimizer, done, self.rows)
                    self._show_curve(soon=False)
                progress(self.stage, done, steps, self.figures)
                if learned.stop and done < steps:
                    self._stop(done)

    def _begin(self, resume: bool) -> int:
        """Steps that are done already."""
        first = 0
        if resume and self.checkpoint.path.exists():
            first, self.rows = self.checkpoint.restore(self.modules, self.learner.optimizer)
            self.figures = latest(self.rows)
        if self.rows:
            self.began -= self.rows[-1]["seconds"]
        return first

    def _due(self, done: int, every: int) -> bool:
        return done == self.settings.steps or done % every == 0

    def _note(self, done: int, learned: Learned, logs: Sequence[Log], writes: bool) -> None:
        """Take the figures of this step, if any, for the curve, the logs and the one who watches."""
        takers = [take for every, take in self.takings if self._due(done, every)]
        if not takers and not self._due(done, self.settings.log_every):
            return
        self.figures["loss"] = _finite(learned.loss, self.stage, done)
        rates = {"learning_rate": learned.learning_rate, "gradient_norm": float(learned.gradient_norm)}
        taken = {name: value for take in takers for name, value in take().items()} if writes else {}
        self.figures |= taken
        if writes:
            seconds = round(time.monotonic() - self.began, 1)
            self.rows.append({"step": done, "seconds": seconds, "loss": self.figures["loss"], **taken})
            self._show_curve(soon=not takers)
        for log in logs:
            log.write(done, {"loss": self.figures["loss"], **rates, **taken})

    def _show_curve(self, *, soon: bool) -> None:
        """Write the curve; if ``soon`` is enough, only some seconds after the last time."""
        now = time.monotonic()
        if self.rows and (not soon or now - self.written > SECONDS_BETWEEN_CURVES):
            write_curve(self.curve, self.rows)
            self.written = now

    def _out_of_time(self) -> bool:
        return 0 < self.settings.max_seconds < time.monotonic() - self.started

    def _stop(self, done: int) -> NoReturn:
        if self._out_of_time():
            spent = f"max_seconds={self.settings.max_seconds:g} are spent"
            print(f"{spent} at step {done} of {self.settings.steps} of stage {self.stage}.", file=sys.stderr)
        raise KeyboardInterrupt


@contextmanager
def _opened(logs: Sequence[Log], first: int) -> Iterator[Sequence[Log]]:
    """Logs that go on after step ``first``, closed at the end whatever happens."""
    with ExitStack() as stack:
        for log in logs:
            log.open(first)
            stack.callback(log.close)
        yield logs


def _finite(loss: Tensor, stage: str, step: int) -> float:
    value = float(loss)
    if not math.isfinite(value):
        raise AgentError(f"The loss of {stage} is {value} at step {step}; lower the learning rate.")
    return value

"""One step of a training: the gradient of a batch, in parts where asked for, and what the optimizer makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from jepawm_agents.errors import ConfigError
from jepawm_agents.training.distributed import Ranks, Share
from jepawm_agents.training.optimizer import clip_gradients, make_optimizer, set_rates

if TYPE_CHECKING:
    from jepawm_agents.training.loop import LoopSettings

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


class Learned(NamedTuple):
    """What a step gave."""

    loss: Tensor
    """Of the whole batch, before the step; a scalar."""
    gradient_norm: Tensor
    """Before clipping, a scalar; where parts are clipped, that of the longest."""
    learning_rate: float
    stop: bool
    """Whether some process wants to stop."""


class Learner:
    """Modules, their optimizer, and the loss they are trained on.

    Args:
        stage: name of the stage; dropout depends on it.
        modules: everything that is trained, on its device.
        settings: of the loop.
        loss_of_step: the loss of step k, or with ``splits`` of a share of its batch.
        ranks: processes that share every batch.
        splits: whether ``loss_of_step`` takes a :class:`Share` as second argument and is a mean over the batch.
        clipped: parts whose gradients are clipped, each by its own length; by default all that is trained, as one.

    Raises:
        ConfigError: if a batch is to be taken in parts and the loss cannot be.
    """

    def __init__(
        self,
        stage: str,
        modules: nn.Module,
        settings: LoopSettings,
        loss_of_step: Callable[..., Tensor],
        ranks: Ranks,
        *,
        splits: bool,
        clipped: Sequence[nn.Module] | None = None,
    ):
        if settings.accumulate > 1 and not splits:
            raise ConfigError(
                f"accumulate={settings.accumulate}: the loss of stage {stage} is no mean of parts; use 1."
            )
        self.stage, self.settings, self.ranks = stage, settings, ranks
        self.parameters = [parameter for parameter in modules.parameters() if parameter.requires_grad]
        self._clipped = [self.parameters] if clipped is None else [[*part.parameters()] for part in clipped]
        self.optimizer = make_optimizer(modules, settings)
        self._loss = loss_of_step if splits else lambda step, share: loss_of_step(step)
        self._device = self.parameters[0].device

    def learn(self, step: int, wants_to_stop: Callable[[], bool]) -> Learned:
        """Train on the batch of step ``step``."""
        rate = set_rates(self.optimizer, self.settings, step)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._backward(step)
        stop = wants_to_stop()
        if self.ranks.size > 1:
            stopping = torch.tensor(float(stop), device=self._device)
            self.ranks.average([*(p.grad for p in self.parameters if p.grad is not None), loss, stopping])
            stop = bool(stopping > 0)
        norms = [clip_gradients(part, self.settings.clip_grad) for part in self._clipped]
        self.optimizer.step()
        return Learned(loss, norms[0] if len(norms) == 1 else torch.stack(norms).max(), rate, stop)

    def _backward(self, step: int) -> Tensor:
        """Add up the gradients of this process's parts of the batch; their mean loss."""
        parts = self.settings.accumulate
        losses = []
        for part in range(parts):
            share = Share(self.ranks.rank * parts + part, self.ranks.size * parts)
            with self._randomness(step, share), self._precision():
                loss = self._loss(step, share)
            (loss / parts).backward()
            losses.append(loss.detach())
        return torch.stack(losses).mean()

    @contextmanager
    def _randomness(self, step: int, share: Share) -> Iterator[None]:
        """Torch's own generators, which dropout draws from, made a function of the step; put back afterwards."""
        on_gpu = self._device.type == "cuda"
        key = (*self.stage.encode(), step, share.index)
        seed = int(np.random.SeedSequence(self.settings.seed, spawn_key=key).generate_state(1, np.uint64)[0] >> 1)
        with torch.random.fork_rng(devices=[self._device] if on_gpu else []):
            torch.default_generator.manual_seed(seed)
            if on_gpu:
                torch.cuda.manual_seed(seed)
            yield

    def _precision(self) -> torch.autocast:
        """Mixed precision: weights stay float32, matrix products are bfloat16; losses are taken in float32."""
        dtype = PRECISIONS[self.settings.precision]
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=dtype != torch.float32)

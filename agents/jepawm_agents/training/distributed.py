"""Several processes that train one model: who they are, which part of a batch is whose, gradients averaged.

``torchrun --nproc-per-node N -m jepawm_bench train ...`` starts them. Every process draws the whole batch, a function
of the step, and keeps its part of it, so that N processes walk the path of one. Process 0 alone writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

from jepawm_agents.errors import ConfigError
from jepawm_agents.suggest import unknown

DEVICES = ("auto", "cpu", "cuda")
LONGEST_WAIT = timedelta(days=2)
"""Others wait while process 0 collects data or trains an encoder."""


@dataclass(frozen=True)
class Share:
    """Part ``index`` of ``count`` equal ones of a batch."""

    index: int = 0
    count: int = 1

    def of(self, size: int) -> slice:
        """The rows of a batch of ``size`` that are in this part."""
        return slice(size * self.index // self.count, size * (self.index + 1) // self.count)


WHOLE = Share()
"""The whole batch."""


@dataclass(frozen=True)
class Ranks:
    """Where this process stands among those that train together."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """Of this process."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether it is this process that writes."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over the processes, in place."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))


@contextmanager
def launched(device: str = "auto") -> Iterator[Ranks]:
    """Join the other processes if torchrun started this one, else stand alone.

    Args:
        device: ``cpu`` (they talk by gloo) or ``cuda`` (by NCCL); ``auto`` is the latter where there is a device.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield Ranks.current()
        return
    chosen = choose_device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    try:
        yield Ranks.current()
    finally:
        dist.destroy_process_group()


@contextmanager
def first_goes_first() -> Iterator[Ranks]:
    """Process 0 goes through the block, then all others, who find on disk what it made."""
    ranks = Ranks.current()
    if not ranks.first:
        dist.barrier()
    yield ranks
    if ranks.first and ranks.size > 1:
        dist.barrier()


def choose_device(name: str) -> torch.device:
    """The device of this process: ``auto`` is a CUDA device where there is one.

    Raises:
        ConfigError: for another word, or a CUDA device where torch sees none.
    """
    if name not in DEVICES:
        raise ConfigError(unknown("train.device", name, DEVICES))
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("train.device='cuda' was asked for, but torch sees no CUDA device; choose 'cpu' or 'auto'.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())

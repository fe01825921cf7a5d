"""Building large modules whose weights are about to be loaded, without filling them first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def unfilled(make: Callable[[], AnyModule]) -> AnyModule:
    """Make a module with weights of undefined content: for V-JEPA 2 ViT-g in 2 s instead of 57 s.

    Layers allocate their weights with ``torch.empty`` and fill them at random; here they get memory without the
    filling. A module that makes a buffer that way, too, is made as usual, because nothing else would fill that.
    """
    with _EmptyIsMeta():
        module = make()
    if any(buffer.is_meta for buffer in module.buffers()):
        return make()
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.is_meta:
                real = torch.empty_like(parameter, device="cpu")
                setattr(part, name, nn.Parameter(real, requires_grad=parameter.requires_grad))
    return module


class _EmptyIsMeta(TorchFunctionMode):
    """Within this context ``torch.empty`` takes no memory, and what is done to its results has no effect."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        settings = dict(kwargs or {})
        if func is torch.empty:
            settings["device"] = "meta"
        return func(*args, **settings)

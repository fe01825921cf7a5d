"""Imagining frame by frame: the same futures as :meth:`.base.Predictor.rollout` for less work.

Exact, up to the order of sums:

- No scores that a mask would hide: a frame attends to the frames before it, whose keys and values are kept, and itself.
- The last layer of all frames but the newest gives keys and values only.
- While a window grows, what is kept of its frames serves again. Once it slides, every frame has another place and,
  its predecessors gone, another content: the window is worked on anew, since nothing of it could be reused exactly.
- Conditions are computed once, in float32, the present frame's projection once for all candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from jepawm_agents.errors import ConfigError
from jepawm_agents.world_models.base import Felt, Predictor
from jepawm_agents.world_models.frame_families import frame_condition, take_apart
from jepawm_agents.world_models.frame_layer import FrameLayer, Memory
from jepawm_agents.world_models.rope import Table

P = ParamSpec("P")
R = TypeVar("R")


class Moments(NamedTuple):
    """Real frames, oldest first, the present last, and the actions between them."""

    visual: Sequence[Tensor]
    """C latents (B, P, D)."""
    proprio: Sequence[Tensor]
    """C normalised proprioceptions (B, Q), or none."""
    actions: Tensor | None
    """(B, C - 1, A) normalised, or None for C = 1."""


class FramewisePredictor:
    """A predictor prepared for planning; the weights are copied, later changes of them are not seen.

    Args:
        predictor: a transformer family, in evaluation mode.
        dtype: of weights and activations; conditions and poses stay in float32.
        compiled: whether torch.compile fuses the work on a frame. The first use of every shape takes long.
        head_multiple: what the channels of a head are filled up to, exactly. Fused attention kernels of a GPU want a
            multiple of 8 (the published simulator models have 25 channels); those of a CPU do not, and would have
            more to do. None: 8 on a GPU, else 1.

    Raises:
        ConfigError: for a predictor that is no transformer.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        dtype: torch.dtype = torch.float32,
        compiled: bool = False,
        head_multiple: int | None = None,
    ):
        device = next(predictor.parameters()).device
        multiple = head_multiple or (8 if device.type == "cuda" else 1)
        with torch.inference_mode(False), torch.no_grad():  # also for planners that differentiate
            family = take_apart(predictor, multiple)
            if family is None:
                raise ConfigError(
                    f"A {type(predictor).__name__} cannot be prepared for faster inference, only transformers can; "
                    "leave inference.fast, inference.precision and inference.compile out."
                )
            self.family = family.to(device, dtype).eval()
        self.predictor, self.dtype, self.device = predictor, dtype, device
        self.predict = _compiled(self._predict) if compiled else self._predict
        self.remember = _compiled(self._remember) if compiled else self._remember
        self._places: dict[int, Table | Tensor] = {}

    def rollout(
        self, visual: Tensor, proprio: Tensor | None, actions: Tensor, window: int = 2, *, last_only: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Imagine candidates from one frame; arguments and result as in :meth:`.base.Predictor.rollout`.

        Args:
            visual: (B, P, D).
            proprio: (B, Q) or None.
            actions: (B, N, H, A).
            window: number of frames the predictor sees.
            last_only: return only the last frame (one frame in place of H + 1); the others need no memory then.

        Raises:
            ValueError: if proprioception is missing, or cannot be imagined.
        """
        present = Moments([visual], [] if proprio is None else [proprio], None)
        return self.continue_from(present, actions, window, last_only=last_only)

    def continue_from(
        self, past: Moments, actions: Tensor, window: int = 2, *, last_only: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """:meth:`rollout` from several real frames; index 0 of the result is the present."""
        self.predictor.check_proprio(past.proprio[0] if past.proprio else None)
        batch, candidates, horizon, _ = actions.shape
        taken = actions
        if past.actions is not None:
            before = past.actions.to(actions)[:, None].expand(-1, candidates, -1, -1)
            taken = torch.cat([before, actions], dim=2)
        taken = taken.flatten(0, 1)
        path = _Path(self, past, taken, candidates)
        present = len(past.visual) - 1
        for step in range(present + 1, present + 1 + horizon):
            path.extend(step, window)
        first = present + horizon if last_only else present
        frames = torch.stack([frame.to(self.dtype) for frame in path.seen[first:]], dim=1)
        felt = None if path.felt is None else torch.stack(path.felt.embedded[first:], dim=1)
        shape = (batch, candidates)
        return frames.unflatten(0, shape), None if felt is None else felt.unflatten(0, shape)

    def place(self, position: int) -> Table | Tensor:
        """What the family's :meth:`~.frame_families.Family.place` gives, kept."""
        if position not in self._places:
            self._places[position] = self.family.place(position, self.dtype, self.device)
        return self._places[position]

    def _predict(
        self, visual: Tensor, condition: Tensor, felt: Tensor | None, place: Table | Tensor, memory: list[Memory] | None
    ) -> tuple[Tensor, Tensor | None, list[Memory]]:
        """The next frame's latents and embedded proprioception, and the memory with this frame, layer by layer."""
        x = self.family.enter(visual, condition, felt, place)
        x, kept = self._pass(x, self.family.frame_layers, condition, place, memory)
        return *self.family.leave(x), kept

    def _remember(
        self, visual: Tensor, condition: Tensor, felt: Tensor | None, place: Table | Tensor, memory: list[Memory] | None
    ) -> list[Memory]:
        """The memory with this frame; what the last layer would make of its keys and values is left out."""
        x, (*layers, last) = self.family.enter(visual, condition, felt, place), self.family.frame_layers
        x, kept = self._pass(x, layers, condition, place, memory)
        before, table = None if memory is None else memory[-1], place if isinstance(place, tuple) else None
        return [*kept, last.remember(x, self.family.modulation(condition, len(layers)), table, before)]

    def _pass(
        self,
        x: Tensor,
        layers: Sequence[FrameLayer],
        condition: Tensor,
        place: Table | Tensor,
        memory: list[Memory] | None,
    ) -> tuple[Tensor, list[Memory]]:
        kept: list[Memory] = []
        table = place if isinstance(place, tuple) else None
        for index, layer in enumerate(layers):
            before = None if memory is None else memory[index]
            x, known = layer(x, self.family.modulation(condition, index), table, before)
            kept.append(known)
        return x, kept


class _Path:
    """What is known of the futures that are being imagined, all candidates of all episodes side by side (B * N)."""

    def __init__(self, model: FramewisePredictor, past: Moments, actions: Tensor, candidates: int):
        self.model, self.actions = model, actions
        self.condition = frame_condition(model.predictor, actions).to(model.dtype)
        self.seen = [frame[:, None].expand(-1, candidates, -1, -1).flatten(0, 1) for frame in past.visual]
        self.felt = Felt.of(model.predictor, past.proprio, candidates)
        self._first, self._known = 0, 0
        self._memory: list[Memory] | None = None

    def extend(self, step: int, window: int) -> None:
        """Imagine frame ``step`` from at most ``window`` frames before it."""
        first = max(0, step - window)
        if first != self._first:  # the window slid
            self._first, self._memory, self._known = first, None, 0
        for frame in range(first + self._known, step - 1):
            self._memory = self.model.remember(*self._frame(frame))
        visual, felt, self._memory = self.model.predict(*self._frame(step - 1))
        self._known = step - first
        self.seen.append(visual)
        if self.felt is not None:
            self.felt.append(None if felt is None else felt[:, None], self.actions[:, step - 1])

    def _frame(self, index: int) -> tuple[Tensor, Tensor, Tensor | None, Table | Tensor, list[Memory] | None]:
        """What the model is told of a frame."""
        felt, dtype = None if self.felt is None else self.felt.embedded[index].to(self.model.dtype), self.model.dtype
        place = self.model.place(index - self._first)
        return self.seen[index].to(dtype), self.condition[:, index], felt, place, self._memory


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function compiled by torch, or an error that says so in a sentence."""
    # Every shape has a graph of its own, so that numbers do not depend on which shapes came before; with fullgraph,
    # what cannot be compiled, or has too many shapes, is an error and not slow in silence.
    faster = torch.compile(function, fullgraph=True, dynamic=False)

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return faster(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except Exception as problem:
            first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
            raise ConfigError(
                f"inference.compile=true does not work here: {first} Leave it out, or see what torch.compile needs "
                "(on a processor, a C++ compiler)."
            ) from problem

    return run

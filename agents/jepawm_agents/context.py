"""Imagining from several real frames instead of one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jepawm_agents.errors import ConfigError
from jepawm_agents.world_models.base import Predictor
from jepawm_agents.world_models.jepa import Imagination, Latent


def rollout_from_past(
    predictor: Predictor, frames: Sequence[Latent], past: Tensor, actions: Tensor, window: int
) -> Imagination:
    """Imagine as :meth:`Predictor.rollout` does, with real frames in place of those before the present.

    Args:
        predictor: latent dynamics that predict their proprioception, if they have any.
        frames: C latents of B episodes, oldest first, the present last.
        past: (B, C - 1, A) normalised actions executed between them.
        actions: (B, N, H, A) normalised candidate actions from the present on.
        window: number of frames the predictor sees.

    Returns:
        H + 1 frames of every candidate, index 0 the present.

    Raises:
        ConfigError: for a predictor that does not predict its proprioception.
    """
    batch, candidates, horizon, _ = actions.shape
    present = len(frames) - 1
    taken = torch.cat([past.to(actions)[:, None].expand(-1, candidates, -1, -1), actions], dim=2)
    condition = predictor.condition(taken.flatten(0, 1))
    seen = [_for_candidates(frame.visual, candidates) for frame in frames]
    felt = [
        _for_candidates(predictor.embed_proprio(frame.proprio[:, None])[:, 0], candidates)
        for frame in frames
        if frame.proprio is not None
    ]
    for step in range(present + 1, present + 1 + horizon):
        first = max(0, step - window)
        known = torch.stack(felt[first:], dim=1) if felt else None
        out = predictor.advance(torch.stack(seen[first:], dim=1), condition[:, first:step], known, last_only=True)
        seen.append(out.visual[:, -1])
        if felt:
            felt.append(_predicted(out.proprio)[:, -1])
    paths = (torch.stack(path[present:], dim=1).unflatten(0, (batch, candidates)) for path in (seen, felt) if path)
    return Imagination(next(paths), next(paths, None))


def _for_candidates(tokens: Tensor, candidates: int) -> Tensor:
    """(B, P, D) once for every candidate, (B * N, P, D)."""
    return tokens[:, None].expand(-1, candidates, -1, -1).flatten(0, 1)


def _predicted(proprio: Tensor | None) -> Tensor:
    if proprio is None:
        raise ConfigError("This model does not predict its proprioception; plan from one frame (context = 1).")
    return proprio

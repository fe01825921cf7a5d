"""Planning with the model while it trains: the success rate of its agent on development tasks, through the harness."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from jepawm_agents.loading import agent_in_memory
from jepawm_agents.world_models.jepa import JEPAWorldModel
from jepawm_bench import evaluate
from jepawm_bench.registry import load_registry
from jepawm_bench.run_spec import RunSpec, resolve

SPLIT = "dev"
"""Where tasks are frozen. Elsewhere the seed makes them; choose one that no result is reported for."""


class PlanningEvaluation:
    """Plays development tasks with a copy of the model; its training is not touched.

    Args:
        model: the model that is trained.
        plan: a recipe; ``agent`` names the card whose planner is used, table ``evaluate`` says what is played.
        frozen_encoder: whether the encoder is not trained, and may be shared with the copy.
    """

    def __init__(self, model: JEPAWorldModel, plan: Mapping[str, Any], *, frozen_encoder: bool = True):
        self.model, self.plan, self.frozen_encoder = model, plan, frozen_encoder

    def __call__(self) -> dict[str, float]:
        """``success``, the share of episodes that end in success, and ``success_n``, their number.

        Raises:
            BenchError: for an agent or tasks that do not exist.
        """
        task = planning_task(self.plan)
        device = self.model.normaliser.action_mean.device
        on_gpu = device.type == "cuda"
        with torch.random.fork_rng(devices=[device] if on_gpu else []):
            result = evaluate(
                agent_in_memory(self._copy(), task.settings, device),
                task.env,
                task.protocol,
                task.episodes,
                task.seed,
                split=SPLIT,
                batch=min(16, task.episodes) if on_gpu else 1,
            )
        return {"success": result.success_rate, "success_n": float(task.episodes)}

    def _copy(self) -> JEPAWorldModel:
        """A model that shares the encoder if that is frozen."""
        shared = {id(self.model.encoder): self.model.encoder} if self.frozen_encoder else {}
        return copy.deepcopy(self.model, shared)


def planning_task(plan: Mapping[str, Any]) -> RunSpec:
    """What table ``evaluate`` of a recipe asks for, with the agent's settings in force.

    Raises:
        UsageError: for an unknown agent, environment or protocol.
    """
    asked = plan["evaluate"]
    name, _, variant = plan["agent"].partition("@")
    spec, _ = resolve(
        load_registry().card(name),
        variant=variant or None,
        env=asked["env"] or plan["data"]["env"],
        protocol=asked["protocol"],
        split=SPLIT,
        seed=asked["seed"],
        episodes=asked["episodes"],
        overrides=asked["settings"],
    )
    return spec

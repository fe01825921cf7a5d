"""Gradient descent on the actions, through the world model: plain and with Adam.

Facts: jepa-wms ``planner.py:480-694`` (commit 6eafb14). Its planner called Adam builds that optimizer but never
lets it step, so it is gradient descent too; published differences between the two are differences of random numbers.
:class:`Adam` here is the real one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from jepawm_agents.errors import PlanningError
from jepawm_agents.planners.base import CostFunction, Noise, Plan
from jepawm_agents.planners.budget import rounds
from jepawm_agents.planners.elites import gather_candidates, lowest
from jepawm_agents.planners.history import History
from jepawm_agents.planners.settings import (
    SearchSettings,
    clip_to_bounds,
    require,
    require_choice,
    require_not_negative,
    require_positive,
    require_share,
)

EVALUATIONS_PER_STEP = 2
"""One for the way forward and one for the way back, which through frozen weights costs about the same."""
STARTS = ("randn", "zero")
ANSWERS = ("last", "best")

Step = Callable[[Tensor], None]
"""Moves the actions by their gradient (E, N, H, A)."""


@dataclass(frozen=True)
class GradientDescent(SearchSettings):
    """Follow the gradient of the cost down from N starts, each on its own.

    After every step noise is added and bounds are enforced, on the start too. The answer is that start's last
    sequence whose cost was the lowest when last scored (a step before), or with ``answer="best"`` the best sequence
    scored. Entries of a gradient that are not finite move nothing. ``num_elites`` matters to the trace only; with
    ``warm_start`` the first start is what is left of the previous plan.

    Defaults are the published ones: one start, 500 steps.
    """

    differentiates: ClassVar[bool] = True

    num_samples: int = 1
    iterations: int = 500
    lr: float = 1.0
    """Size of a step."""
    action_noise: float = 0.003
    """Deviation of the noise added after every step, normalised units."""
    init: str = "randn"
    """Starts: ``randn``, normal with deviation ``init_std``, or ``zero``."""
    answer: str = "last"
    """``last``, the last sequence of the start that was cheapest, or ``best``, the best sequence scored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "lr")
        require_not_negative(self, "action_noise")
        require_choice("init", self.init, STARTS)
        require_choice("answer", self.answer, ANSWERS)
        if self.max_evaluations is not None:
            least = EVALUATIONS_PER_STEP * self.num_samples
            rule = f"at least {least}, one gradient step of every start"
            require(self.max_evaluations >= least, "max_evaluations", self.max_evaluations, rule)

    @property
    def sizes(self) -> list[int]:
        """Candidates of every iteration; ``max_evaluations`` leaves out whole iterations."""
        per_step = EVALUATIONS_PER_STEP * self.num_samples
        steps = self.iterations if self.max_evaluations is None else self.max_evaluations // per_step
        return [self.num_samples] * min(self.iterations, steps)

    @property
    def evaluations(self) -> int:
        """Most evaluations one plan spends on an episode: two a step and start."""
        return EVALUATIONS_PER_STEP * super().evaluations

    def plan(
        self,
        cost: CostFunction,
        *,
        batch: int,
        action_dim: int,
        noise: Noise,
        horizon: int | None = None,
        previous: Plan | None = None,
    ) -> Plan:
        """Plan for a batch of episodes; see :class:`jepawm_agents.planners.base.Planner`."""
        with torch.inference_mode(False), torch.no_grad():
            shape = (batch, self.num_samples, self.steps(horizon), action_dim)
            actions = self._starts(noise, shape, previous).requires_grad_()
            step, history = self.stepper(actions), History()
            cheapest = torch.zeros(batch, 1, dtype=torch.long, device=actions.device)
            best, best_cost = actions.detach()[:, :1], actions.new_full((batch, 1), float("inf"))

            for iteration, size in rounds(self.sizes, self.max_seconds, actions.device):
                costs, gradient = _differentiate(cost, actions)
                elite_costs, index = lowest(costs, self.elites_among(size))
                cheapest = index[:, :1]
                best, best_cost = _better(gather_candidates(actions, cheapest), elite_costs[:, :1], best, best_cost)
                history.add(elite_costs, EVALUATIONS_PER_STEP * size)

                step(torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0))
                self._disturb(actions, noise, iteration + 1)

            sequence = (best if self.answer == "best" else gather_candidates(actions, cheapest))[:, 0]
            return self.answer_with(sequence, history)

    def stepper(self, actions: Tensor) -> Step:
        """What a step does to ``actions``, in place."""

        def step(gradient: Tensor) -> None:
            actions.copy_(actions - self.lr * gradient)

        return step

    def _starts(self, noise: Noise, shape: tuple[int, ...], previous: Plan | None) -> Tensor:
        starts = self.init_std * noise.normal(0, shape) if self.init == "randn" else 0 * noise.normal(0, shape)
        if self.warm_start and previous is not None:
            starts[:, 0] = self.first_mean(starts, previous)
        return clip_to_bounds(starts, self.bounds).clone()

    def _disturb(self, actions: Tensor, noise: Noise, iteration: int) -> None:
        if self.action_noise:
            actions.add_(self.action_noise * noise.normal(iteration, tuple(actions.shape)))
        if self.bounds:
            actions.copy_(clip_to_bounds(actions, self.bounds))


@dataclass(frozen=True)
class Adam(GradientDescent):
    """:class:`GradientDescent` with the steps of torch's Adam.

    Moments are those of the reference's settings; its learning rate of 1 is not, since a step of Adam is about as
    long as the learning rate in every dimension, whatever the cost's scale.
    """

    lr: float = 0.1
    beta1: float = 0.9
    """Memory of the gradient."""
    beta2: float = 0.995
    """Memory of its square."""
    eps: float = 1e-8
    """Added to the root of the mean square."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "beta1", "beta2")
        require_positive(self, "eps")

    def stepper(self, actions: Tensor) -> Step:
        """What a step does to ``actions``, in place; the moments live as long as the plan is made."""
        optimizer = torch.optim.Adam([actions], lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps)

        def step(gradient: Tensor) -> None:
            actions.grad = gradient
            optimizer.step()

        return step


def _differentiate(cost: CostFunction, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Costs (E, N) and their gradients (E, N, H, A); candidates do not mix, so one sum serves all of them.

    Raises:
        PlanningError: if the cost does not depend on the actions in a way that torch can differentiate.
    """
    with torch.enable_grad():
        costs = cost(actions.clone())  # the cost may keep what it is given: the leaf itself will change
        if not costs.requires_grad:
            raise PlanningError(
                "This planner follows gradients, but the cost does not depend on the actions through differentiable "
                "torch operations; compute it with torch and outside of no_grad, or choose a sampling planner."
            )
        gradient = torch.autograd.grad(costs.sum(), actions)[0]
    return costs.detach(), gradient


def _better(found: Tensor, found_cost: Tensor, best: Tensor, best_cost: Tensor) -> tuple[Tensor, Tensor]:
    """The cheaper of two sequences (E, 1, H, A) with costs (E, 1); of equals the earlier one."""
    won = found_cost < best_cost
    return torch.where(won[:, :, None, None], found, best), torch.where(won, found_cost, best_cost)

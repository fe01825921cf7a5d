"""Pictures of what a model imagined, beside what then happened: ``python -m jepawm_agents.heads.imagine``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from jepawm_agents.agent import JEPAWMAgent, Observation
from jepawm_agents.control import Control
from jepawm_agents.errors import AgentError, ConfigError
from jepawm_agents.heads.base import ImageHead
from jepawm_agents.heads.by_agent import load_decoder
from jepawm_agents.heads.colours import as_rgb
from jepawm_agents.heads.strip import draw_strip
from jepawm_bench.agent import EpisodeKey
from jepawm_bench.errors import BenchError
from jepawm_bench.protocols import Protocol
from jepawm_bench.registry import load_registry, make_agent
from jepawm_bench.run_spec import RunSpec, resolve
from jepawm_bench.settings import parse_overrides
from jepawm_bench.task_lists import load_tasks
from jepawm_bench.tasks import Task

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class ImaginedPlan:
    """One executed plan: M model steps, uint8 pictures (..., H, W, 3) of the decoder's size."""

    true: Pictures
    """What was seen at the start and after every model step, (M + 1, H, W, 3)."""
    imagined: Pictures
    """What the model imagined for these moments, decoded; the first is the encoded start, (M + 1, H, W, 3)."""
    goal: Pictures
    """(H, W, 3)."""
    decoded_goal: Pictures
    """The goal as the planner saw it: encoded and decoded, (H, W, 3)."""


def imagine_plan(agent: JEPAWMAgent, decoder: ImageHead, env: Any, task: Task, seed: int, budget: int) -> ImaginedPlan:
    """Plan once, execute the plan, and imagine it again to look at.

    Args:
        agent: plans.
        decoder: for its world model.
        env: in which it plays; it is reset to the task.
        task: start and goal.
        seed: of the run, with the task's index the agent's randomness.
        budget: environment steps of the episode.

    Raises:
        ConfigError: for an agent whose actions are repeated or scaled on the way to the environment.
    """
    if (agent.control.action_repeat, agent.control.action_scale) != (Control().action_repeat, Control().action_scale):
        raise ConfigError("Plans whose actions are repeated or scaled cannot be imagined here; leave control out.")
    options = {"init_state": np.array(task.init_state), "goal_state": np.array(task.goal_state)}
    seen, _ = env.reset(seed=task.seed, options=options)
    start = _batch(seen)
    agent.reset(start, [EpisodeKey(seed, task.index)])
    skip = agent.preprocessing.frameskip
    actions = agent.act(start, budget).actions[0][:budget]
    actions = actions[: len(actions) // skip * skip]
    true = [start["pixels"][0]]
    for number, action in enumerate(actions, start=1):
        seen = env.step(action)[0]
        if number % skip == 0:
            true.append(seen["pixels"])
    imagined, goal = _imagined(agent, decoder, start, actions)
    return ImaginedPlan(_shown(np.stack(true)), imagined, _shown(start["goal_pixels"])[0], goal)


@torch.no_grad()
def _imagined(
    agent: JEPAWMAgent, decoder: ImageHead, start: Observation, actions: NDArray[np.float64]
) -> tuple[Pictures, Pictures]:
    """Decoded futures (M + 1, H, W, 3) under environment actions (T, A), and the decoded goal (H, W, 3)."""
    model = agent.world_model
    taken = torch.from_numpy(actions.astype(np.float32)).to(agent.device)
    steps = model.normaliser.actions(taken).reshape(1, 1, len(actions) // agent.preprocessing.frameskip, -1)
    future = model.rollout(model.encode(start["pixels"], start["proprio"]), steps)
    goal = model.encode(start["goal_pixels"], start["goal_proprio"])
    decoder = decoder.to(agent.device)
    return decoder.decode(future.visual[0, 0]).cpu().numpy(), decoder.decode(goal.visual[0]).cpu().numpy()


def _batch(observation: Observation) -> dict[str, NDArray[Any]]:
    """The observation as one of a batch of one."""
    return {key: np.asarray(observation[key])[None] for key in observation}


def _shown(pixels: NDArray[np.uint8]) -> Pictures:
    return as_rgb(torch.from_numpy(np.ascontiguousarray(pixels))).numpy()


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: those of the command line when None.

    Returns:
        0, or another number after a sentence about what is wrong.
    """
    asked = _parser().parse_args(arguments)
    try:
        path = _draw(asked)
    except (AgentError, BenchError) as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code if isinstance(problem, BenchError) else 1
    print(f"written to {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jepawm_agents.heads.imagine",
        description="Draw one plan: above what happened, below what the model had imagined, at the right the goal.",
    )
    parser.add_argument("--agent", required=True, help="name or name@variant; see 'jepawm-bench list agents'")
    parser.add_argument("--env", help="the agent's own when missing")
    parser.add_argument("--protocol", default="paper")
    parser.add_argument("--seed", type=int, help="of the run; the protocol's when missing")
    parser.add_argument("--episode", type=int, default=0, help="number of the task")
    parser.add_argument("--weights", help="a world model's file instead of the agent's own")
    parser.add_argument("--decoder", help="an image decoder's file instead of the shipped or published one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in 'jepawm-bench run'")
    parser.add_argument("--out", type=Path, default=Path("imagined.png"), help="the picture to write")
    return parser


def _draw(asked: argparse.Namespace) -> Path:
    name, _, variant = asked.agent.partition("@")
    card = load_registry().card(name)
    spec, protocol = resolve(
        card,
        variant=variant or None,
        env=asked.env,
        protocol=asked.protocol,
        seed=asked.seed,
        episodes=asked.episode + 1,
        overrides=parse_overrides(asked.set),
        weights=asked.weights,
    )
    agent = make_agent(spec.request(card, "cpu"))
    if not isinstance(agent, JEPAWMAgent):
        raise ConfigError(f"Agent {name!r} imagines nothing that could be drawn; it has no world model with latents.")
    task = load_tasks(protocol, episodes=spec.episodes, seed=spec.seed, split=spec.split or "test")[-1]
    decoder = load_decoder(agent.world_model, asked.decoder)
    plan = imagine_plan(agent, decoder, _environment(spec, protocol, agent), task, spec.seed, protocol.budget)
    moments = ["start", *(f"step {agent.preprocessing.frameskip * m}" for m in range(1, len(plan.true)))]
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    draw_strip(
        {"true": [*plan.true, plan.goal], "imagined": [*plan.imagined, plan.decoded_goal]}, [*moments, "goal"]
    ).save(asked.out)
    return asked.out


def _environment(spec: RunSpec, protocol: Protocol, agent: JEPAWMAgent) -> Any:
    settings = {**protocol.env_settings, **agent.observation_options, "image_size": agent.image_size}
    return gymnasium.make(spec.env, obs_type=agent.obs_type, disable_env_checker=True, **settings)


if __name__ == "__main__":
    sys.exit(main())

"""Train SAC with hindsight experience replay on a goal of the suite, and compare it with the floors.

``python examples/sac_her.py --env JepaWM/Wall-v0 --steps 20000`` needs ``pip install "jepawm-bench[rl]"``. The
agent sees states, not pixels. What counts is the published rule: the share of tasks that are solved after the last
step of an episode, on tasks of the published sampler that were not trained on.

SAC: arXiv 1801.01290. Hindsight experience replay: arXiv 1707.01495. Both from Stable-Baselines3.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

from jepawm_bench.statistics import wilson
from jepawm_envs.goal_env import GoalEnv

Observation = Mapping[str, NDArray[Any]]
Policy = Callable[[Observation, GoalEnv], NDArray[Any]]

WORLDS = 8
"""Played at the same time: they share the call of the policy, which costs more than a step."""
WARM_UP_EPISODES = 4
"""Of random actions in every world before learning. Hindsight needs at least one: goals come from finished episodes."""
HELD_OUT = 1_000_000
"""First sampler seed of the tasks that judge. Training draws its seeds from 0 to 2**32 - 2: that 20,000 steps meet one
of 200 such tasks has a probability below 1e-4."""


class Rescale(BaseFeaturesExtractor):
    """All entries of the observation side by side, each brought from its bounds to [-1, 1].

    Done here and not by a wrapper of the environment, so that the replay buffer holds goals in the units in which
    ``compute_reward`` reads them.
    """

    middle: torch.Tensor
    reach: torch.Tensor

    def __init__(self, observation_space: spaces.Dict):
        boxes = {key: box for key, box in observation_space.items() if isinstance(box, spaces.Box)}
        low, high = (np.concatenate([getattr(box, end) for box in boxes.values()]) for end in ("low", "high"))
        super().__init__(observation_space, features_dim=len(low))
        self.keys = list(boxes)
        self.register_buffer("middle", torch.as_tensor((low + high) / 2))
        self.register_buffer("reach", torch.as_tensor((high - low) / 2))

    def forward(self, observations: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Entries (B, N) by key to (B, sum of N)."""
        together = torch.cat([observations[key] for key in self.keys], dim=-1)
        return (together - self.middle) / self.reach


def make_env(env_id: str) -> gymnasium.Env:
    """The environment as hindsight replay expects it.

    Episodes end by the step limit alone, which the replay buffer tells from a true end, and the agent goes on
    learning how to stay. With ``terminate_on_success=True`` relabelled transitions would keep the ends of the goals
    they had before. Actions need no scaling: SAC's lie in the declared box.
    """
    return gymnasium.make(env_id, obs_type="state", render_mode=None)


def make_agent(env_id: str, seed: int) -> SAC:
    """SAC with the settings that the README's figures were measured with.

    Stable-Baselines3 seeds the global generators; nothing else here uses them.
    """
    worlds = DummyVecEnv([lambda: make_env(env_id) for _ in range(WORLDS)])
    return SAC(
        "MultiInputPolicy",
        worlds,
        # It asks for compute_reward through Gymnasium's wrappers, so they may stay.
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 4, "goal_selection_strategy": "future"},
        policy_kwargs={"features_extractor_class": Rescale, "net_arch": [128, 128]},
        learning_rate=1e-3,
        gamma=0.95,  # a reward of -1 a step over at most 30 steps looks about 20 steps ahead
        batch_size=256,
        buffer_size=200_000,
        learning_starts=WARM_UP_EPISODES * WORLDS * step_limit(env_id),
        train_freq=1,
        gradient_steps=WORLDS // 2,
        seed=seed,
        device="cpu",  # networks of this size wait longer for a graphics card than it takes to compute them
    )


def step_limit(env_id: str) -> int:
    """Steps of an episode, from the registration.

    Raises:
        ValueError: for an environment that has none.
    """
    limit = gymnasium.spec(env_id).max_episode_steps
    if limit is None:
        raise ValueError(f"{env_id} is registered without a step limit; this example needs episodes that end.")
    return limit


def count_solved(env_id: str, policy: Policy, episodes: int) -> int:
    """How many of the held-out tasks are solved after the last step of their episode."""
    env, solved = make_env(env_id), 0
    bare = bare_env(env)
    for episode in range(episodes):
        observation, info = env.reset(seed=HELD_OUT + episode)
        truncated = False
        while not truncated:
            observation, _, _, truncated, info = env.step(policy(observation, bare))
        solved += info["success"]
    env.close()
    return solved


def bare_env(env: gymnasium.Env) -> GoalEnv:
    """The environment inside its wrappers.

    Raises:
        TypeError: when it is none of the suite's.
    """
    bare = env.unwrapped
    if not isinstance(bare, GoalEnv):
        raise TypeError(f"{env} is no environment of this suite; choose one that `jepawm-bench list envs` shows.")
    return bare


def floors(env_id: str, seed: int) -> dict[str, Policy]:
    """The policies to compare with: random actions and, where the environment has one, the straight line."""
    random = np.random.default_rng(seed)
    env = make_env(env_id)
    straight_line = getattr(type(env.unwrapped), "straight_line_action", None)
    env.close()
    found: dict[str, Policy] = {"random": lambda _, env: random.uniform(*env.action_bounds, env.action_dim)}
    if straight_line is not None:
        found["straight line"] = lambda _, env: straight_line(env, env.state, env.goal_state)
    return found


def table(solved: Mapping[str, int], episodes: int) -> str:
    """One row a policy, in Markdown."""
    lines = ["| policy | success % | 95 % interval | n |", "|---|--:|--:|--:|"]
    for name, count in solved.items():
        low, high = wilson(count, episodes)
        lines.append(f"| {name} | {100 * count / episodes:.1f} | {100 * low:.1f} to {100 * high:.1f} | {episodes} |")
    return "\n".join(lines)


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="JepaWM/Wall-v0", help="id of the environment (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20_000, help="environment steps of training (%(default)s)")
    parser.add_argument("--episodes", type=int, default=200, help="held-out tasks that judge (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (%(default)s)")
    given = parser.parse_args(arguments)
    warm_up = WARM_UP_EPISODES * WORLDS * step_limit(given.env)
    if given.steps <= warm_up:
        parser.error(f"--steps {given.steps} ends before learning begins; {given.env} needs more than {warm_up}.")
    if given.episodes < 1:
        parser.error(f"--episodes {given.episodes} judges nothing; give at least 1.")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, judge, print."""
    given = read_arguments(arguments)
    torch.set_num_threads(1)  # more only get in each other's way at this size
    begin = time.process_time()
    agent = make_agent(given.env, given.seed)
    agent.learn(given.steps)
    print(
        f"{given.env}: {agent.num_timesteps} steps, {agent._n_updates} updates, seed {given.seed}, "
        f"{time.process_time() - begin:.0f} s of one core\n"
    )
    policies = floors(given.env, given.seed)
    policies["SAC + HER"] = lambda observation, env: agent.predict(dict(observation), deterministic=True)[0]
    solved = {name: count_solved(given.env, policy, given.episodes) for name, policy in policies.items()}
    print(table(solved, given.episodes))


if __name__ == "__main__":
    main()

"""The examples run, learn, and use the environments as they say."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from jepawm_bench.statistics import wilson

pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "sac_her.py"
WALL, MAZE = "JepaWM/Wall-v0", "JepaWM/PointMaze-v0"
ROW = re.compile(r"^\| ([\w +]+) \| ([\d.]+) \| [\d.]+ to [\d.]+ \| (\d+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def sac_her() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("sac_her", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The example in a process of its own, since Stable-Baselines3 seeds the global generators."""
    return subprocess.run([sys.executable, str(EXAMPLE), *arguments], capture_output=True, text=True, check=False)


def solved(*arguments: str) -> dict[str, tuple[int, int]]:
    """Solved tasks and number of tasks by policy, read from the table that the example prints."""
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return {name: (round(float(rate) * int(n) / 100), int(n)) for name, rate, n in ROW.findall(done.stdout)}


def test_it_prints_a_table_of_the_floors_and_the_trained_agent():
    rows = solved("--env", WALL, "--steps", "1000", "--episodes", "6")
    assert list(rows) == ["random", "straight line", "SAC + HER"]
    assert all(n == 6 for _, n in rows.values())
    assert rows["random"][0] == 0  # 30 random steps cross no door


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--steps", "960"), "--steps 960 ends before learning begins; JepaWM/Wall-v0 needs more than 960."),
        (("--episodes", "0"), "--episodes 0 judges nothing; give at least 1."),
    ],
)
def test_it_refuses_what_cannot_work(sac_her, capsys, arguments, complaint):
    with pytest.raises(SystemExit):
        sac_her.main(arguments)
    assert complaint in capsys.readouterr().err


def test_the_table_shows_shares_and_their_wilson_intervals(sac_her):
    low, high = wilson(3, 12)
    assert sac_her.table({"agent": 3}, 12).splitlines()[-1] == (
        f"| agent | 25.0 | {100 * low:.1f} to {100 * high:.1f} | 12 |"
    )


@pytest.mark.parametrize(("env_id", "limit"), [(WALL, 4.5), (MAZE, 0.5)])
def test_relabelled_transitions_are_rewarded_exactly_where_the_published_rule_holds(sac_her, env_id, limit):
    agent = sac_her.make_agent(env_id, seed=None)
    goals_played = {tuple(goal) for goal in play(agent, episodes=3)}
    batch = agent.replay_buffer.sample(4000)
    achieved, desired = (
        batch.next_observations[key].numpy().astype(np.float64) for key in ("achieved_goal", "desired_goal")
    )
    relabelled = np.array([tuple(goal) not in goals_played for goal in desired.astype(np.float32)])
    assert 0.79 < relabelled.mean() < 0.81  # four of five
    met = np.linalg.norm(achieved - desired, axis=1) < limit
    assert met[relabelled].any() and not met[relabelled].all()
    np.testing.assert_array_equal(batch.rewards.numpy()[:, 0], np.where(met, 0.0, -1.0))
    assert not batch.dones.any()  # every episode ended by the step limit, which is no end of the task


def play(agent, episodes: int) -> list[np.ndarray]:
    """Fill the replay buffer with random actions; the desired goals of all steps."""
    worlds, buffer = agent.get_env(), agent.replay_buffer
    agent.action_space.seed(0)
    observation, goals = worlds.reset(), []
    for _ in range(episodes * 30):
        actions = np.array([agent.action_space.sample() for _ in range(worlds.num_envs)])
        after, rewards, dones, infos = worlds.step(actions)
        stored = {key: value.copy() for key, value in after.items()}
        for world in np.flatnonzero(dones):  # the vector environment shows the next episode's first observation
            for key, value in infos[world]["terminal_observation"].items():
                stored[key][world] = value
        buffer.add(observation, stored, actions, rewards, dones, infos)
        goals += list(observation["desired_goal"])
        observation = after
    return goals


def test_goals_reach_the_networks_on_the_scale_of_their_bounds(sac_her):
    env = sac_her.make_env(MAZE)
    scale = sac_her.Rescale(env.observation_space)
    for end, value in (("low", -1.0), ("high", 1.0)):
        corner = {key: torch.as_tensor(getattr(box, end))[None] for key, box in env.observation_space.items()}
        torch.testing.assert_close(scale(corner), torch.full((1, 8), value))


@pytest.mark.slow
@pytest.mark.parametrize(("env_id", "steps"), [(WALL, 8000), (MAZE, 3000)])
def test_it_learns_more_than_chance(env_id, steps):
    rows = solved("--env", env_id, "--steps", str(steps), "--episodes", "60")
    assert wilson(*rows["SAC + HER"]).low > wilson(*rows["random"]).high

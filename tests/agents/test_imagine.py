"""What is shown of a plan, in worlds where that is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from jepawm_agents.agent import JEPAWMAgent
from jepawm_agents.control import Control
from jepawm_agents.errors import ConfigError
from jepawm_agents.heads import build_head
from jepawm_agents.heads.base import ImageHead
from jepawm_agents.heads.imagine import imagine_plan, main
from jepawm_agents.heads.strip import draw_strip
from jepawm_agents.objectives import make_objective
from jepawm_agents.planners import make_planner
from jepawm_agents.preprocessing import Preprocessing
from jepawm_agents.world_models.jepa import Imagination, Latent, Normaliser
from jepawm_bench.protocols import find_protocol
from jepawm_bench.task_lists import load_tasks
from jepawm_bench.tasks import Task
from jepawm_envs.wall.env import WallEnv

SKIP = 2


class PointWorld(nn.Module):
    """Latent = position (x, y); every primitive action is added to it."""

    config: dict[str, Any] = {}  # noqa: RUF012
    window = 1

    def __init__(self):
        super().__init__()
        self.normaliser = Normaliser(2, 2)
        self.normaliser.action_std.copy_(torch.tensor([0.5, 2.0]))

    def encode(self, pixels, proprio) -> Latent:
        return Latent(torch.from_numpy(np.asarray(proprio, np.float32))[:, None], None)

    def embed(self, latent: Latent) -> Latent:
        return latent

    def rollout(self, latent: Latent, actions: Tensor) -> Imagination:
        moves = self.normaliser.environment_actions(actions.unflatten(-1, (SKIP, 2))).sum(dim=3)
        start = latent.visual[:, None, None, 0].expand(-1, actions.shape[1], 1, -1)
        return Imagination(torch.cat([start, start + moves.cumsum(dim=2)], dim=2)[:, :, :, None], None)


def shade(position) -> np.ndarray:
    """A picture of one colour: x in red, y in green, in steps of a tenth."""
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[..., :2] = np.clip(100 + np.round(np.asarray(position, float) * 10), 0, 255)
    return picture


class Shades(ImageHead):
    image_size, latent_dim = 8, 2

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def pictures(self, tokens: Tensor) -> Tensor:
        shown = torch.from_numpy(np.stack([shade(token[0]) for token in tokens.numpy()]))
        return (shown.permute(0, 3, 1, 2).float() + 0.5) / 255.0


class PointEnv:
    """The same world, played."""

    def reset(self, *, seed: int, options: dict[str, np.ndarray]):
        self.position, self.goal = options["init_state"].astype(float), options["goal_state"]
        return self._seen(), {}

    def step(self, action):
        self.position += action
        return self._seen(), 0.0, False, False, {}

    def _seen(self):
        return {
            "pixels": shade(self.position),
            "goal_pixels": shade(self.goal),
            "proprio": self.position.astype(np.float32),
            "goal_proprio": self.goal.astype(np.float32),
        }


def task(start, goal) -> Task:
    return Task(0, "none", tuple(start), tuple(goal), 1, "test", {"bin": "all"})


def agent_in(world: Any, image_size: int = 8, frameskip: int = SKIP, **control: Any) -> JEPAWMAgent:
    planner = make_planner("cem", horizon=3, num_samples=64, iterations=6, num_elites=8, execution_horizon=3)
    rules, objective = Control(**control), make_objective("L2")
    return JEPAWMAgent(world, planner, objective, Preprocessing(image_size, frameskip), control=rules)


def test_where_the_model_is_perfect_what_happened_is_what_was_imagined():
    plan = imagine_plan(agent_in(PointWorld()), Shades(), PointEnv(), task((1.0, 2.0), (4.0, -3.0)), seed=1, budget=6)
    assert plan.true.shape == (4, 8, 8, 3)
    np.testing.assert_array_equal(plan.true[0], shade((1.0, 2.0)))
    assert len(np.unique(plan.true[:, 0, 0], axis=0)) == 4  # it moves
    assert np.abs(plan.true.astype(int) - plan.imagined).max() <= 1  # sums of float32
    np.testing.assert_array_equal(plan.goal, shade((4.0, -3.0)))
    np.testing.assert_array_equal(plan.decoded_goal, plan.goal)


@pytest.mark.parametrize(("budget", "steps"), [(6, 3), (5, 2), (2, 1)])
def test_whole_model_steps_within_the_budget_are_shown(budget, steps):
    plan = imagine_plan(agent_in(PointWorld()), Shades(), PointEnv(), task((1, 2), (4, -3)), seed=1, budget=budget)
    assert len(plan.true) == len(plan.imagined) == steps + 1


def test_the_imagined_row_is_the_decoded_rollout_of_the_executed_plan(tiny_model):
    model, env = tiny_model("adaln"), WallEnv(image_size=16)
    decoder = build_head({"target": "image", "family": "compact", "latent_dim": 6, "grid_size": 2, "image_size": 16})
    nn.init.normal_(decoder.to_full.weight, generator=torch.Generator().manual_seed(0))
    agent = agent_in(model, 16, 5)
    where = load_tasks(find_protocol("paper", "JepaWM/Wall-v0"), episodes=1, seed=3, split="test")[0]
    plan = imagine_plan(agent, decoder, env, where, seed=3, budget=15)
    executed = agent._executed or [agent._previous.actions]  # type: ignore[union-attr]
    observation, _ = env.reset(
        seed=where.seed, options={"init_state": np.array(where.init_state), "goal_state": np.array(where.goal_state)}
    )
    latent = model.encode(observation["pixels"][None], observation["proprio"][None])
    expected = decoder.decode(model.rollout(latent, executed[0][:, None]).visual[0, 0]).numpy()
    assert np.abs(expected.astype(int) - plan.imagined).max() <= 1
    assert expected.std(axis=0).max() > 1  # the future differs from the present
    np.testing.assert_array_equal(plan.true[0], observation["pixels"])
    assert plan.true.shape == plan.imagined.shape == (4, 16, 16, 3)


def test_actions_that_are_changed_on_the_way_are_refused():
    agent = agent_in(PointWorld(), action_scale=2.0)
    with pytest.raises(ConfigError, match="repeated or scaled cannot be imagined here"):
        imagine_plan(agent, Shades(), PointEnv(), task((1, 2), (4, -3)), seed=1, budget=6)


def test_a_strip_has_every_picture_in_its_place_and_the_goal_apart():
    reds = [np.full((8, 8, 3), (value, 0, 0), np.uint8) for value in (10, 20, 30)]
    blues = [np.full((8, 8, 3), (0, 0, value), np.uint8) for value in (40, 50, 60)]
    strip = draw_strip({"true": reds, "imagined": blues}, ["start", "step 5", "goal"])
    found = np.asarray(strip)
    for row, pictures in enumerate((reds, blues)):
        top, places = 22 + row * 134 + 64, []
        for picture in pictures:
            places.append(np.flatnonzero((found[top] == picture[0, 0]).all(axis=1)))
        assert [len(place) for place in places] == [128, 128, 128]
        gaps = [places[i + 1][0] - places[i][-1] for i in (0, 1)]
        assert gaps[1] > gaps[0] > 0
    with pytest.raises(ValueError, match="Row 'true' has 2 pictures for 3 moments"):
        draw_strip({"true": reds[:2]}, ["start", "step 5", "goal"])


def test_the_command_writes_a_picture(tmp_path, capsys):
    out = tmp_path / "deep" / "plan.png"
    few = [f"--set=planner.{setting}" for setting in ("num_samples=8", "num_elites=4", "iterations=2")]
    assert main(["--agent", "jepa_wm_wall", "--seed", "3", "--out", str(out), *few]) == 0
    assert str(out) in capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.size == (76 + 8 * 134 - 6 + 18, 22 + 2 * 134 - 6)


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["--agent", "nobody"], "Unknown agent 'nobody'", 2),
        (["--agent", "do_nothing", "--env", "JepaWM/Wall-v0"], "imagines nothing that could be drawn", 1),
        (["--agent", "jepa_wm_wall", "--decoder", "absent"], "There is no head at absent", 1),
    ],
)
def test_the_command_answers_mistakes_with_a_sentence(tmp_path, capsys, words, message, code):
    assert main([*words, "--out", str(tmp_path / "plan.png")]) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "plan.png").exists()

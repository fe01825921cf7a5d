"""PointMaze as an environment: pictures, drivers, distances, factors and refusals."""

from __future__ import annotations

import copy
import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("mujoco")

from gymnasium.utils.env_checker import check_env

from jepawm_envs.errors import InvalidOption, InvalidState
from jepawm_envs.pointmaze.env import PointMazeEnv
from jepawm_envs.pointmaze.layouts import MAZES
from jepawm_envs.rendering import RenderingError, backend


@pytest.fixture
def needs_pictures():
    try:
        backend()
    except RenderingError as problem:
        pytest.skip(str(problem))


@pytest.fixture
def make():
    made: list[PointMazeEnv] = []

    def build(**settings) -> PointMazeEnv:
        env = PointMazeEnv(**{"obs_type": "state", **settings})
        made.append(env)
        return env

    yield build
    for env in made:
        env.close()


def at(x: float, y: float) -> np.ndarray:
    return np.array([x, y, 0.0, 0.0])


def middle_of_ball(picture: np.ndarray, elsewhere: np.ndarray) -> tuple[float, float, float]:
    """Row, column and radius of the disc: where a picture differs from one whose ball is elsewhere, and is green."""
    green = picture[..., 1].astype(int) - elsewhere[..., 1]
    rows, columns = np.nonzero(green > 20)
    return rows.mean(), columns.mean(), float(np.sqrt(len(rows) / np.pi))


@pytest.mark.usefixtures("needs_pictures")
@pytest.mark.parametrize("quality", ["paper", "fast"])
@pytest.mark.parametrize("position", [(1.0, 0.8), (3.0, 3.0), (0.8, 2.9), (2.8, 0.7)])
def test_the_disc_is_where_the_published_camera_shows_it(make, quality, position):
    row, column, radius = middle_of_ball(*make(render_quality=quality).draw([at(*position), at(1.8, 2.8)], 224))
    x, y = np.add(position, 1.2)
    assert abs(row - (111.5 + 27.8 * (y - 3))) < 0.7
    assert abs(column - (112 + 27.8 * (x - 3))) < 0.7
    assert abs(radius - 5.6) < 0.3


@pytest.mark.usefixtures("needs_pictures")
def test_colours_are_the_published_ones_and_the_maze_is_where_it_should_be(make):
    picture = make().draw(at(1.0, 0.8), 224).astype(int)

    def pixel(x: float, y: float) -> np.ndarray:
        return picture[round(111.5 + 27.8 * (y - 3)), round(112 + 27.8 * (x - 3))]

    np.testing.assert_allclose(pixel(2.2, 2.0), (100, 191, 100), atol=12)
    for i, j in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 1), (2, 2)):
        np.testing.assert_allclose(pixel(i + 1, j + 1), (221, 160, 99), atol=12)
    for i, j in ((1, 2), (1, 3), (2, 3), (3, 1)):
        color = pixel(i + 1, j + 1)
        assert color[2] > color[0] + 20 and color.max() < 130


@pytest.mark.usefixtures("needs_pictures")
@pytest.mark.parametrize("maze", sorted(MAZES))
def test_a_batch_is_drawn_like_single_pictures_and_no_maze_leaves_the_picture(make, maze):
    env = make(maze=maze)
    states = np.stack([env.sample_states(seed)[0] for seed in range(4)]).reshape(2, 2, 4)
    together = env.draw(states, 64)
    assert together.shape == (2, 2, 64, 64, 3) and together.dtype == np.uint8
    for index in np.ndindex(2, 2):
        np.testing.assert_array_equal(together[index], env.draw(states[index], 64))
    border = np.concatenate([together[0, 0][0], together[0, 0][-1], together[0, 0][:, 0], together[0, 0][:, -1]])
    assert (border[:, 0] < 100).all()  # no wall, which is bright in red


@pytest.mark.usefixtures("needs_pictures")
def test_two_environments_take_turns_without_mixing_pictures_or_states(make):
    one, two = make(obs_type="pixels", image_size=64), make(obs_type="pixels", image_size=64, maze="large")
    alone = make(obs_type="pixels", image_size=64)
    first, _ = one.reset(seed=3)
    two.reset(seed=4)
    expected, _ = alone.reset(seed=3)
    np.testing.assert_array_equal(first["pixels"], expected["pixels"])
    for action in np.random.default_rng(0).uniform(-1, 1, (5, 2)):
        seen, _, _, _, info = one.step(action)
        two.step(-action)
        wanted, _, _, _, wanted_info = alone.step(action)
        np.testing.assert_array_equal(info["state"], wanted_info["state"])
        np.testing.assert_array_equal(seen["pixels"], wanted["pixels"])


@pytest.mark.usefixtures("needs_pictures")
@pytest.mark.parametrize("obs_type", ["pixels", "state"])
def test_gymnasium_accepts_the_environment(make, obs_type):
    check_env(make(obs_type=obs_type, image_size=32), skip_render_check=True)


@pytest.mark.usefixtures("needs_pictures")
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_continues_exactly_alike(make, clone):
    env = make(obs_type="pixels", image_size=32)
    env.reset(seed=5)
    env.step([0.3, -0.8])
    env.render()
    twin = clone(env)
    for action in np.random.default_rng(0).uniform(-1, 1, (10, 2)):
        np.testing.assert_array_equal(env.step(action)[4]["state"], twin.step(action)[4]["state"])
    np.testing.assert_array_equal(env.render(), twin.render())
    twin.close()


def test_another_process_gives_the_same_states():
    code = (
        "import hashlib, numpy as np; from jepawm_envs.pointmaze.env import PointMazeEnv;"
        "env = PointMazeEnv(obs_type='state'); states, _ = env.random_episode(np.random.default_rng(7), 100);"
        "print(hashlib.sha256(states.tobytes()).hexdigest())"
    )
    states, actions = PointMazeEnv(obs_type="state").random_episode(np.random.default_rng(7), 100)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == hashlib.sha256(states.tobytes()).hexdigest()
    assert states.shape == (101, 4) and actions.shape == (100, 2)


def test_the_behaviour_data_has_the_published_deviations():
    env = PointMazeEnv(obs_type="state")
    episodes = [env.random_episode(np.random.default_rng(seed), 100) for seed in range(100)]
    actions = np.concatenate([actions for _, actions in episodes])
    velocities = np.concatenate([states[:, 2:] for states, _ in episodes])
    np.testing.assert_allclose(actions.std(axis=0), 0.577, atol=0.02)
    assert velocities.std(axis=0).min() > 1.4 and velocities.std(axis=0).max() < 2.2


def drive(env: PointMazeEnv, seed: int, steps: int, policy) -> float:
    state, goal = env.sample_states(seed)
    for _ in range(steps):
        state = env.simulate(state, policy(state, goal)[None])[0]
    return float(env.distances(state, goal)["position"])


@pytest.mark.parametrize(
    ("maze", "steps"), [("umaze", 30), ("umaze", 60), ("open", 60), ("medium", 100), ("large", 150)]
)
def test_the_oracle_arrives_and_stays(make, maze, steps):
    env = make(maze=maze)
    ends = np.array([drive(env, seed, steps, env.expert_action) for seed in range(1, 31)])
    assert (ends < 0.1).mean() >= 0.98


def test_a_straight_driver_is_stopped_by_the_wall_of_the_u(make):
    env = make()
    state, goal = at(0.8, 0.8), at(2.8, 0.8)
    for _ in range(60):
        state = env.simulate(state, env.straight_line_action(state, goal)[None])[0]
    assert state[0] < 1.3
    assert drive(make(maze="open", start_velocity="rest"), 1, 60, env.straight_line_action) < 0.1


def test_the_shortest_way_goes_around_the_inner_wall(make):
    env = make()
    # Inner corners at q = (1.3, 2.3) and (2.3, 2.3), passed at (1.2, 2.4) and (2.4, 2.4) by a ball of radius 0.1.
    expected = 2 * np.hypot(0.4, 1.6) + 1.2
    found = env.difficulty(at(0.8, 0.8), at(2.8, 0.8))
    assert found["geodesic"] == pytest.approx(expected, abs=1e-6)
    assert found["euclidean"] == pytest.approx(2.0)
    straight = env.difficulty(at(0.8, 0.8), at(0.8, 2.8))
    assert straight["geodesic"] == pytest.approx(straight["euclidean"]) == pytest.approx(2.0)


@pytest.mark.parametrize("maze", sorted(MAZES))
def test_ways_are_symmetric_finite_and_never_shorter_than_the_straight_line(make, maze):
    env = make(maze=maze)
    for seed in range(30):
        init, goal = env.sample_states(seed)
        there, back = env.difficulty(init, goal), env.difficulty(goal, init)
        assert there["geodesic"] == pytest.approx(back["geodesic"])
        assert there["euclidean"] - 1e-9 <= there["geodesic"] < 30


def test_sampled_states_are_possible_and_rest_only_takes_the_velocity_away(make):
    for maze in MAZES:
        env, rest = make(maze=maze), make(maze=maze, start_velocity="rest")
        for seed in range(50):
            for moving, still in zip(env.sample_states(seed), rest.sample_states(seed), strict=True):
                env.check_state(moving)
                np.testing.assert_array_equal(still, [*moving[:2], 0, 0])


def test_success_is_a_matter_of_position_alone(make):
    env = make()
    goal = np.array([0.8, 1.0, 4.0, -4.0])
    assert env.is_success(at(0.8, 1.499), goal) and not env.is_success(at(0.8, 1.501), goal)
    strict = env.predicates[-1]
    assert strict.met(env.distances(at(0.8, 1.099), goal)) and not strict.met(env.distances(at(0.8, 1.101), goal))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ((1.8, 0.8, 0, 0), "wall of the maze umaze"),
        ((-1.0, 0.8, 0, 0), "wall of the maze"),
        ((1e6, 0.8, 0, 0), "wall of the maze"),
        ((0.8, 0.8, 0, 9.0), "velocities must lie between"),
    ],
)
def test_impossible_states_are_refused(make, state, words):
    with pytest.raises(InvalidState, match=words):
        make().reset(seed=0, options={"init_state": state})


def test_unknown_mazes_and_velocities_are_refused():
    with pytest.raises(InvalidOption, match="umaze, open, medium, large"):
        PointMazeEnv(maze="giant")
    with pytest.raises(InvalidOption, match="random, rest"):
        PointMazeEnv(start_velocity="fast")  # pyright: ignore[reportArgumentType]


@pytest.mark.usefixtures("needs_pictures")
def test_each_appearance_factor_changes_the_picture_and_no_state(make):
    plain = make(obs_type="pixels", image_size=64)
    picture = plain.reset(seed=1)[0]["pixels"]
    after = plain.step([0.5, 0.5])[4]["state"]
    for factor in PointMazeEnv.factors:
        if factor.kind == "appearance":
            env = make(obs_type="pixels", image_size=64, factors={factor.name: "sample"})
            changed = env.reset(seed=1)[0]["pixels"]
            assert (changed != picture).any(), factor.name
            np.testing.assert_array_equal(env.step([0.5, 0.5])[4]["state"], after)
            back = env.reset(seed=1, options={"factors": {factor.name: factor.default}})[0]["pixels"]
            np.testing.assert_array_equal(back, picture, err_msg=factor.name)


@pytest.mark.usefixtures("needs_pictures")
def test_each_physics_factor_changes_the_states_and_no_picture(make):
    plain = make(obs_type="pixels", image_size=64)
    picture = plain.reset(seed=1)[0]["pixels"]
    after = plain.step([0.5, 0.5])[4]["state"]
    for name in ("ball.density", "joint.damping"):
        env = make(obs_type="pixels", image_size=64, factors=[name])
        np.testing.assert_array_equal(env.reset(seed=1)[0]["pixels"], picture)
        assert (env.step([0.5, 0.5])[4]["state"] != after).any()


@pytest.mark.usefixtures("needs_pictures")
def test_the_colour_asked_for_is_the_hue_that_is_seen(make):
    env = make(factors={"ball.color": (0, 0, 255)})
    env.reset(seed=0)
    picture = env.draw(at(1.0, 0.8), 224).astype(int)
    red, green, blue = picture[round(111.5 - 27.8), round(112 - 27.8 * 0.8)]
    assert blue > 150 and red < 30 and green < 30

"""Data sets that can be collected, and layouts that can be converted."""

from __future__ import annotations

from jepawm_envs.data.readers.table import LAYOUTS
from jepawm_envs.registration import ENVIRONMENTS

Row = dict[str, str | int]

PUBLISHED: tuple[tuple[str, str, int, int, str], ...] = (
    ("wall", "JepaWM/Wall-v0", 1920, 50, "random walks"),
    ("two_rooms", "JepaWM/TwoRooms-v0", 10_000, 90, "random walks, some led through the door"),
    ("point_maze", "JepaWM/PointMaze-v0", 2000, 100, "random forces"),
    ("pusht", "JepaWM/PushT-v0", 18_500, 130, "scripted pushing with noise"),
    ("metaworld_reach", "JepaWM/MetaworldReach-v0", 300, 99, "expert with noise or wandering; as many of each other"),
)
"""Name, environment, published episodes and steps, behaviour (arXiv 2512.24497, Table S2: 12,600 of Metaworld are 300
of each task). Our choice: the number for Two Rooms, which EB-JEPA generates without end, and one length for Push-T,
whose episodes have 100 to 300 steps."""


def list_datasets() -> list[Row]:
    """Rows for ``jepawm-bench list datasets``: behaviour data of the environments there are, then layouts."""
    collected: list[Row] = [
        {
            "name": name,
            "env": env_id,
            "episodes": episodes,
            "steps": steps,
            "summary": f"{behaviour}; jepawm-bench data collect --env {env_id} --episodes {episodes} --steps {steps} "
            f"--out {name}",
        }
        for name, env_id, episodes, steps, behaviour in PUBLISHED
        if env_id in ENVIRONMENTS
    ]
    return collected + [
        {"name": name, "summary": f"{summary}; jepawm-bench data convert --layout {name} --from PATH --out STORE"}
        for name, (_, summary) in LAYOUTS.items()
    ]

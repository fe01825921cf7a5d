"""Make the catalogue in ``envs/README.md`` and its pictures from the registered environments.

``python docs/catalogue.py`` writes both, ``--check`` exits 1 if the page differs (pictures are not compared, since
OpenGL libraries differ).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import gymnasium
import numpy as np
from PIL import Image, ImageDraw

from jepawm_bench.protocols import family, short_name
from jepawm_envs.goal_env import GoalEnv
from jepawm_envs.predicates import Predicate
from jepawm_envs.registration import ENVIRONMENTS, EnvRecord

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "envs" / "README.md"
PICTURES = ROOT / "docs" / "environments"
SLOT = re.compile(r"(<!-- catalogue -->\n).*?(<!-- end of catalogue -->)", re.DOTALL)
SIZE, GAP, CAPTION = 128, 4, 16
TILES_ACROSS = 7
SEED = 1


def families() -> dict[str, list[EnvRecord]]:
    """Records by leaderboard page."""
    found: dict[str, list[EnvRecord]] = {}
    for record in ENVIRONMENTS.values():
        found.setdefault(family(record.id), []).append(record)
    return found


def catalogue() -> str:
    """The generated part of the page."""
    singles = [records[0] for records in families().values() if len(records) == 1]
    shared = {name: records for name, records in families().items() if len(records) > 1}
    lines = [
        "| start and goal | id | task | action | goal state | success | steps |",
        "|---|---|---|---|---|---|--:|",
        *(_row(record) for record in singles),
    ]
    parts = ["\n".join(lines)]
    for name, records in shared.items():
        parts += [f"### {name.capitalize()}: {len(records)} tasks", _shared(name, records)]
    return "\n\n".join(parts) + "\n"


def _row(record: EnvRecord) -> str:
    env = _make(record)
    picture = f"![{record.id}](../docs/environments/{short_name(record.id)}.png)"
    low, high = env.action_bounds
    cells = (
        picture,
        f"`{record.id}`",
        record.summary,
        f"{env.action_dim} numbers in [{low:g}, {high:g}]",
        f"{env.state_dim} numbers",
        _rules(env.predicates),
        str(record.max_episode_steps),
    )
    return f"| {' | '.join(cells)} |"


def _rules(predicates: Iterable[Predicate]) -> str:
    return "; ".join(
        f"`{rule.id}`: " + ", ".join(f"{quantity} < {limit:g}" for quantity, limit in rule.limits.items())
        for rule in predicates
    )


def _shared(name: str, records: list[EnvRecord]) -> str:
    env = _make(records[0])
    low, high = env.action_bounds
    facts = (
        f"Actions: {env.action_dim} numbers in [{low:g}, {high:g}]; success: {_rules(env.predicates)}; "
        f'{records[0].max_episode_steps} steps. Needs `pip install "jepawm-bench[{records[0].extra}]"`.'
    )
    ids = ", ".join(f"`{record.id}`" for record in records)
    return f"{facts}\n\n![the start of every task](../docs/environments/{name}.png)\n\n{ids}"


def draw_all() -> None:
    """Write the pictures: start and goal of a single environment, a sheet of starts of a family."""
    PICTURES.mkdir(exist_ok=True)
    for name, records in families().items():
        picture = _pair(records[0]) if len(records) == 1 else _sheet(records)
        picture.quantize(256, dither=Image.Dither.NONE).save(PICTURES / f"{name}.png", optimize=True)


def _pair(record: EnvRecord) -> Image.Image:
    gap = np.full((SIZE, GAP, 3), 255, dtype=np.uint8)
    return Image.fromarray(np.concatenate([_shown(record, "pixels"), gap, _shown(record, "goal_pixels")], axis=1))


def _sheet(records: list[EnvRecord]) -> Image.Image:
    rows = -(-len(records) // TILES_ACROSS)
    sheet = Image.new("RGB", (TILES_ACROSS * (SIZE + GAP) - GAP, rows * (SIZE + GAP + CAPTION)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, record in enumerate(records):
        left, top = index % TILES_ACROSS * (SIZE + GAP), index // TILES_ACROSS * (SIZE + GAP + CAPTION)
        title = short_name(record.id).removeprefix(f"{family(record.id)}-")
        pen.text((left + 2, top + 2), title, fill="black", font_size=11 if len(title) < 22 else 9)
        sheet.paste(Image.fromarray(_shown(record, "pixels")), (left, top + CAPTION))
    return sheet


def _shown(record: EnvRecord, key: str) -> np.ndarray:
    env = _make(record)
    observation, _ = env.reset(seed=SEED)
    picture = np.array(observation[key])
    env.close()
    return picture


def _make(record: EnvRecord) -> GoalEnv:
    env = gymnasium.make(record.id, image_size=SIZE, disable_env_checker=True).unwrapped
    assert isinstance(env, GoalEnv)
    return env


def filled(page: str) -> str:
    """The page with the catalogue in its slot."""
    return SLOT.sub(lambda match: f"{match.group(1)}{catalogue()}{match.group(2)}", page)


if __name__ == "__main__":
    before = PAGE.read_text()
    after = filled(before)
    if "--check" in sys.argv[1:]:
        sys.exit(0 if after == before else "envs/README.md: the catalogue differs; run python docs/catalogue.py")
    PAGE.write_text(after)
    draw_all()

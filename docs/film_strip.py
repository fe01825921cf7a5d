"""Draw one stored episode as a strip: start, the state after every model step, goal.

``python docs/film_strip.py RUN EPISODE OUT.png``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gymnasium
import numpy as np
from PIL import Image, ImageDraw

import jepawm_envs  # noqa: F401, registers the ids

SIZE, GAP, CAPTION = 160, 6, 22


def film_strip(run: Path, episode: int) -> Image.Image:
    """The strip of one episode of a run folder."""
    record = json.loads((run / "run.json").read_text())
    with np.load(run / "traces.npz") as traces:
        states = traces[f"states_{episode:05d}"]
    lines = (run / "episodes.jsonl").read_text().splitlines()
    goal = next(row["goal_state"] for row in map(json.loads, lines) if row["episode"] == episode)
    env = gymnasium.make(record["identity"]["env"]).unwrapped
    skip = env.frameskip
    moments = [("start" if t == 0 else f"step {t}", states[t]) for t in range(0, len(states), skip)]
    moments.append(("goal", np.array(goal)))
    strip = Image.new("RGB", (len(moments) * (SIZE + GAP) - GAP, SIZE + CAPTION), "white")
    pen = ImageDraw.Draw(strip)
    for column, (name, state) in enumerate(moments):
        left = column * (SIZE + GAP)
        strip.paste(Image.fromarray(env.draw(state, SIZE)), (left, CAPTION))
        pen.text((left + 4, 4), name, fill="black", font_size=14)
    return strip


if __name__ == "__main__":
    film_strip(Path(sys.argv[1]), int(sys.argv[2])).save(sys.argv[3])

"""The 42 tasks of the published world models, in the published order (jepa-wms ``common/__init__.py:17-60``)."""

from __future__ import annotations

import difflib

from jepawm_envs.errors import InvalidOption

TASKS = (
    "assembly",
    "bin-picking",
    "box-close",
    "button-press-topdown",
    "button-press-topdown-wall",
    "button-press",
    "button-press-wall",
    "coffee-button",
    "disassemble",
    "door-close",
    "door-lock",
    "door-open",
    "drawer-close",
    "drawer-open",
    "faucet-open",
    "faucet-close",
    "hammer",
    "handle-press-side",
    "handle-press",
    "handle-pull-side",
    "handle-pull",
    "lever-pull",
    "peg-insert-side",
    "pick-place-wall",
    "pick-out-of-hole",
    "reach",
    "push-back",
    "push",
    "pick-place",
    "plate-slide",
    "plate-slide-side",
    "plate-slide-back",
    "plate-slide-back-side",
    "peg-unplug-side",
    "soccer",
    "stick-push",
    "stick-pull",
    "push-wall",
    "reach-wall",
    "shelf-place",
    "sweep-into",
    "window-close",
)

PUBLISHED_EVALUATIONS = ("reach", "reach-wall")
"""The two that the published tables report; the others are there for training data and for new results."""


def env_id(task: str) -> str:
    """``JepaWM/MetaworldReachWall-v0`` for ``reach-wall``."""
    return f"JepaWM/Metaworld{''.join(word.capitalize() for word in check_task_name(task).split('-'))}-v0"


def library_name(task: str) -> str:
    """What Metaworld calls the task: ``reach-wall-v3``."""
    return f"{check_task_name(task)}-v3"


def summary(task: str) -> str:
    """One line for a list of environments."""
    return f"Sawyer arm, {check_task_name(task).replace('-', ' ')} (Metaworld)."


def check_task_name(task: str) -> str:
    """``task`` itself if it is one of :data:`TASKS`.

    Raises:
        InvalidOption: naming the nearest tasks.
    """
    if task not in TASKS:
        near = difflib.get_close_matches(str(task), TASKS, n=3) or TASKS[:3]
        raise InvalidOption(f"task={task!r} is none of the 42 Metaworld tasks; did you mean {' or '.join(near)}?")
    return task

"""Data sets that can be collected."""

from __future__ import annotations


def list_datasets() -> list[dict[str, str | int]]:
    """Rows for ``jepawm-bench list datasets``: the published behaviour data of every environment."""
    return [
        {
            "name": "wall",
            "env": "JepaWM/Wall-v0",
            "episodes": 1920,
            "steps": 50,
            "summary": "random walks; jepawm-bench data collect --env JepaWM/Wall-v0 --out wall.h5",
        }
    ]

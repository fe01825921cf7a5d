"""A recipe and its trainer."""

import json


def list_recipes():
    """One recipe."""
    return [{"name": "example/tiny", "summary": "Writes its settings to a file."}]


def main(recipe, *, settings, out, resume, progress):
    """Pretend to train."""
    if settings.get("epochs", 1) < 1:
        raise ValueError("epochs must be at least 1.")
    if settings.get("epochs", 1) > 100:
        raise RuntimeError("the loss is not finite.")
    progress("training", 1, 1, {"loss": 0.5})
    out.mkdir(parents=True, exist_ok=True)
    path = out / "model.json"
    path.write_text(json.dumps({"recipe": recipe, "settings": settings, "resume": resume}))
    return path


def list_ablations():
    """One grid."""
    cells = {"short": {"epochs": 1}, "long": {"epochs": 3, "table": {"text": "a b"}}}
    return [{"name": "example_length", "summary": "How long.", "recipe": "example/tiny", "cells": cells}]

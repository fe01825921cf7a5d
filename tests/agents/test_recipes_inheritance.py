"""A recipe over its base and the defaults, and ablations over recipes."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

from jepawm_agents.errors import ConfigError
from jepawm_agents.training.recipes import list_ablations, list_recipes, load_recipe, table
from jepawm_agents.training.run import KINDS
from jepawm_agents.world_models.weights import build

BASE = """
name = "one/base"
summary = "the base"
agent = "somebody"
published = "base_config"

[data]
env = "Somewhere-v0"
steps = 5

[model.predictor]
family = "adaln"
width = 8

[reached]
seconds = 1
"""
HEIR = """
name = "one/heir"
base = "one/base"
summary = "the heir"

[data]
steps = 6
"""


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    """Writes recipes in place of the package's own, beside its defaults."""
    defaults = tmp_path / "defaults"
    defaults.mkdir()
    (defaults / "world_model.toml").write_text("[data]\nsteps = 1\nseed = 3\n\n[free]\n")
    monkeypatch.setattr(table, "files", lambda package: tmp_path)

    def write(*texts: str) -> None:
        (tmp_path / "one").mkdir()
        for number, text in enumerate(texts):
            (tmp_path / "one" / f"{number}.toml").write_text(text)

    return write


def test_an_heir_has_what_it_states_then_its_base_then_the_defaults(recipes):
    recipes(HEIR, BASE)
    assert load_recipe("one/heir") == {
        "name": "one/heir",
        "summary": "the heir",
        "agent": "somebody",
        "kind": "world_model",
        "data": {"env": "Somewhere-v0", "steps": 6, "seed": 3},
        "model": {"predictor": {"family": "adaln", "width": 8}},
        "free": {},
    }
    assert load_recipe("one/base")["data"]["steps"] == 5


def test_another_family_takes_over_no_sizes(recipes):
    recipes(BASE, HEIR + '\n[model.predictor]\nfamily = "dino_wm"\ndepth = 2\n')
    assert load_recipe("one/heir")["model"]["predictor"] == {"family": "dino_wm", "depth": 2}
    changed = load_recipe("one/base", {"model": {"predictor": {"family": "action_token", "depth": 1}}})
    assert changed["model"]["predictor"] == {"family": "action_token", "depth": 1}
    same = load_recipe("one/base", {"model": {"predictor": {"family": "adaln", "width": 9}}})
    assert same["model"]["predictor"] == {"family": "adaln", "width": 9}


def test_an_empty_table_takes_any_keys(recipes):
    recipes(BASE)
    assert load_recipe("one/base", {"free": {"anything": [1]}})["free"] == {"anything": [1]}


def test_a_base_may_have_a_base(recipes):
    recipes(BASE, HEIR, HEIR.replace("one/heir", "one/grandchild").replace('base = "one/base"', 'base = "one/heir"'))
    heir, grandchild = load_recipe("one/heir"), load_recipe("one/grandchild")
    assert {**grandchild, "name": "one/heir"} == heir


def test_bases_in_a_circle_are_refused(recipes):
    recipes(
        HEIR.replace('base = "one/base"', 'base = "one/two"'),
        HEIR.replace("one/heir", "one/two").replace('base = "one/base"', 'base = "one/heir"'),
    )
    with pytest.raises(ConfigError, match="is its own base, by way of"):
        load_recipe("one/heir")


def test_an_unknown_base_is_refused_with_the_nearest_name(recipes):
    recipes(BASE, HEIR.replace('base = "one/base"', 'base = "one/bass"'))
    with pytest.raises(ConfigError, match=r"Recipe 'one/heir': Unknown base 'one/bass'\. Did you mean one/base"):
        load_recipe("one/base")


# Ablations

CELLS = [(grid["name"], cell) for grid in list_ablations() for cell in grid["cells"]]


def ablated(name: str, cell: str):
    grid = next(grid for grid in list_ablations() if grid["name"] == name)
    return load_recipe(grid["recipe"], grid["cells"][cell])


@pytest.mark.parametrize(("name", "cell"), CELLS)
def test_every_cell_of_every_ablation_can_be_trained(name, cell):
    plan = ablated(name, cell)
    import_module(KINDS[plan["kind"]]).check(plan)


def test_the_ablations_of_the_study_are_there():
    assert {grid["name"]: list(grid["cells"]) for grid in list_ablations()}.items() >= {
        "context": ["1", "2", "3", "4", "5", "6", "7"],
        "rollout": ["1", "2", "3", "6"],
        "depth": ["1", "2", "3", "6"],
        "proprioception": ["on", "off"],
    }.items()
    assert {grid["recipe"] for grid in list_ablations()} <= {recipe["name"] for recipe in list_recipes()}
    for context in range(1, 8):
        settings = ablated("context", str(context))["train"]
        assert settings["frames"] == context + 1
        # Without imagined steps the frames they see mean nothing: nothing else differs between the cells.
        assert settings | {"frames": 2} == ablated("context", "1")["train"] and settings["rollout_steps"] == 1
    for steps in (1, 2, 3, 6):
        assert ablated("rollout", str(steps))["train"]["rollout_steps"] == steps


def test_the_rollout_cells_are_the_published_ones():
    """``{steps}/random/sg/W3``, six steps in windows of eight frames (jepa-wms ``*_6roll_hist7``), others of four."""
    names = {"1": "", "2": "_rollout2", "3": "_rollout3", "6": "_rollout6_context7"}
    keys = ("rollout_steps", "frames", "window", "prefixes", "stop_gradient")
    for cell, name in names.items():
        published = load_recipe(f"full/metaworld_dino_wm_noproprio{name}")["train"]
        assert {key: ablated("rollout", cell)["train"][key] for key in keys} == {key: published[key] for key in keys}
    assert ablated("rollout", "6")["train"]["window"] == 3
    changed = {"rollout_steps": 6, "frames": 8}
    assert ablated("rollout", "6")["train"] == ablated("rollout", "1")["train"] | changed


def test_ways_of_conditioning_have_about_the_same_size():
    def parameters(cell: str) -> int:
        plan = ablated("conditioning", cell)
        with torch.device("meta"):
            model = build({"encoder": plan["encoder"]["model"], **plan["model"], "action_dim": 2, "proprio_dim": 2})
        assert model.predictor.proprio_encoder is None
        return sum(parameter.numel() for parameter in model.predictor.parameters())

    sizes = [parameters(cell) for cell in ("adaln", "action_token", "feature_rope", "feature")]
    assert max(sizes) < 1.25 * min(sizes)

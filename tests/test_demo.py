"""``make demo`` scores every agent whose weights ship, each where it plays."""

from __future__ import annotations

import re
from pathlib import Path

from jepawm_agents.cards import all_cards
from jepawm_envs.registration import ENVIRONMENTS

MAKEFILE = (Path(__file__).resolve().parents[1] / "Makefile").read_text()


def variable(name: str) -> list[str]:
    found = re.search(rf"^{name} := (.*)$", MAKEFILE, re.MULTILINE)
    assert found, f"the Makefile has no {name}"
    return found.group(1).split()


def test_the_demo_installs_what_its_environments_need():
    (installed,) = re.findall(r'--editable "\.\[(agents[\w,]*)\]"', MAKEFILE)
    needed = {ENVIRONMENTS[f"JepaWM/{env}-v0"].extra for env in variable("DEMO_ENVS")} - {None}
    assert needed <= set(installed.split(","))


def test_the_demo_plays_every_shipped_agent():
    shipped = {
        (card.default_env, card.name)
        for card in all_cards()
        if any("weights" in variant for variant in card.variants.values())
    }
    played = {
        (f"JepaWM/{env}-v0", agent)
        for env in variable("DEMO_ENVS")
        for agent in variable(f"AGENTS_{env}")
        if agent.startswith(("jepa_wm", "dino_wm", "eb_jepa"))
    }
    assert played >= shipped
    assert {agent for _, agent in played} == {agent for _, agent in shipped}

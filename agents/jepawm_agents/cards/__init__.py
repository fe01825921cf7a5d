"""Agent cards: every TOML file of this folder names one agent; reading them imports no torch."""

from jepawm_agents.cards.table import all_cards as all_cards

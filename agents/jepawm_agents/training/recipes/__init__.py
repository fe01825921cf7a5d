"""Training recipes as data: TOML files, one a model; ``compact`` for CPUs, ``full`` those of the study."""

from jepawm_agents.training.recipes.table import list_ablations as list_ablations
from jepawm_agents.training.recipes.table import list_recipes as list_recipes
from jepawm_agents.training.recipes.table import load_recipe as load_recipe

"""Training recipes as data: every TOML file of this folder is one."""

from jepawm_agents.training.recipes.table import list_recipes as list_recipes
from jepawm_agents.training.recipes.table import load_recipe as load_recipe

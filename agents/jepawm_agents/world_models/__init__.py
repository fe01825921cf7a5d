"""World models: encoders, predictors and what holds them together."""

from jepawm_agents.world_models.eb_jepa import eb_jepa_from_reference as eb_jepa_from_reference
from jepawm_agents.world_models.jepa import JEPAWorldModel as JEPAWorldModel
from jepawm_agents.world_models.reference import from_reference as from_reference
from jepawm_agents.world_models.weights import load_world_model as load_world_model
from jepawm_agents.world_models.weights import save_world_model as save_world_model

"""Planners: ``make_planner(name, **settings)`` and the types they share."""

from jepawm_agents.planners.registry import PLANNERS as PLANNERS
from jepawm_agents.planners.registry import list_planners as list_planners
from jepawm_agents.planners.registry import make_planner as make_planner

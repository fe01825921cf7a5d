"""Grids of runs or trainings: which cells there are, what of them is done, who works on them, and what came out."""

from jepawm_bench.sweeps.grid import Cell as Cell
from jepawm_bench.sweeps.grid import make_cells as make_cells
from jepawm_bench.sweeps.sweep import sweep as sweep

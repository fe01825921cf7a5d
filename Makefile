# Everything a fresh machine needs: Python 3.11 or newer; what pip cannot bring is installed where that is allowed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
# Headline rows: protocol paper, what each environment's shipped agents reach, and what bounds them.
DEMO_ENVS := Wall TwoRooms PointMaze PushT MetaworldReach MetaworldReachWall
AGENTS_Wall := do_nothing random straight_line oracle true_simulator jepa_wm_wall dino_wm_wall
AGENTS_TwoRooms := straight_line oracle eb_jepa_two_rooms
AGENTS_PointMaze := straight_line oracle jepa_wm_pointmaze dino_wm_pointmaze
AGENTS_PushT := straight_line oracle jepa_wm_pusht dino_wm_pusht
AGENTS_MetaworldReach := straight_line oracle jepa_wm_metaworld dino_wm_metaworld
AGENTS_MetaworldReachWall := straight_line oracle jepa_wm_metaworld dino_wm_metaworld

.PHONY: demo test lint bench clean
.NOTPARALLEL: demo

demo: $(VENV)/.agents $(DEMO_ENVS:%=demo-%)  ## install, then score the shipped agents and print a table an environment

demo-%: $(VENV)/.agents  ## the same for one environment, such as demo-Wall
	@rm -rf $(DEMO)/$*
	@for agent in $(AGENTS_$*); do \
	  $(BIN)/jepawm-bench run --agent $$agent --env JepaWM/$*-v0 --out $(DEMO)/$*/$$agent || exit 1; done
	@$(BIN)/jepawm-bench leaderboard --runs $(DEMO)/$*

test: $(VENV)/.dev  ## install, then run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto

lint: $(VENV)/.dev  ## style, types and boundaries
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## time the parts
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-columns=min,median,iqr,rounds

clean:
	rm -rf $(VENV) runs

$(BIN)/python:
	@tools/system_packages.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.agents: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[agents,metaworld]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@ $(VENV)/.agents

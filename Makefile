# Everything a fresh machine needs: Python 3.11 or newer; what pip cannot bring is installed where that is allowed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
AGENTS := do_nothing random straight_line oracle true_simulator jepa_wm_wall

.PHONY: demo test lint bench clean

demo: $(VENV)/.agents  ## install, then score the agents on Wall and print the table
	@rm -rf $(DEMO)
	@for agent in $(AGENTS); do $(BIN)/jepawm-bench run --agent $$agent --env JepaWM/Wall-v0 --out $(DEMO)/$$agent || exit 1; done
	@$(BIN)/jepawm-bench leaderboard --runs $(DEMO)

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
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[agents]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@ $(VENV)/.agents

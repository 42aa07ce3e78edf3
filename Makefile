# Every target sets up what it needs: a virtual environment in .venv with Omma and its tools installed.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2
export OMP_NUM_THREADS ?= 1

.PHONY: help install demo test golden lint format bench chaos clean

help:
	@echo "make demo    train a small detector on generated data and show the result (CPU, minutes)"
	@echo "make test    run the tests"
	@echo "make golden  compare with OpenMMLab's outputs (folder OMMA_GOLDEN, default ../shared/golden)"
	@echo "make lint    ruff, import floors, types"
	@echo "make bench   run the benchmarks and print their tables"
	@echo "make chaos   hurt runs in every way that machines have and see that they go on (minutes)"

install: .venv/installed

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: install
	env -u OMP_NUM_THREADS $(BIN)/omma demo

test: install
	$(BIN)/python -m pytest tests --ignore=tests/golden -n $(JOBS) --dist worksteal

golden: install
	$(BIN)/python -m pytest tests/golden -n $(JOBS) --dist worksteal

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

chaos: install
	$(BIN)/python tests/chaos/campaign.py

clean:
	rm -rf .venv build dist

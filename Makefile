# Everything below works on a fresh machine with Python 3.11+, a C++ compiler and the Python package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

.PHONY: help
help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Setting up $(VENV), which takes about a minute."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,demo,bench]'
	@touch $@

.PHONY: install
install: $(VENV)/.installed  ## set up .venv with everything

.PHONY: demo
demo: install  ## the main job on real input; KEEP=1 leaves the daemon running, S3=1 puts the lake on an S3 server
	$(BIN)/python examples/demo.py $(if $(KEEP),--keep) $(if $(S3),--s3)

.PHONY: test
test: install  ## run the tests, on every core
	$(BIN)/python -m pytest -n auto

.PHONY: check
check: install  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: bench
bench: install  ## run the benchmarks, or one: make bench NAME=ingest
	$(BIN)/python -m bench $(NAME)

.PHONY: bench-lance
bench-lance: install  ## compare hnsw and Lance on 100K and 1M real vectors, for half an hour
	$(BIN)/python -m bench lance

.PHONY: soak
soak: install  ## the long tests: kill -9 at every step, ten thousand schedules of faults
	$(BIN)/python -m pytest -m soak --override-ini 'addopts=--import-mode=importlib --strict-markers --strict-config -ra' --timeout 3600

.PHONY: golden
golden: install  ## rewrite the golden files; read the diff before committing it
	$(BIN)/python -m pytest --update-golden -q

.PHONY: clean
clean:  ## remove what make made
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis

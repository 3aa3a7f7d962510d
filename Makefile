# `make help` lists what there is. Everything sets itself up; a second run starts at once.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
export PYTHON

.PHONY: help setup demo fmt lint types test test-quick bench bench-quick docs check lock wheel clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml scripts/bootstrap.sh
	@uv=$$(scripts/bootstrap.sh) && \
	  $$uv venv --quiet --clear --python "$(PYTHON)" $(VENV) && \
	  $$uv pip sync --require-hashes --compile-bytecode --python $(BIN)/python requirements.lock && \
	  $$uv pip install --quiet --no-deps --editable . --python $(BIN)/python && \
	  $(BIN)/python -m compileall -q src && \
	  touch $@

setup: $(STAMP) ## install everything into .venv, from the lock file

demo: $(STAMP) ## run two example models on real pictures, and one of them on a platform
	@$(BIN)/python examples/demo.py

fmt: $(STAMP) ## format the code
	@$(BIN)/ruff format src tests scripts
	@$(BIN)/ruff check --fix --quiet src tests scripts

lint: $(STAMP) ## format, lint, layers and types, without changing anything
	@$(BIN)/ruff format --check src tests scripts
	@$(BIN)/ruff check src tests scripts
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

types: $(STAMP) ## types alone
	@$(BIN)/mypy

test: $(STAMP) ## all tests; as root, installs the container tools that some of them need
	@scripts/test_tools.sh
	@$(BIN)/python -m pytest

test-quick: $(STAMP) ## the tests that take seconds
	@$(BIN)/python -m pytest -m "not slow"

bench: $(STAMP) ## measure beside other servers of models; takes long (OUT=path keeps the report)
	@$(BIN)/python benchmarks/start_up.py
	@$(BIN)/python benchmarks/comparison $(if $(OUT),--out $(OUT))

bench-quick: $(STAMP) ## measure beside Cog alone, in minutes
	@$(BIN)/python benchmarks/comparison --quick --rounds 2 --seconds 3

lock: ## resolve the dependencies anew into requirements.lock
	@uv=$$(scripts/bootstrap.sh) && $$uv pip compile --quiet --universal --python-version 3.10 --upgrade --generate-hashes --no-emit-index-url \
	  --no-header --group dev pyproject.toml --output-file requirements.lock

docs: $(STAMP) ## write the pages that are made from the code
	@$(BIN)/python scripts/generate_reference.py

check: $(STAMP) ## show what has grown large; never fails
	@$(BIN)/python scripts/check.py

wheel: $(STAMP) ## build the wheel into dist/
	@uv=$$(scripts/bootstrap.sh) && $$uv build --wheel --quiet --out-dir dist .

clean: ## remove everything that set-up made
	rm -rf $(VENV) .tooling dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

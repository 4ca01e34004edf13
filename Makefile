# `make demo` and `make test` install what they need: Python packages into .venv by pip, and, on
# Debian as root, the system libraries of headless rendering. Needs Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install system demo test lint wheel soak clean
.DELETE_ON_ERROR:

help:
	@echo "make install  robo, editable, with its development tools, into .venv"
	@echo "make demo     demonstrations, reward model, PPO, evaluation, videos: runs/demo"
	@echo "make test     lint, types, wheel, tests"
	@echo "make lint     ruff and pyright only"
	@echo "make soak     every test with thousands of random cases each (hours)"
	@echo "make clean    remove what builds and tests leave; .venv and runs stay"

install: $(INSTALLED)

# pip's own progress bars for a human, silence in a log.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "robo needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1):" \
	         "run 'make $(MAKECMDGOALS) PYTHON=python3.11'"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing robo into $(VENV): the first time takes minutes, PyTorch alone is gigabytes"
	@if [ -t 1 ]; then quiet=; else quiet=--quiet; fi; \
	  $(BIN)/python -m pip install $$quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

system:
	@sh tools/system_libraries.sh

demo: install system
	$(BIN)/robo demo --out runs/demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

wheel: install
	bash tools/wheel_smoke_test.sh $(VENV)

test: install system lint wheel
	$(BIN)/python -m pytest

soak: install system
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest --timeout=14400

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find robo launch benchmarks tests tools -name __pycache__ -type d -prune \
	  -exec rm -rf {} + 2>/dev/null || true

# `make demo` and `make test` install what they need: Python packages into .venv by pip, and, on
# Debian as root, the system libraries of headless rendering. Needs Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# robosuite 1.5 and LIBERO's robosuite 1.4 exclude each other.
VENV15 := .venv-robosuite15
# lerobot wants an older PyTorch; the SO-101 arm of its tests wants the motors' own package.
VENV_LEROBOT := .venv-lerobot

.PHONY: help install system compiler demo test test-robosuite15 test-lerobot lint wheel soak clean
.DELETE_ON_ERROR:

help:
	@echo "make install  robo, editable, with its development tools, into .venv"
	@echo "make demo     demonstrations, reward model, PPO, evaluation, videos: runs/demo"
	@echo "make test     lint, types, wheel, tests"
	@echo "make test-robosuite15  robosuite's tests beside robosuite 1.5, in $(VENV15)"
	@echo "make test-lerobot      data sets and robots beside lerobot 0.4.4, in $(VENV_LEROBOT)"
	@echo "make lint     ruff and pyright only"
	@echo "make soak     every test with thousands of random cases each, and half an hour of four"; \
	  echo "              simulators under fire (hours; ROBO_SOAK_MINUTES=2 shortens the latter)"
	@echo "make clean    remove what builds and tests leave; virtual environments and runs stay"

install: $(INSTALLED)

# $(call install_into,VENV,WHAT): pip's own progress bars for a human, silence in a log.
define install_into
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo "robo needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1):" \
         "run 'make $(MAKECMDGOALS) PYTHON=python3.11'"; exit 1; }
@test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
@echo "Installing $(2) into $(1): the first time takes minutes, PyTorch alone is gigabytes"
@if [ -t 1 ]; then quiet=; else quiet=--quiet; fi; \
  $(1)/bin/python -m pip install $$quiet --disable-pip-version-check $(2)
@touch $(1)/.installed
endef

$(INSTALLED): pyproject.toml
	$(call install_into,$(VENV),-e ".[dev]")

# Its installation builds evdev from source.
$(VENV15)/.installed: pyproject.toml | compiler
	$(call install_into,$(VENV15),-e ".[robosuite15]" pytest pytest-timeout hypothesis)

system:
	@sh tools/system_libraries.sh

compiler:
	@PYTHON=$(PYTHON) sh tools/system_libraries.sh compiler

demo: install system
	$(BIN)/robo demo --out runs/demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

wheel: install
	bash tools/wheel_smoke_test.sh $(VENV)

# Two processes: one for each core of the smallest machine that this is meant for.
test: install system
	@$(MAKE) --no-print-directory -j 2 lint wheel
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-robosuite15: $(VENV15)/.installed system
	$(VENV15)/bin/python -m pytest tests/sim/robosuite

$(VENV_LEROBOT)/.installed:
	$(call install_into,$(VENV_LEROBOT),"lerobot[feetech]==0.4.4")

test-lerobot: install $(VENV_LEROBOT)/.installed
	ROBO_LEROBOT_PYTHON=$(abspath $(VENV_LEROBOT))/bin/python \
	  $(BIN)/python -m pytest tests/data/formats tests/robots/test_lerobot.py

soak: install system
	HYPOTHESIS_PROFILE=soak $(BIN)/python -m pytest --timeout=14400

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find robo launch benchmarks tests tools -name __pycache__ -type d -prune \
	  -exec rm -rf {} + 2>/dev/null || true

# Needs Python 3.9+ with its venv module, and make. Everything else goes into .venv.
PYTHON ?= python3
# 1: use the torch and torchvision that $(PYTHON) already has; nothing large is fetched.
SYSTEM_TORCH ?=
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.docs-installed
# The oldest Python and torch that are promised, in an environment of their own.
OLDEST_PYTHON ?= $(firstword $(shell command -v python3.9) $(shell command -v python3.10))
OLDEST := .venv-oldest
# What depends on torch's version: the method, its training, the hook points, and every reader of files.
OLDEST_TESTS := tests/method tests/training tests/host tests/report tests/compat tests/test_unpickling.py \
	tests/embedded/evaluation/test_shares.py
ARGS   ?=
# A process of tests for each usable core (tests/conftest.py); a later -n in ARGS wins.
PARALLEL := -n auto --dist worksteal

.PHONY: help demo test test-all test-isa test-oldest lint docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      train and test a baseline, the class-balanced loss alone, and HML on synthetic data (minutes)"
	@echo "make test      the tests, without the slow ones"
	@echo "make test-all  the tests, all of them"
	@echo "make test-isa  the tests that depend on the processor's instruction set, run as on one without AVX"
	@echo "make test-oldest  the tests that depend on torch's version, on Python 3.9 or 3.10 and torch 2.1, in $(OLDEST)"
	@echo "make lint      ruff and mypy"
	@echo "make docs      the documentation site, in outputs/site; strict"
	@echo "make clean     remove outputs, caches and .venv"
	@echo
	@echo "The first command installs into $(VENV): 5.8 GB on Linux, 2 to 15 minutes. An interpreter that already has torch"
	@echo "and torchvision (PyPI, conda, a virtual environment) can be used with SYSTEM_TORCH=1; this then takes 0.6 GB at most:"
	@echo "  make demo PYTHON=PATH/TO/python SYSTEM_TORCH=1"
	@echo
	@echo "ARGS='...' is passed on, e.g.  make demo ARGS='--seeds 3'  or  make test ARGS='tests/method -x'"

demo: $(STAMP)
	$(BIN)/hml demo $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -q -m "not slow" $(PARALLEL) $(ARGS)

test-all: $(STAMP)
	$(BIN)/python -m pytest -q $(PARALLEL) $(ARGS)

# oneDNN and torch then use no more than SSE 4.1: no low-precision LSTM, other kernels, other roundings.
test-isa: export ONEDNN_MAX_CPU_ISA := SSE41
test-isa: export ATEN_CPU_CAPABILITY := default
test-isa: $(STAMP)
	$(BIN)/python -m pytest -q -m "isa and not slow" $(PARALLEL) $(ARGS)

test-oldest:
	@test -n "$(OLDEST_PYTHON)" || { echo "needs python3.9 or python3.10: make test-oldest OLDEST_PYTHON=PATH/TO/python"; exit 1; }
	$(OLDEST_PYTHON) bootstrap.py $(OLDEST) $(if $(filter-out 0,$(SYSTEM_TORCH)),--system-torch,--oldest-torch)
	$(OLDEST)/bin/python -c "import sys, torch; print('Python', sys.version.split()[0], 'torch', torch.__version__)"
	$(OLDEST)/bin/python -m pytest -q -m "not slow" $(PARALLEL) $(OLDEST_TESTS) $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) $(OLDEST) build dist *.egg-info outputs output .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installs once, and again when setup.py has changed.
$(STAMP): setup.py
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(0 if sys.version_info >= (3, 9) else "Python 3.9 or newer is needed, this is " + v + ": make PYTHON=python3.11 ...")'
	$(PYTHON) bootstrap.py $(VENV) $(if $(filter-out 0,$(SYSTEM_TORCH)),--system-torch)
	@touch $@

# Needs Python 3.9+ with its venv module, and make. Everything else goes into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=

.PHONY: help demo test test-all lint clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      train and test a baseline, a control and HML on a small data set made on the spot (minutes)"
	@echo "make test      the tests, without the slow ones"
	@echo "make test-all  the tests, all of them"
	@echo "make lint      ruff"
	@echo "make clean     remove outputs, caches and .venv"
	@echo
	@echo "ARGS='...' is passed on, e.g.  make demo ARGS='--seeds 3'  or  make test ARGS='tests/method -x'"

demo: $(STAMP)
	$(BIN)/hml demo $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest -q -m "not slow" $(ARGS)

test-all: $(STAMP)
	$(BIN)/python -m pytest -q $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) build dist *.egg-info outputs output .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installs once; again only when setup.py has changed.
$(STAMP): setup.py
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(0 if sys.version_info >= (3, 9) else "Python 3.9 or newer is needed, this is " + v + ": make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "could not make $(VENV): install the venv module of $(PYTHON) (on Debian: apt install python3-venv)" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

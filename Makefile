# Two commands matter: `make demo` and `make test`. Each sets up what it needs in .venv on a fresh machine.
#   make demo        train a driver, judge it here and in the real highway-env, leave a video under runs/demo/
#   make test        the test suite without the slow marks, two processes
#   make test-full   everything, slow conformance checks and the report page in a real browser included
#   make lint        ruff check, ruff format --check, codespell, no large files
#   make bench       steps/s of Slipstream, highway-env and EnvPool side by side
#   make setup       only set up .venv;  make clean  removes it and the caches
# Variables: VENV=dir (where to set up), BASE_PYTHON=python3.12 (what to set it up with),
#   PYTHON=path (use this interpreter as it is: nothing is set up), JOBS=n, ARGS="...".

VENV ?= .venv
BASE_PYTHON ?= python3
JOBS ?= 2
ARGS ?=

# Only a PYTHON given on the command line counts: a variable that happens to stand in the environment must not
# silently switch the set-up off.
ifeq ($(origin PYTHON),command line)
BASE :=
DEV :=
PEERS :=
else
override PYTHON := $(VENV)/bin/python
BASE := $(VENV)/.installed-base
DEV := $(VENV)/.installed-dev
PEERS := $(VENV)/.installed-peers
endif

# One thread a process for the numeric libraries: two test processes on two cores, no oversubscription.
PINNED := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
PYTEST := $(PINNED) $(PYTHON) -m pytest -n $(JOBS) --dist worksteal

.PHONY: demo test test-full browser lint large-files bench setup clean
.DEFAULT_GOAL := test

demo: $(BASE)
	$(PYTHON) scripts/demo.py $(ARGS)

test: $(DEV)
	$(PYTEST) -m "not slow" $(ARGS)

test-full: $(DEV) browser
	$(PYTEST) $(ARGS)

# The report page is tested in a real Chromium. Where it can't be installed, those tests say what is missing.
browser:
	@command -v chromium-headless-shell chromium chromium-browser google-chrome > /dev/null \
	  || { apt-get update -qq && apt-get install -y -qq chromium-headless-shell; } \
	  || echo "no Chromium, and apt-get could not install one: install it, or set CHROMIUM=/path/to/it"

lint: $(DEV) large-files
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m codespell_lib $(shell git ls-files --cached --others --exclude-standard 2>/dev/null)

# Anything over 1 MiB in Git stays in every clone for ever.
large-files:
	@git ls-files -z 2>/dev/null | xargs -0 -r du -k 2>/dev/null \
	  | awk '$$1 > 1024 { print "over 1 MiB: " $$0; bad = 1 } END { exit bad }'

bench: $(PEERS)
	$(PYTHON) scripts/bench_sim.py $(ARGS)

setup: $(DEV)

$(VENV)/bin/python:
	@$(BASE_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "Slipstream needs Python 3.10 or newer; choose one with BASE_PYTHON=..."; exit 1; }
	$(BASE_PYTHON) -m venv $(VENV)

$(VENV)/.installed-base: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Slipstream into $(VENV) (PyTorch included: one to five minutes, once)"
	$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar on -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Slipstream with its development tools into $(VENV) (PyTorch included: one to five minutes, once)"
	$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar on -e '.[dev]'
	@touch $@ $(VENV)/.installed-base

$(VENV)/.installed-peers: pyproject.toml | $(VENV)/bin/python
	@echo "Installing Slipstream and its rivals into $(VENV) (PyTorch included: one to five minutes, once)"
	$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar on -e '.[dev,peers]'
	@touch $@ $(VENV)/.installed-dev $(VENV)/.installed-base

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

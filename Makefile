# Every target does its own set-up: a machine with Python 3.11 or later, pip and make is enough.
# No ensurepip is needed, and the system's Python stays as it is: all goes into .venv.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ifndef PYTHON
PYTHON := $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$name" && break; done)
endif

# The daemons give up root for users of their own, who have to be able to run this Python: one that
# lives in somebody's home cannot be, so the system's own comes first for the environment itself.
ifndef BASE_PYTHON
BASE_PYTHON := $(shell /usr/bin/python3 -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo /usr/bin/python3 || echo "$(PYTHON)")
endif

BIN := .venv/bin
TOOLS := .venv/.tools
RUN := .venv/.run
DEV := .venv/.dev

# The installer has settings of its own; where only pip was told of a source, pass it on.
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifdef PIP_NO_INDEX
export UV_NO_INDEX ?= 1
endif
ifneq ($(wildcard $(PIP_FIND_LINKS)),)
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif

.PHONY: help
help:
	@echo "make demo    a collector and an agent on this machine, with real findings"
	@echo "make check   lint, types, contracts and unit tests (about two minutes)"
	@echo "make test    integration, end to end and sampled fault tests (at most 15 minutes)"
	@echo "make prove   the fault tests at full count"
	@echo "make bench   the benchmarks"
	@echo "make build   the wheel and the source distribution, in dist/"
	@echo "make proto   generated code from the schema"
	@echo "make lock    new pins and hashes in requirements/"
	@echo "make clean   remove all that was made"

# ---------------------------------------------------------------------------------------- set-up
# Three stages, each with a stamp: the installer, what the programs need, what development needs.

PIP := $(PYTHON) -m pip --python $(BIN)/python install --quiet
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python
install = { $(UV) $(1) || { echo "set-up: again with pip"; $(PIP) $(1); }; }

$(TOOLS): requirements/build.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later with pip is needed" >&2; exit 1; }
	@echo "set-up: installer, for $$($(BASE_PYTHON) -V)"
	@rm -f .venv/pyvenv.cfg $(BIN)/python*  # an older one may belong to another Python
	@$(BASE_PYTHON) -m venv --without-pip .venv
	@$(PIP) --require-hashes -r requirements/build.txt
	@touch $@

$(RUN): $(TOOLS) requirements/agent.txt requirements/collector.txt pyproject.toml
	@echo "set-up: agent and collector"
	@$(call install,--require-hashes -r requirements/agent.txt -r requirements/collector.txt)
	@$(call install,--no-deps --no-build-isolation --editable .)
	@touch $@

$(DEV): $(RUN) requirements/dev.txt
	@echo "set-up: tools of development"
	@$(call install,--require-hashes -r requirements/dev.txt)
	@touch $@

# ------------------------------------------------------------------------------------------- use

.PHONY: demo bench build
demo: $(RUN)
	@$(BIN)/vedette demo $(ARGS)

bench: $(DEV)
	@$(BIN)/python -m bench all $(ARGS)

build: $(TOOLS)
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m hatchling build

# ----------------------------------------------------------------------------------------- judge

UNIT := not e2e and not slow and not prove
REST := (e2e or slow) and not prove
FULL := e2e or slow or prove
RELEASED := proto/vedette/v1/released.binpb

.PHONY: check style types imports words schema sizes unit test prove
check: style types imports words schema sizes unit

style: $(DEV)
	@echo "check: style"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: $(DEV)
	@echo "check: types"
	@$(BIN)/mypy --no-error-summary .

imports: $(DEV)
	@echo "check: import contracts"
	@$(BIN)/lint-imports --no-cache --no-logo >.venv/imports.txt || { cat .venv/imports.txt; exit 1; }

words: $(DEV)
	@echo "check: spelling, dependencies"
	@$(BIN)/codespell
	@$(BIN)/deptry --no-ansi . 2>.venv/deptry.txt || { cat .venv/deptry.txt; exit 1; }

schema: $(DEV)
	@echo "check: schema"
	@$(BIN)/buf lint
	@test ! -f $(RELEASED) || $(BIN)/buf breaking --against $(RELEASED)

sizes: $(DEV)
	@echo "large files and functions, for information:"
	@$(BIN)/python packaging/sizes.py

unit: $(DEV)
	@echo "check: unit tests, locks, generated code"
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -m "$(UNIT)" $(ARGS)
	@$(BIN)/coverage combine --quiet --append || true  # where no test ran a supervisor
	@$(BIN)/coverage report

test: $(DEV)
	@$(BIN)/python -m pytest -m "$(REST)" --timeout=300 $(ARGS)

prove: $(DEV)
	@VEDETTE_PROVE=1 $(BIN)/python -m pytest -m "$(FULL)" --timeout=3600 $(ARGS)

# ------------------------------------------------------------------------------------------ make

.PHONY: proto release-schema lock clean
proto: $(DEV)
	@$(BIN)/python packaging/generate.py

release-schema: $(DEV)
	@$(BIN)/buf build --exclude-source-info -o $(RELEASED)

lock: $(TOOLS)
	@$(BIN)/python packaging/lock.py

clean:
	@rm -rf .venv build dist htmlcov .coverage* .hypothesis .*_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each target first installs what it needs into .venv, so any of them can be the first command typed
# in a fresh clone. Needed beforehand: make and a python3 of 3.11 or later, with its venv module.
#
#   make demo     mark, alter and verify real recordings through a running server; prints one table
#   make test     every test
#   make check    formatting, lint, types, import directions and the rules of the house; no other tests
#   make bench    the published tables; EARMARK_CORPUS names the folder with the recordings
#   make serve    the REST service on http://127.0.0.1:8000
#   make setup    everything a developer needs, and nothing else
#
# On Linux, PyPI's torch brings about 2 GB of CUDA libraries that a machine without a GPU has no use for:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo
# installs the small CPU build of the same release.

PYTHON ?= python3
VENV := .venv
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check bench corpus-is-named serve setup clean
.DEFAULT_GOAL := demo
.NOTPARALLEL:
# A failed install leaves no stamp, so the next `make` runs it again.
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(VENV)/bin/earmark demo

test: $(VENV)/installed-dev
	$(VENV)/bin/python -m pytest

check: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python -m pytest tests/test_house.py

bench: corpus-is-named $(VENV)/installed-bench
	$(VENV)/bin/python -m benchmarks.watermark
	$(VENV)/bin/python -m benchmarks.fingerprint
	$(VENV)/bin/python -m benchmarks.service
	$(VENV)/bin/python -m benchmarks.generation
	$(VENV)/bin/python -m benchmarks.chat
	$(VENV)/bin/python -m benchmarks.log

corpus-is-named:
	@test -d "$(EARMARK_CORPUS)" || { \
	  echo "make bench: set EARMARK_CORPUS to the folder with the recordings (docs/benchmarks.md)," \
	       "for example EARMARK_CORPUS=~/speech make bench" >&2; exit 2; }

serve: $(VENV)/installed
	$(VENV)/bin/earmark serve

setup: $(VENV)/installed-dev

clean:
	rm -rf $(VENV) demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: Python 3.11 or later is needed; name one with PYTHON=/path/to/python3.11 make demo" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "make: this Python cannot create environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV) (torch is the large part; several minutes the first time)"
	$(INSTALL) -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) -e ".[dev,train]"
	$(INSTALL) --no-deps moshi
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(INSTALL) -e ".[dev,bench,train]"
	$(INSTALL) --no-deps moshi
	@touch $@

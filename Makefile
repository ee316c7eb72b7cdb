# `make demo` and `make test` need nothing but a Python 3.11 to 3.14; everything else is installed into .venv, by uv where
# it is on the PATH and by pip otherwise. For a second Python: make test PYTHON=python3.14 VENV=.venv-3.14
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do $$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv)
PIP = $(if $(UV),$(UV) pip install --python $(BIN)/python,$(BIN)/python -m pip install --disable-pip-version-check) --quiet
# The documentation is built from the source: its lock holds neither torch nor Ray.
DOCS := import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['docs'], sep='\n')
COMPILE = $(or $(UV),$(BIN)/uv) pip compile --universal --generate-hashes --no-annotate --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock" --quiet

.PHONY: demo test test-all test-random lint format docs lock clean

demo: $(VENV)/runtime  ## The demo study, start to leaderboard
	$(BIN)/python run_benchmark.py

test: $(VENV)/dev  ## Every test but the slow ones
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --by-file

test-all: $(VENV)/dev  ## Slow tests too
	$(BIN)/python -m pytest -m "slow or not slow"

test-random: $(VENV)/dev  ## Property tests alone, on ten times as many examples, new ones in every run
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=random --timeout=3600

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

docs: $(VENV)/docs  ## The documentation as a site in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict  # its notice is of Zensical, which reads the same mkdocs.yml

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/dev  ## Resolve pyproject.toml anew; the locks name versions and hashes, never an index
	$(if $(UV),,$(PIP) uv)
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) pyproject.toml --extra dev --output-file requirements-dev.lock
	$(BIN)/python -c "$(DOCS)" | $(COMPILE) - --python-version 3.11 --constraint requirements-dev.lock \
		--output-file requirements-docs.lock

# Installed from the hashed locks; a changed lock installs again. The development lock holds the runtime one.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 to 3.14 is needed: install one, or name it with make PYTHON=/path/to/python3.13"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/runtime: requirements.lock | $(BIN)/python
	$(PIP) --require-hashes -r requirements.lock
	@touch $@

$(VENV)/dev: requirements-dev.lock | $(BIN)/python
	$(PIP) --require-hashes -r requirements-dev.lock
	@touch $(VENV)/runtime $@

$(VENV)/docs: requirements-docs.lock | $(BIN)/python
	$(PIP) --require-hashes -r requirements-docs.lock
	@touch $@

clean:
	rm -rf $(VENV) runs site .mypy_cache .pytest_cache .ruff_cache

# `make demo` and `make test` need nothing but a Python 3.11 or 3.12; everything else is installed into .venv.
SUPPORTED := import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do $$p -c '$(SUPPORTED)' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: demo test test-all test-random lint format lock clean

demo: .venv/runtime  ## The demo study, start to leaderboard
	$(BIN)/python run_benchmark.py

test: .venv/dev  ## Every test but the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: .venv/dev  ## Slow tests too
	$(BIN)/python -m pytest -m "slow or not slow"

test-random: .venv/dev  ## Property tests alone, on ten times as many examples, new ones in every run
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=random --timeout=3600

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/dev  ## Resolve pyproject.toml anew; the locks name versions and hashes, never an index
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	for extra in "" "--extra dev"; do \
		$(BIN)/uv pip compile pyproject.toml $$extra --universal --generate-hashes --no-annotate \
			--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
			--output-file requirements$${extra:+-dev}.lock --quiet || exit 1; \
	done

# Installed from the hashed locks; a changed lock installs again. The development lock holds the runtime one.
.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed: install one, or name it with make PYTHON=/path/to/python3.12"; exit 1; }
	"$(PYTHON)" -m venv .venv

.venv/runtime: requirements.lock | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/dev: requirements-dev.lock | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch .venv/runtime $@

clean:
	rm -rf .venv runs .mypy_cache .pytest_cache .ruff_cache

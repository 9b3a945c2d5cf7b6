# Everything happens in a virtual environment of the project's own; nothing else is touched.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
LOCK = $(BIN)/uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --python-version 3.11 pyproject.toml

PYTEST = $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
# For test-fast: the apps whose tests it runs.
APP ?= outbox memories

.PHONY: run help test test-fast fuzz faults soak bench screenshots lint format lock clean

run: $(VENV)/.runtime  ## Start the whole service on this machine
	@exec $(BIN)/python manage.py up

help:  ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

test: $(VENV)/.dev  ## Run all tests on real servers, in a throw-away folder
	@$(BIN)/python -m tests.support.programs
	$(PYTEST) $(ARGS)

test-fast: $(VENV)/.dev  ## Run the unit and integration tests of one app: make test-fast APP=outbox
	$(PYTEST) $(foreach app,$(APP),tests/$(app)/unit tests/$(app)/integration) $(ARGS)

fuzz: $(VENV)/.dev  ## Send 10,000 generated requests to the real server
	FUZZ_CASES=10000 $(BIN)/python -m pytest -s tests/e2e/test_fuzz.py $(ARGS)

faults: $(VENV)/.dev  ## Kill, cut off and flood the service, and look for lost work (half an hour; ARGS="--seed 7")
	$(BIN)/python -m tests.faults $(ARGS)

soak: $(VENV)/.dev  ## Load the service with 64, 200 and 1,000 tenants for ten minutes, and compare the stores
	$(BIN)/python -m tests.faults soak $(ARGS)

bench: $(VENV)/.dev  ## Run all benchmarks in turns and write docs/reference/performance.md (some hours; ARGS=--quick)
	$(BIN)/python -m benchmarks.report $(ARGS)

screenshots: $(VENV)/.dev  ## Take the pictures of docs/images from a real browser
	SCREENSHOTS=$(CURDIR)/docs/images $(BIN)/python -m pytest tests/e2e/test_admin_pages.py tests/e2e/test_memory_pages.py tests/e2e/test_overview.py tests/e2e/test_pages.py

lint: $(VENV)/.dev  ## Check style, types, layers and missing migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict --config-file clients/python/pyproject.toml clients/python/src
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

format: $(VENV)/.dev  ## Let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev  ## Resolve the lock files from pyproject.toml
	$(BIN)/python -m pip install --quiet "uv>=0.9"
	$(LOCK) --extra test --output-file requirements.txt
	$(LOCK) --extra dev --constraint requirements.txt --output-file .lock-dev.txt
	grep -vxFf requirements.txt .lock-dev.txt > requirements-dev.txt && rm .lock-dev.txt
	for extra in google-genai minilm sentence-transformers; do \
		$(LOCK) --extra $$extra --constraint requirements.txt --output-file .lock-extra.txt && \
		grep -vxFf requirements.txt .lock-extra.txt > requirements-$$extra.txt && rm .lock-extra.txt || exit 1; \
	done

PIP_FAILED = The dependencies are not installed; pip says why above. pip must reach PyPI, or the index that PIP_INDEX_URL \
	names (a proxy: HTTPS_PROXY). Then run make again: it goes on where it stopped.

# A half-made environment (Debian without python3-venv) would look made at the next run.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Semantix needs Python 3.11 or newer. Name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	@echo "Installing dependencies into $(VENV) (the first time takes a minute) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt || { echo "$(PIP_FAILED)" >&2; exit 1; }
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dev.txt || { echo "$(PIP_FAILED)" >&2; exit 1; }
	@touch $@

clean:  ## Remove the virtual environment and caches; data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# What can be done with wsdemo; `make` alone lists it. Needs Python 3.11 or newer and make.

HOST = 127.0.0.1
PORT = 8000
PY = .venv/bin/python
PIP = $(PY) -m pip install --quiet --disable-pip-version-check
# STRICT=1 turns whatever would be skipped into a failure.
STRICT =
# How long `make soak` sends odd frames and handshakes to each server.
FUZZ_SECONDS = 600
# Passed on to pytest, or to what measures.
ARGS =
PARALLEL = -n auto --dist worksteal
# Not those that start many processes of their own.
SLOW = %/test_static.py %/test_strangers.py %/test_forks.py %/test_docs.py
FAST = $(filter-out $(SLOW), $(wildcard echo/tests/test_*.py)) \
	echo/tests/feed echo/tests/admin echo/tests/views echo/tests/transports/test_contract.py echo/tests/servers/test_messages.py \
	echo/tests/servers/test_closing.py echo/tests/servers/test_handshake.py

# The tests start hundreds of processes: none should compile the sources again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-fast soak lint lint-python lint-web fmt conformance bench layers chromium node-packages

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/packages ## start the site (HOST=127.0.0.1 PORT=8000)
	@$(PY) manage.py migrate --verbosity 0
	@$(PY) manage.py firstadmin
	@echo "console     http://$(HOST):$(PORT)/"
	@echo "live feed   http://$(HOST):$(PORT)/live/"
	@echo "transports  http://$(HOST):$(PORT)/transports/"
	@echo "market      http://$(HOST):$(PORT)/market/"
	@echo "protocol    http://$(HOST):$(PORT)/protocol/"
	@echo "WebSocket   ws://$(HOST):$(PORT)/echo"
	@echo "admin       http://$(HOST):$(PORT)/admin/"
	@exec $(PY) manage.py runserver $(HOST):$(PORT)

test: .venv/dev-packages chromium node-packages ## run all the tests (STRICT=1 skips none, ARGS="-k echo")
	@$(PY) -m pytest $(PARALLEL) $(if $(STRICT),--no-skips) $(ARGS)

test-fast: .venv/dev-packages ## run the units and the contracts on the wire, in a minute
	@$(PY) -m pytest $(PARALLEL) $(FAST) $(ARGS)

soak: .venv/dev-packages ## run the survival tests with their full figures, and the fuzzer (FUZZ_SECONDS=600)
	@$(PY) -m pytest --soak --fuzz-seconds $(FUZZ_SECONDS) \
	echo/tests/survival echo/tests/servers/test_fuzz.py $(ARGS)

lint: lint-python lint-web ## check style, types, imports, templates, JavaScript and CSS

lint-python: .venv/dev-packages
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	.venv/bin/lint-imports
	.venv/bin/djade --check $(TEMPLATES)

lint-web: node_modules/.package-lock.json
	npx biome check

fmt: .venv/dev-packages node_modules/.package-lock.json ## rewrite the sources as lint wants them
	$(PY) -m ruff check --fix
	$(PY) -m ruff format
	.venv/bin/djade $(TEMPLATES)
	npx biome check --write

conformance: .venv/dev-packages ## run the Autobahn testsuite against /echo
	@$(PY) -m bench.conformance $(ARGS)

bench: .venv/dev-packages ## measure the site and its peers, and write docs/benchmarks.md (ARGS=--help)
	@$(PY) -m bench $(ARGS)

layers: .venv/dev-packages ## measure the two Redis channel layers as the feed uses them
	@$(PY) -m bench.layers $(ARGS)

# --- what the targets need ---------------------------------------------------------------

TEMPLATES = $(shell git ls-files -- 'templates/*.html')

# For the browser tests, where it can be had; where it cannot, pytest says what it skipped.
chromium:
	@for name in chromium chromium-browser google-chrome chrome; do \
	command -v $$name >/dev/null && exit; done; \
	test "$$(id -u)" = 0 && command -v apt-get >/dev/null || exit 0; \
	echo "installing Chromium for the browser tests"; \
	apt-get update -qq; for name in chromium chromium-headless-shell; do \
	apt-get install -y -qq --no-install-recommends $$name >/dev/null || true; done

# For the check of the pages' accessibility; the same holds.
node-packages:
	@! command -v npm >/dev/null || $(MAKE) --silent node_modules/.package-lock.json || true

# The first Python that is new enough; `make PYTHON=/path/to/python3.12 …` names another.
PYTHON = $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "expected Python 3.11 or newer, got $$(python3 --version 2>&1): \
	install one (Debian 12: apt-get install python3 python3-venv), or name it: make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv || { rm -rf .venv; echo "$(PYTHON) makes no virtual \
	environments: install its venv module (Debian: apt-get install python3-venv)" >&2; exit 1; }

.venv/packages: requirements.txt | .venv/bin/python
	@echo "installing the packages of requirements.txt into .venv"
	@$(PIP) -r requirements.txt
	@touch $@

.venv/dev-packages: requirements-dev.txt .venv/packages
	@echo "installing the packages of requirements-dev.txt into .venv"
	@$(PIP) -r requirements-dev.txt
	@touch $@

node_modules/.package-lock.json: package.json
	@command -v npm >/dev/null || { echo "expected npm, got none: install Node.js, which \
	checks the JavaScript and CSS (Debian: apt-get install nodejs npm)" >&2; exit 1; }
	npm install --no-package-lock --no-audit --no-fund
	@touch $@

# make lab     JupyterLab on the first notebook, a sample checkpoint in the workbench
# make test    every test
# make burn    bundles built and run by the versions of Burn that no test asks: make burn VERSIONS=0.19
# make fuzz    hostile files without end: make fuzz SECONDS=1800
# make check   style, types, layers
# make setup   what the three above install, without running anything

# Another Python: make PYTHON=python3.12 lab. More for JupyterLab: make lab ARGS="--no-browser --port 9000"
PYTHON ?=
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install $(if $(CI),--quiet)
# Test processes at a time. The browser tests come after the others, in one process: they share one JupyterLab.
WORKERS ?= 2

# What `make burn` asks; each takes five to ten minutes the first time.
VERSIONS ?= 0.18,0.19,0.23

# How long `make fuzz` runs.
SECONDS ?= 600

.PHONY: lab test burn fuzz check setup types
.NOTPARALLEL:

# JupyterLab writes outputs into the notebook that it shows: that is a copy, made once, which git does not see.
MINE := first-steps.workbench.ipynb
lab: $(VENV)/installed-lab notebooks/$(MINE)
	cd notebooks && ../$(BIN)/workbench lab $(MINE) $(ARGS)

notebooks/$(MINE): | notebooks/01-first-steps.ipynb
	@cp notebooks/01-first-steps.ipynb $@

setup: $(VENV)/installed-check $(VENV)/installed-test

# Each stamp is as new as the pyproject.toml that it was installed from.
$(VENV)/installed-%: pyproject.toml .ci/venv
	@PYTHON="$(PYTHON)" .ci/venv
	@echo "Installing the project ($*) into $(VENV); the first time takes minutes"
	@$(PIP) --editable $(if $(filter lab,$*),.,'.[$*]')
	@touch $@

# Goes on after a failure, so that one run tells everything.
test: $(VENV)/installed-test
	@.ci/need browser || test -z "$$CI"
	@failed=0; \
	if .ci/need cargo; then \
		echo "Burn's crates, built once into a cache (four to twelve minutes)"; \
		$(BIN)/python -m tests.burn.oracle || failed=1; \
	elif test -n "$$CI"; then failed=1; fi; \
	echo "pytest"; $(BIN)/python -m pytest -n $(WORKERS) --ignore tests/browser || failed=1; \
	echo "pytest tests/browser"; $(BIN)/python -m pytest tests/browser || failed=1; \
	if .ci/need node; then \
		files=$$(find tests/js -name '*.test.*js'); \
		echo "node --test"; test -z "$$files" || node --test --test-reporter=spec $$files || failed=1; \
	elif test -n "$$CI"; then failed=1; fi; \
	exit $$failed

burn: $(VENV)/installed-test
	@.ci/need cargo
	WORKBENCH_BURN=$(VERSIONS) $(BIN)/python -m pytest tests/burn/test_bundles.py

fuzz: $(VENV)/installed-test
	$(BIN)/python -m tests.fuzz $(SECONDS)

check: $(VENV)/installed-check types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

types: $(VENV)/installed-check
	@if .ci/need npm; then $(MAKE) --no-print-directory tsc; else test -z "$$CI"; fi

.PHONY: tsc
tsc: $(VENV)/node/installed
	$(VENV)/node/node_modules/.bin/tsc --project tsconfig.json

$(VENV)/node/installed: pyproject.toml
	@mkdir -p $(VENV)/node
	@version=$$($(BIN)/python -c 'import tomllib; \
		print(tomllib.load(open("pyproject.toml", "rb"))["tool"]["workbench"]["typescript"])') && \
		npm install --prefix $(VENV)/node --no-save --no-audit --no-fund --silent "typescript@$$version"
	@touch $@

# RAG Vision Workbench: `make run` to label, `make test` to check. `make help` lists the rest.

VENV   := .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python

# variables of `make run`
PORT    ?= 8501
HOST    ?= 127.0.0.1
IMAGES  ?=
PROJECT ?=

# --demo: the demo, unless a project or images were named
WHICH = $(if $(IMAGES),--images "$(IMAGES)",$(if $(PROJECT),,--demo)) $(if $(PROJECT),--project "$(PROJECT)")

# a stamp in the environment for each requirements file: the second time nothing is installed
# pip's progress is for eyes: silent where nobody watches
PIP  := $(PY) -m pip install --disable-pip-version-check $(shell test -t 2 || echo -qq)
MADE := $(VENV)/.made
BASE := $(VENV)/.base-installed
DEMO := $(VENV)/.demo-installed
DEV  := $(VENV)/.dev-installed

.DEFAULT_GOAL := help
.PHONY: help setup run test lint format check-types browser bench screenshots demo-check clean

help: ## this list
	@echo "make run          the workbench on http://127.0.0.1:$(PORT), with the demo"
	@echo "make run IMAGES=folder                          … with your own images"
	@echo "make run PROJECT=folder PORT=8600 HOST=0.0.0.0  … an own project, another address"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | grep -v '^make run' | awk -F'|' '{printf "%-17s %s\n", $$1, $$2}'

# --------------------------------------------------------------------------- environment
$(MADE):
	@scripts/make-venv $(VENV)
	@touch $@

$(BASE): $(MADE) requirements.txt
	@echo "Installing requirements.txt into $(VENV) (the first time 2 to 10 minutes, with nothing said where no terminal watches)"
	@$(PIP) -r requirements.txt
	@touch $@

$(DEMO): $(BASE) requirements-demo.txt
	@echo "Installing the demo's images"
	@$(PIP) -r requirements-demo.txt
	@touch $@

$(DEV): $(DEMO) requirements-dev.txt
	@echo "Installing requirements-dev.txt"
	@$(PIP) -r requirements-dev.txt
	@touch $@

setup: $(BASE) ## only the environment, .venv

# --------------------------------------------------------------------------- use
run: $(if $(IMAGES)$(PROJECT),$(BASE),$(DEMO)) ## the workbench
	@exec $(PY) -m ragvision_app run --host "$(HOST)" --port "$(PORT)" $(WHICH)

demo-check: $(DEMO) ## the demo's labels and suggestions against the truth that the project never saw
	@$(PY) -m ragvision_app demo-check $(if $(PROJECT),--project "$(PROJECT)")

bench: $(DEV) ## speed, as ratios measured in one run
	@$(PY) -m ragvision_app bench

# --------------------------------------------------------------------------- checks
test: lint browser ## lint, types and every test
	@$(PY) -m pytest -n auto --dist loadfile -m "not browser"
	@RAGVISION_CHROMIUM="$$(cat $(VENV)/.chromium)" $(PY) -m pytest -m browser

lint: $(DEV) ## ruff, mypy, hadolint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/hadolint Dockerfile

format: $(DEV) ## let ruff put the code in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

browser: $(DEV) ## find or fetch a Chromium for the browser tests
	@scripts/find-chromium $(PY) > $(VENV)/.chromium.new && mv $(VENV)/.chromium.new $(VENV)/.chromium

screenshots: $(DEV) browser ## the README's pictures, from the running demo
	@RAGVISION_CHROMIUM="$$(cat $(VENV)/.chromium)" $(PY) scripts/screenshots.py

clean: ## remove the environment and caches; projects stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each verb works from a fresh clone: the first one makes .venv from requirements.lock.
#
#     make PYTHON=/path/to/python3.12 setup      make .venv with another Python, 3.11 or newer

PYTHON ?=
IMAGES ?=
RUNNER ?=

VENV := .venv
PY := $(VENV)/bin/python
# Holds a checksum of what decides the environment, so set-up runs only when that changed.
STAMP := $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)

VLLM_VENV := .venv-vllm
VLLM_FILES := requirements-vllm.lock scripts/torchvision_hook.py training/encoders/torchvision_ops.py
VLLM_STAMP := $(VLLM_VENV)/.installed-$(shell cat $(VLLM_FILES) | cksum | cut -d' ' -f1)

SOURCES := benchmarks curation jobs schemas scripts stages tests training

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-train evidence-train test test-slow vllm test-vllm check format docs lock clean
.NOTPARALLEL:

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv from requirements.lock; every other verb does it when needed

$(STAMP):
	@PYTHON="$(PYTHON)" scripts/setup.sh "$@"

demo: $(STAMP) ## Curate a demo corpus into demo/ [IMAGES=/some/folder] [RUNNER=local|ray]
	@$(VENV)/bin/longtail demo --out demo $(if $(IMAGES),--images "$(IMAGES)") $(if $(RUNNER),--runner "$(RUNNER)")

demo-train: $(STAMP) ## Train a tiny model on the demo's snapshot, made first if missing, and judge it
	@test -d demo/dataset/snapshots || $(MAKE) --no-print-directory demo
	@$(VENV)/bin/longtail demo-train configs/train/demo.yaml

evidence-train: $(STAMP) ## Train on toys whose truth is known, into docs/evidence; half an hour, goes on where it stopped
	@$(PY) -m benchmarks.evidence.train

test: $(STAMP) ## Run the tests that need no cluster and take seconds
	@$(PY) -m pytest -n auto -m "not slow and not vllm" $(ARGS)

test-slow: $(STAMP) ## Run the tests that start Ray, kill processes or run whole pipelines
	@$(PY) -m pytest -m "slow and not vllm" $(ARGS)

vllm: $(VLLM_STAMP) ## Make .venv-vllm from requirements-vllm.lock: vLLM for CPUs, 3 GB

$(VLLM_STAMP):
	@PYTHON="$(PYTHON)" scripts/vllm.sh "$@"

test-vllm: $(STAMP) ## Run the tests that ask a real vLLM; `make vllm` first
	@$(PY) -m pytest -m vllm $(ARGS)

check: $(STAMP) ## Check format, lint, types, import rules and generated docs
	@$(PY) -m ruff format --check $(SOURCES)
	@$(PY) -m ruff check $(SOURCES)
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-logo
	@$(PY) -m scripts.docs --check

format: $(STAMP) ## Format, and fix what ruff can fix
	@$(PY) -m ruff check --fix-only $(SOURCES)
	@$(PY) -m ruff format $(SOURCES)

docs: $(STAMP) ## Write the generated parts of the documentation anew
	@$(PY) -m scripts.docs

lock: ## Resolve requirements.lock anew
	@PYTHON="$(or $(PYTHON),python3.11)" scripts/lock.sh

clean: ## Remove caches, build output and demo/; .venv stays
	rm -rf demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# make run [PORT=8000] [DATA=var] [ONCE=1]: two stacks run side by side with two ports and folders.
PORT ?= 8000
DATA ?= var
PYTHON ?= $(shell command -v python3.11 || command -v python3)
export KINORA_PORT := $(PORT)
export KINORA_DATA := $(abspath $(DATA))
BIN := .venv/bin
# Other services' JavaScript clients, for those who have npm and a network; else their tests are left out.
CLIENTS := $(if $(shell command -v npm),tests/clients_js/node_modules/.package-lock.json)

.PHONY: help run test prove check bench clean

help:  ## say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

run: .venv/inference.pins  ## start everything here, do the main job, serve until Ctrl-C
	@exec $(BIN)/python manage.py up $(if $(ONCE),--once)

test: .venv/inference-dev.pins $(CLIENTS)  ## import contracts and all tests that this machine can run
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist=loadfile -m "not load and not chaos and not proofs and not browser" $(ARGS)
	$(BIN)/python -m pytest -n 2 --dist=loadfile -m browser $(ARGS)

prove: .venv/inference-dev.pins  ## the long generated proofs: money under races, crashes, 100,000 prices
	$(BIN)/python -m pytest -m proofs -rP $(ARGS)

check: .venv/inference-dev.pins  ## format, lint, import contracts, types, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/architecture

bench: .venv/inference-dev.pins  ## measure a stack of its own; figures go to docs/benchmarks
	$(BIN)/python -m tests.load --out docs/benchmarks

clean:  ## remove the data folder, unless a stack runs on it
	@$(PYTHON) .ci/clean "$(KINORA_DATA)"

tests/clients_js/node_modules/.package-lock.json: tests/clients_js/package-lock.json
	-npm ci --prefix tests/clients_js --no-audit --no-fund && touch $@

.venv/%.pins: pyproject.toml .ci/venv
	@$(PYTHON) .ci/venv $@ $(subst -, ,$*)

# Set up, run, test. `make help` lists the targets.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEMO_DIR ?= demo
NODES ?= 10
ROUNDS ?= 20
JOBS ?= 2
MANIFEST_SEEDS ?= 1 2
TESTS ?= tests
PYTEST_ARGS ?=
RUNS ?= 1000000

RUN_READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check fmt manifests soak bench mutants fuzz wheels testnet-docker test-docker clean setup setup-dev crash sim faults border foreign hostile

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(RUN_READY) ## set up .venv with what running needs

setup-dev: $(DEV_READY) ## set up .venv with what developing needs

$(RUN_READY): pyproject.toml constraints.txt .ci/lock/run.txt
	@test -n "$(PYTHON)" || { echo "no Python: install Python 3.11, or give PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than Python 3.11: give PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)"; "$(PYTHON)" -m venv $(VENV); }
	@echo "installing bflcd, bflc-cli and what they need (torch is the largest: a few minutes the first time)"
	$(PIP) install --require-hashes --no-deps -r .ci/lock/run.txt
	$(PIP) install --no-build-isolation -c constraints.txt -e '.[lab]'
	@touch $@

$(DEV_READY): $(RUN_READY) .ci/lock/dev.txt
	@echo "installing what the tests and checks need"
	$(PIP) install -q --require-hashes --no-deps -r .ci/lock/dev.txt
	$(PIP) install -q --no-build-isolation -c constraints.txt -e '.[dev]'
	$(PIP) check
	@touch $@

demo: $(RUN_READY) ## run a community of NODES daemons for ROUNDS rounds here, to the end
	@if [ -e "$(DEMO_DIR)" ] && [ ! -e "$(DEMO_DIR)/testnet.json" ] && [ -n "$$(ls -A "$(DEMO_DIR)")" ]; then \
	  echo "$(DEMO_DIR) is there and no testnet: give another DEMO_DIR" >&2; exit 1; fi
	@rm -rf "$(DEMO_DIR)"
	$(BIN)/bflcd testnet --nodes $(NODES) --output "$(DEMO_DIR)" --task digits --rounds $(ROUNDS)
	$(BIN)/bflc-cli testnet up "$(DEMO_DIR)"

# Compiled once: where no bytecode is kept, each of the hundreds of processes that tests start would compile all that it imports.
test: $(DEV_READY) ## run the default suite (JOBS at a time)
	@$(BIN)/python -m compileall -q -j $(JOBS) bflcd cli
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not docker and not slow" --ignore tests/e2e $(PYTEST_ARGS) $(TESTS)
	@if [ -d tests/e2e ] && [ "$(TESTS)" = tests ]; then \
	  $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not docker and not slow" $(PYTEST_ARGS) tests/e2e; fi

test-slow: $(DEV_READY) ## run what takes too long for the default suite
	$(BIN)/python -m pytest -m slow --timeout 1800 $(PYTEST_ARGS) $(TESTS)

crash: $(DEV_READY) ## kill daemons at every durable write, RUNS (500) times; CRASH_ARGS="--seed N --minutes N --output FILE"
	$(BIN)/python -m tests.crash --runs $(if $(filter command line environment,$(origin RUNS)),$(RUNS),500) $(CRASH_ARGS)

sim: $(DEV_READY) ## run SEEDS seeds of the simulated world, or SIM_SECONDS of them (FIRST=n: from there; else fresh ones)
	$(BIN)/python -m tests.sim $(if $(SIM_SECONDS),--seconds $(SIM_SECONDS),--seeds $(or $(SEEDS),300)) --jobs $(JOBS) $(if $(FIRST),--first $(FIRST))

check: $(DEV_READY) ## lint, formatting, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(DEV_READY) ## format, and mend what the linter can mend
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

faults: $(DEV_READY) ## the fault catalogue over whole cores in virtual time, all seeds, and the figures
	BFLC_FIGURES=1 $(BIN)/python -m pytest --timeout 1800 $(PYTEST_ARGS) tests/faults

manifests: $(DEV_READY) ## daemons under kill, pause, disconnect: every manifest, and those drawn from MANIFEST_SEEDS
	$(BIN)/python -m tests.manifests run all $(addprefix --seed ,$(MANIFEST_SEEDS))

soak: $(DEV_READY) ## ROUNDS rounds (1000) of a fast task: does anything grow? Draws docs/pictures/soak.png
	$(BIN)/python -m tests.soak --rounds $(if $(filter command line environment,$(origin ROUNDS)),$(ROUNDS),1000)

bench: $(DEV_READY) ## measure the budgets of the design
	$(BIN)/python -m tests.bench

fuzz: $(DEV_READY) ## RUNS mutated inputs on every decoder and on the port (HARNESS=name: one of them)
	$(BIN)/python -m tests.fuzz --runs $(RUNS) $(if $(HARNESS),--harness $(HARNESS)) $(if $(SEED),--seed $(SEED))

hostile: $(DEV_READY) ## every command in surroundings drawn from fresh seeds, for a minute (HOSTILE_ARGS="--seed N --command NAME")
	$(BIN)/python -m tests.hostile $(HOSTILE_ARGS)

border: $(DEV_READY) ## every attack on the border against real daemons, in ten minutes (BORDER_ARGS="--only NAME --output FILE")
	$(BIN)/python -m tests.border $(BORDER_ARGS)

foreign: $(DEV_READY) ## fetch libp2p peers in Go and JavaScript into .foreign; then the tests with them run (needs npm)
	$(PIP) download -q --no-deps -d .foreign hivemind==1.1.12
	cd .foreign && ../$(BIN)/python -m zipfile -e hivemind-1.1.12-*.whl . && chmod +x hivemind/hivemind_cli/p2pd
	cp tests/foreign/package.json .foreign/ && npm install --prefix .foreign --no-audit --no-fund --loglevel error

mutants: $(DEV_READY) ## plant defects, and show which tests and worlds notice them (JOBS at a time; MUTANTS names some)
	$(BIN)/python -m tests.mutants --jobs $(JOBS) $(MUTANTS)

wheels: $(RUN_READY) ## build .wheels, so that an image can be built without a network
	@echo "building wheels of bflcd and all that it needs"
	$(PIP) wheel -q -c constraints.txt -w .wheels .

testnet-docker: $(DEV_READY) ## ten containers, ROUNDS rounds, to the end (see docs/docker.md)
	$(BIN)/python -m tests.docker.community --nodes $(NODES) --rounds $(ROUNDS)

test-docker: $(DEV_READY) ## containers under faults: one is killed and comes back
	$(BIN)/python -m pytest -m docker --timeout 1800 $(PYTEST_ARGS) tests/docker

clean: ## remove what the other targets made
	rm -rf $(VENV) .wheels dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz .foreign .import_linter_cache
	find bflcd cli tests -name __pycache__ -type d -prune -exec rm -rf {} +

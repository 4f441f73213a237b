# `make help` explains each target. Every target sets up what it needs by itself.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PY := .venv/bin/python
SEEDS ?= 32
LOOPS ?= 10
AGENTS ?= 30
MACHINE ?= the machine that built it
PAYLOADS ?= 100000
MINUTES ?= 30
PAGES ?= fleet engineer officer
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1

.PHONY: help demo test check lint types layers unit bench bench-bandit sim crash rollout-test conformance fuzz soak attack redteam deb dist locks sbom wheels upgrade reference bundles clean setup setup-dev kill-rounds slow screenshots docs docs-serve walk chaos release

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: setup ## The whole flow on real data with real processes (ARGS="--keep" leaves it running)
	$(PY) -m demo $(ARGS)

test: setup-dev check unit ## Everything that CI runs: lint, types, layers, tests

check: lint types layers ## Static checks only

lint: setup-dev ## ruff: style and formatting
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: setup-dev ## mypy: strict on the packages and the demo, signatures in the tests too
	.venv/bin/mypy

layers: setup-dev ## import-linter: who may import whom
	.venv/bin/lint-imports --config setup.cfg

unit: setup-dev ## pytest without the slow suites: the browser's alone, then a process a core, whole files to each (ARGS="-k word" to choose)
	$(PY) -m pytest -m "not slow" tests/browser tests/coordinator/dashboard $(ARGS) || [ $$? = 5 ] # 5: ARGS chose none of them
	$(PY) -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --ignore=tests/browser --ignore=tests/coordinator/dashboard $(ARGS)

bench: setup-dev ## Speed as ratios to a floor, one JSON object a benchmark
	$(PY) -m tests.benchmarks.echo --json
	$(PY) -m tests.benchmarks.ingest --json
	$(PY) -m tests.benchmarks.footprint --json

bench-bandit: setup-dev ## The device's bandits beside Vowpal Wabbit and on Open Bandit (ARGS="--obd DIR --campaign all")
	$(PY) -m tests.benchmarks.bandit --json $(ARGS)

sim: setup-dev ## The agent in a faulty world (SEEDS=1000, or SEED=17 to replay one)
	$(PY) -m tests.sim $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

crash: setup-dev ## kill -9 real agents in the middle of real traffic (LOOPS=200)
	$(PY) -m tests.crash --loops $(LOOPS)

attack: setup-dev ## Every attack on the updater, on a real agent; then power cuts in the middle of updates (LOOPS=200)
	$(PY) -m pytest -q -m attack
	$(PY) -m tests.attack.powercut --loops $(LOOPS) --json
	$(PY) -m tests.attack.switchcut --loops $(LOOPS) --json

redteam: setup-dev ## Attacks on privacy with their figures, one JSON object (ARGS="--only items --seed 1"; MovieLens where it is at hand)
	$(PY) -m tests.redteam --json $(ARGS)

slow: setup-dev ## The tests that `make test` leaves out: rounds, cut learners, attacks on a coordinator, a bad week (an hour; exports only with the [build] extra)
	$(PY) -m pytest -q -m slow tests --ignore=tests/conformance $(ARGS)

rollout-test: setup-dev ## Bad versions on twelve real agents: halted, rolled back, no decision failed (ARGS="--agents 4")
	$(PY) -m tests.rollout --json $(ARGS)

chaos: setup-dev ## A bad week of thirty real agents, broker and coordinator, on a network of its own (AGENTS=6, SEED=2; as root; docs/chaos.md)
	$(PY) -m tests.chaos --agents $(AGENTS) --seed $(or $(SEED),1) --json $(ARGS)

fuzz: setup-dev ## 100,000 damaged payloads, 200 damaged ONNX and 200 damaged TFLite bundles (PAYLOADS=1000; a few minutes)
	$(PY) -m tests.fuzz --payloads $(PAYLOADS)
	$(PY) -m pytest -q -m slow tests/edge_agent/shell/test_probe.py

soak: setup-dev ## A real agent at half of its capacity, watched for what grows (MINUTES=30)
	$(PY) -m tests.benchmarks.soak --minutes $(MINUTES)

deb: setup-dev ## dist/edgeward_VERSION_ARCH.deb: the agent with its libraries, by their hashes (ARCH=arm64, PYTHON_VERSION=3.13, LOCK=agent-full)
	PYTHON=$(PY) packaging/debian/build dist

dist: setup-dev ## dist/: sdist and wheel of the newest commit, the same bytes wherever they are built, and SHA256SUMS
	$(PY) tools/dist dist

locks: setup-dev ## packaging/locks: each role's libraries in one version with hashes (ARGS="--upgrade", ARGS=agent)
	$(PY) tools/locks $(ARGS)

sbom: setup-dev ## dist/ROLE.cdx.json: CycloneDX bills of materials of agent, coordinator and officer, with licences
	$(PY) tools/sbom dist

release: setup-dev ## dist/: all files of a release of the newest commit, with their sums; sets no tag (ARGS=--check; docs/releasing.md)
	$(PY) tools/release $(ARGS)

wheels: setup-dev ## docs/platforms.md: for which machines every library has a wheel (asks the registry; minutes)
	$(PY) tools/wheels docs/platforms.md

upgrade: setup-dev ## An old version's agent lives, is upgraded and downgraded (OLD=COMMIT; builds its wheel)
	$(PY) -m tests.packaging.upgrade $(if $(OLD),--old $(OLD)) --json

kill-rounds: setup-dev ## kill -9 coordinator, SuperLink and server app in every state of a round (LOOPS=50)
	$(PY) -m tests.coordinator.kill --loops $(LOOPS) --json

conformance: setup-dev ## Every broker, version and feature of docs/brokers.md, the slow ones too
	$(PY) -m pytest tests/conformance $(ARGS)

docs: setup-dev ## The site of the documents in build/site; a broken link fails
	$(PY) -m tools.site
	.venv/bin/mkdocs build --quiet --strict --clean

docs-serve: docs ## The site at http://127.0.0.1:8000; after a change run `make docs` beside it
	$(PY) -m http.server --bind 127.0.0.1 --directory build/site 8000

walk: setup ## The tutorials from an empty machine: a fresh clone, an empty home, the installation; with times (PAGES="officer")
	for page in $(PAGES); do $(PY) -m tests.docs.walk $$page --json; done

screenshots: setup-dev ## Pictures of every page in build/screenshots, phone and desktop, light and dark (ARGS="documents" to choose)
	$(PY) -m tests.browser.screenshots $(ARGS)

reference: setup-dev ## Write the reference profile, settings and schemas again from the structs
	$(PY) -m firmware_configs.reference
	$(PY) -m edge_agent.reference
	$(PY) -m coordinator.reference

bundles: ## Rebuild the zoo's graphs and bundles (needs the [build] extra: torch and tensorflow)
	.venv/bin/edge-models export --all
	.venv/bin/edge-models build --all --measured-on "$(MACHINE)" --out models/zoo/bundles

setup: ## Make .venv with what the demo needs, by the hashes of packaging/locks (EDGEWARD_UNLOCKED=1: by setup.cfg)
	@tools/setup demo

setup-dev: ## Make .venv with what tests and checks need, and mosquitto where apt can
	@tools/setup dev

clean: ## Remove what was built here; keeps .venv
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .demo

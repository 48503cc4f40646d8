# What a person types: `make demo` shows the thing, `make test` checks all of it. Python packages are installed into .venv,
# from the hashes in requirements-dev.txt. What the tests need of the operating system is listed in
# tests/system_packages.py: `make system` installs what is missing of it, as root with apt-get; nothing else outside this
# folder is changed.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-by-make

# The first Python that is new enough and can make a virtual environment. Say PYTHON=/path/to/python to choose.
CAN_DO := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach name,python3 python3.11 python3.12 python3.13 python3.14,\
	$(shell $(name) -c "$(CAN_DO)" >/dev/null 2>&1 && echo $(name))))

# What a shell has set for another Python (PYTHONPATH, PYTHONWARNINGS, PYTHONOPTIMIZE and so on) is not for that of .venv.
unexport $(filter PYTHON%,$(.VARIABLES))

# The program that says what is missing of the operating system, and installs it where it may.
SYSTEM = $(or $(PYTHON),python3) -B tests/system_packages.py

# For how long `make simulate` goes on.
SECONDS ?= 60

# For how long faults strike in `make nemesis`. Its seed, if it is to be a certain one: make nemesis SEED="--seed 4711"
NEMESIS ?= 300
SEED ?=

# More arguments for pytest: make test PYTEST="-k schema -x"
PYTEST ?=
# More arguments for the benchmark: make bench BENCH="--repeats 3"
BENCH ?=
# More arguments for the comparison with other frameworks: make peers PEERS="--only celery naive --repeats 1"
PEERS ?= --write

# The frameworks of bench/peers are nobody else's business: they have an environment of their own.
PEERS_VENV := .venv-peers
PEERS_STAMP := $(PEERS_VENV)/.made-by-make

.PHONY: help setup system demo test test-bare simulate protocol faults nemesis mutate bench peers lint format docs lock sbom clean FORCE
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with .venv/bin/provisioner in it (the other targets do it by themselves)

# A folder that was moved or copied has scripts that point to where it was: then it is made anew.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
$(STAMP): FORCE
endif
$(STAMP): requirements-dev.txt pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "make setup needs Python 3.11 or newer with venv, which is missing; install it with: apt-get install python3 python3-venv" >&2; exit 1; }
	@echo "== setup: $$(grep -c '^[a-z].*==' requirements-dev.txt) locked packages into $(VENV)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip --disable-pip-version-check install --quiet --require-hashes -r requirements-dev.txt
	@$(BIN)/pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation -e .
	@echo "$(CURDIR)" > $(STAMP)

system: ## Install what the tests need of the operating system, or say how (`make test` does it by itself)
	@$(SYSTEM)

demo: setup ## Provision 200 websites and show their progress, on servers of its own
	@$(BIN)/provisioner demo

test: lint system ## Check everything: ruff, mypy, and all tests on a real PostgreSQL and RabbitMQ
	@echo "== pytest: all tests, in two processes, each with a PostgreSQL and a RabbitMQ of its own"
	@$(BIN)/pytest -n 2 --dist worksteal $(PYTEST)

test-bare: export PYTEST := $(PYTEST)
test-bare: setup ## Do `make demo` and `make test` on a bare Debian 12: in a chroot, as root
	@tests/bare.sh

simulate: setup ## Try new seeds of the simulation for SECONDS (60), and keep those that fail
	@$(BIN)/python -m tests.simulation.run --seconds $(SECONDS)

protocol: setup ## Search the model of the protocol whole, and take back each of its rules
	@$(BIN)/python -m tests.protocol

faults: setup ## Inject every numbered fault for as long as the catalogue says, and write docs/faults.md
	@$(SYSTEM) rabbitmq-server openssl
	@$(BIN)/pytest -p tests.faults.plugin -m fault --full-faults --faults-record $(PYTEST)

nemesis: setup ## Inject random faults of all classes for NEMESIS (300) seconds under load, then drain and count
	@$(SYSTEM) rabbitmq-server
	@$(BIN)/python -m tests.faults.nemesis --seconds $(NEMESIS) $(SEED)

bench: setup ## Measure it against a plain consumer, on servers of its own, and write docs/performance.md
	@$(SYSTEM) rabbitmq-server
	@$(BIN)/python -m bench --write $(BENCH)

peers: $(PEERS_STAMP) ## Measure other frameworks at the same work, and what SIGKILL costs them; write docs/peers.md
	@$(SYSTEM) rabbitmq-server
	@$(PEERS_VENV)/bin/python -m bench.peers $(PEERS)

ifneq ($(shell cat $(PEERS_STAMP) 2>/dev/null),$(CURDIR))
$(PEERS_STAMP): FORCE
endif
$(PEERS_STAMP): bench/peers/requirements.txt
	@[ -n "$(PYTHON)" ] || { echo "make peers needs Python 3.11 or newer with venv, which is missing; install it with: apt-get install python3 python3-venv" >&2; exit 1; }
	@echo "== setup: $$(grep -c '^[a-z].*==' bench/peers/requirements.txt) locked packages into $(PEERS_VENV)"
	@rm -rf $(PEERS_VENV)
	@$(PYTHON) -m venv $(PEERS_VENV)
	@$(PEERS_VENV)/bin/pip --disable-pip-version-check install --quiet --require-hashes -r bench/peers/requirements.txt
	@echo "$(CURDIR)" > $(PEERS_STAMP)

mutate: setup system ## Break the design on purpose, one mutation a time, and show which test notices
	@$(BIN)/python -m tests.mutations

lint: setup ## Check style and types only
	@echo "== ruff: rules"
	@$(BIN)/ruff check .
	@echo "== ruff: format"
	@$(BIN)/ruff format --check .
	@echo "== mypy: strict"
	@$(BIN)/mypy

format: setup ## Format the code, and fix what ruff can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: setup ## Write what is generated anew: states.md, faults.md, asyncapi.yaml and schemas/ in docs/, rules in schema.sql, expected_schema.json
	@$(BIN)/python -c "from statemachine.rendering import markdown; print(markdown(), end='')" > docs/states.md
	@$(BIN)/python -m tests.faults.page
	@$(BIN)/python -m tests.schema_files
	@$(BIN)/provisioner contracts > docs/asyncapi.yaml
	@$(BIN)/provisioner contracts --schemas docs/schemas

# The environment of whoever runs it must not leak into the lock: a local find-links folder would shrink the list of
# hashes to the files in it.
PIP_COMPILE = env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL -u PIP_CONSTRAINT PIP_CONFIG_FILE=/dev/null \
	CUSTOM_COMPILE_COMMAND="make lock" $(1)/bin/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe \
	--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host pyproject.toml

lock: ## Resolve the dependencies anew, into requirements.txt, requirements-dev.txt and that of bench/peers
	@[ -n "$(PYTHON)" ] || { echo "make lock needs Python 3.11 or newer with venv, which is missing; install it with: apt-get install python3 python3-venv" >&2; exit 1; }
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT \
	&& $(PYTHON) -m venv "$$scratch" \
	&& "$$scratch/bin/pip" --disable-pip-version-check install --quiet "pip-tools>=7.5" \
	&& $(call PIP_COMPILE,"$$scratch") --extra console --output-file requirements.txt \
	&& $(call PIP_COMPILE,"$$scratch") --extra console --extra local --extra dev --constraint requirements.txt --output-file requirements-dev.txt \
	&& $(call PIP_COMPILE,"$$scratch") bench/peers/requirements.in --extra local --constraint requirements-dev.txt --output-file bench/peers/requirements.txt

sbom: setup ## Write dist/sbom.json, a CycloneDX list of the packages of the service, with their hashes
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --mc-type application --output-reproducible --short-PURLs --output-file dist/sbom.json

clean: ## Remove .venv and all that was generated
	@rm -rf $(VENV) $(PEERS_VENV) build dist .pytest_cache .mypy_cache .ruff_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# munjang: `make run` to see it work, `make test` to test it. Everything lives in .venv; nothing is installed elsewhere.

VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.runs
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check $(shell [ -t 2 ] || echo --quiet)

# The Python to build .venv with. Empty: the first of these that runs and is 3.11 or newer; where none is, uv brings one.
PYTHON ?=
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3 python
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

# Options for pip when it installs torch, for another build of it than your package index gives:
# `make setup TORCH_OPTIONS="--index-url URL"`.
TORCH_OPTIONS ?=
TORCH := $(shell sed -n '/^torch==/p' constraints.txt)

# How many processes run the tests, which wait more than they compute, and share no file among them; each takes one
# thread for what torch computes. `make test TEST_PROCESSES=0` runs them in one, for a debugger.
TEST_PROCESSES ?= 3

# More arguments for the program that a target runs: `make test ARGS="-k registry"`, `make run ARGS="--port 50052"`.
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test setup lint format client protos protos-baseline docs docs-site constraints bench bench-serving bench-ablation \
	dist bundle clean distclean

help: ## Say what there is.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNS) ## Install what running needs on first use, then start registry, Valkey, server and worker on 127.0.0.1:50051 (munjang up).
	@$(BIN)/munjang up $(ARGS)

test: setup ## Set up on first use, then run the tests.
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

setup: $(STAMP) ## Make .venv with pinned versions of everything, for tests too; again only when pyproject.toml or constraints.txt changed.

$(BIN)/python:
	@python="$(PYTHON)"; \
	for name in $(PYTHONS); do \
		[ -n "$$python" ] || ! $$name -c '$(NEW_ENOUGH)' 2>/dev/null || python=$$name; \
	done; \
	if [ -n "$$python" ]; then \
		echo "Making $(VENV) with $$python"; $$python -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; \
	elif command -v uv >/dev/null; then \
		uv venv --seed --python 3.11 $(VENV); \
	else \
		echo "munjang needs Python 3.11 or newer: install it, or say make PYTHON=PATH" >&2; exit 1; \
	fi

# torch comes first, in a step of its own: which build of it there is (CPU, CUDA) is settled before others depend on it.
$(RUNS): pyproject.toml constraints.txt | $(BIN)/python
	@echo "1 of 2: installing PyTorch, the largest part"
	@$(PIP) install --constraint constraints.txt $(TORCH_OPTIONS) $(TORCH)
	@echo "2 of 2: installing what server, worker and the first model need"
	@$(PIP) install --constraint constraints.txt --editable '.[starter]'
	@touch $@

$(STAMP): $(RUNS)
	@echo "Installing the trainer and what the tests need"
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

lint: setup docs-site ## Check style, types, import rules, dependencies, protos, links, and that generated files are current.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .
	$(BIN)/python -m tools.protos lint
	$(BIN)/python -m tools.protos breaking
	$(BIN)/python -m tools.protos stubs
	$(BIN)/python -m tools.unasync --check
	$(BIN)/python -m tools.settings_docs --check
	$(BIN)/python -m tools.job_types_docs --check
	$(BIN)/python -m tools.models_docs --check
	$(BIN)/python -m tools.api_docs --check
	$(BIN)/python -m tools.sizing --check
	$(BIN)/python -m tools.alerts --check

format: setup ## Format the code and mend what ruff can mend.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

client: setup ## Generate the sync client from the async one.
	$(BIN)/python -m tools.unasync

protos: setup ## Generate munjang/v1 from protos/.
	$(BIN)/python -m tools.protos generate

protos-baseline: setup ## At a release only: make today's protos the contract that later ones are held against.
	$(BIN)/python -m tools.protos baseline

docs: setup ## Write the generated pages of docs/, and the alert rules for Prometheus.
	$(BIN)/python -m tools.settings_docs
	$(BIN)/python -m tools.job_types_docs
	$(BIN)/python -m tools.models_docs
	$(BIN)/python -m tools.api_docs
	$(BIN)/python -m tools.sizing
	$(BIN)/python -m tools.alerts
	$(BIN)/python -m tests.bench.simulated

docs-site: setup ## Build docs/ as a site into build/docs, by mkdocs; a link or an anchor that leads nowhere is an error.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

constraints: | $(BIN)/python ## Pin the newest versions that fit pyproject.toml, found in a clean environment.
	$(BIN)/python -m tools.constraints

bench: setup ## Measure speed, write docs/benchmarks.md; ARGS="--quick", "--peers", "--only served", "--profile FOLDER".
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.bench.speed $(ARGS)
	@case "$(ARGS)" in *--quick* | *--only*) ;; *) \
		$(MAKE) --no-print-directory bench-serving ARGS= && $(BIN)/python -m pytest --quiet tests/bench ;; \
	esac
	@$(BIN)/python -m tools.sizing

bench-serving: setup ## Load and break the server, write docs/bench/serving.md; ARGS="--quick", "--only swaps,faults".
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.bench.serving $(ARGS)

bench-ablation: setup ## Set this build beside itself without single mechanisms; ARGS="--against FOLDER": beside another checkout.
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.bench.builds $(ARGS)

dist: setup ## Build the wheel, the source distribution and the images' context into dist/.
	$(BIN)/python -m tools.dist dist

bundle: setup ## One archive for a site without a network: wheels, manifests, a model, install.sh; ARGS="--extra server", "--no-model".
	$(BIN)/python -m tools.dist bundle $(ARGS)

clean: ## Remove caches and what was built.
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## Remove .venv as well.
	rm -rf $(VENV)

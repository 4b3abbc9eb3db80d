# Needs only make and Python >= 3.11. Everything is installed into .venv, once, from the lock files.

PYTHON ?= python3
ARGS ?=
COVERAGE_MIN ?= 90
# Each has a PostgreSQL of its own, so more are no gain on two cores; 0 tests in this process.
TEST_WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
VENV_READY := $(VENV)/.ready
RUN_READY := $(VENV)/.ready-run
DEV_READY := $(VENV)/.ready-dev
FUZZ_READY := $(VENV)/.ready-fuzz

# The core is what the contract "The core is pure" names; a module's tests are tests/test_MODULE*.py.
CONTRACTS := import tomllib; \
	contracts = tomllib.load(open("pyproject.toml", "rb"))["tool"]["importlinter"]["contracts"]; \
	print(*next(c["source_modules"] for c in contracts if c["name"] == "The core is pure"))
CORE = $(shell $(BIN)/python -c '$(CONTRACTS)')
CORE_TESTS = $(wildcard $(patsubst relevo.%,tests/test_%*.py,$(CORE)))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check core-coverage format bench chaos fuzz schema lock clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(RUN_READY) ## Install what running needs and start Relevo (options: ARGS="...")
	@exec $(BIN)/relevo serve $(ARGS)

test: check core-coverage ## Install, run every check and all tests, with coverage
	$(BIN)/pytest --numprocesses=$(TEST_WORKERS) --dist=loadfile --no-loadscope-reorder \
		--cov=relevo --cov-branch --cov-fail-under=$(COVERAGE_MIN) $(ARGS)

check: $(DEV_READY) ## Lint, format, types, architecture contracts, spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell

core-coverage: $(DEV_READY) ## Show that the core's own tests reach every branch of it
	$(BIN)/coverage run --data-file=.coverage.core --source=relevo -m pytest --quiet $(CORE_TESTS)
	$(BIN)/coverage report --data-file=.coverage.core --fail-under=100 \
		--include="$$(echo $(CORE:relevo.%=relevo/%.py) | tr ' ' ',')"

format: $(DEV_READY) ## Format the code and fix what the linter can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(DEV_READY) ## Measure the speed on this machine (a few minutes)
	$(BIN)/python bench $(ARGS)

chaos: $(DEV_READY) ## Kill it 200 times under load and look for what is missing (ten minutes)
	$(BIN)/python chaos $(ARGS)

fuzz: $(FUZZ_READY) ## Try to make the reading of what providers write fail (ten minutes)
	$(BIN)/python fuzz $(ARGS)

schema: $(DEV_READY) ## Write down the schema that `relevo doctor` compares a database with
	$(BIN)/python -m tests.reference_schema

lock: ## Pin anew every package, direct and indirect, after a change of pyproject.toml
	$(call lock,.,requirements.lock,)
	$(call lock,.[dev],requirements-dev.lock,--constraint requirements.lock)

clean: ## Remove what is installed and cached; the data in .relevo stays
	rm -rf $(VENV) $(VENV)-lock dist .fuzz .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV_READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Relevo needs Python 3.11 or newer; '$(PYTHON)' is not. Try: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' has no venv module. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(RUN_READY): $(VENV_READY) requirements.lock pyproject.toml
	@echo "Installing into $(VENV) ..."
	@$(PIP) install -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_READY): $(RUN_READY) requirements-dev.lock
	@echo "Installing the development tools into $(VENV) ..."
	@$(PIP) install -r requirements-dev.lock
	@touch $@

# Atheris has wheels for Python 3.11 to 3.13 on Linux, so nothing else depends on it.
$(FUZZ_READY): $(DEV_READY) requirements-fuzz.lock
	@echo "Installing the fuzzer into $(VENV) ..."
	@$(PIP) install --only-binary :all: -r requirements-fuzz.lock
	@touch $@

# $(call lock,WHAT,FILE,OPTIONS); the build backend is pinned too, so that nothing is fetched unpinned
BACKEND = $(shell sed -n 's/^requires = \["\(.*\)"\]$$/\1/p' pyproject.toml) editables
define lock
@$(PYTHON) -m venv --clear $(VENV)-lock
@$(VENV)-lock/bin/python -m pip --disable-pip-version-check -qq install $(3) '$(1)' $(BACKEND)
@echo '# Every package and its version; made by: make lock' > $(2)
@$(VENV)-lock/bin/python -m pip --disable-pip-version-check freeze --exclude relevo >> $(2)
@rm -rf $(VENV)-lock
endef

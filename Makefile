# Every target is safe to repeat; what is already there is not made again.
# A fresh machine needs `make demo` and `make test`, nothing before them.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 3
PIP := $(BIN)/python -m pip --disable-pip-version-check
WHEELS := dist
JS := clients/js
JS_STAMP := $(JS)/node_modules/.installed
TON := ton/contracts
TON_STAMP := $(TON)/node_modules/.installed
PIP_TOOLS := pip-tools==7.6.2
CONFORMANCE := .compat/conformance
SUITES := llm-comply==0.5.0 apiwells==0.2.3

.DEFAULT_GOAL := help
.PHONY: help prerequisites basics setup tools tvm-if-possible contracts check fix test coverage demo up \
	mutants mutants-contract fuzz sweep bench chaos conformance \
	test-sglang wheels sbom images-check lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

prerequisites: ## say everything that this machine lacks, with the line that installs it
	@scripts/prerequisites --tests

basics:
	@scripts/prerequisites

setup: basics $(STAMP) ## make .venv from the lock file and install the project into it

tools: setup $(JS_STAMP) $(TON_STAMP) ## install what comes from npm: the JavaScript client's packages, the TVM and its compiler

$(STAMP): requirements/dev.txt requirements/openai-1.txt requirements/openai-2.txt pyproject.toml
	@echo "setting up $(VENV): a minute or two the first time"
	@test -x $(BIN)/python || "$$(scripts/prerequisites --python)" -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation --quiet -e .
	@for major in 1 2; do \
		$(PIP) install --quiet --require-hashes --no-deps --upgrade \
			--target .compat/openai-$$major -r requirements/openai-$$major.txt || exit 1; \
	done
	@touch $@

$(JS_STAMP): $(JS)/package-lock.json $(JS)/package.json
	@scripts/prerequisites --tests
	@echo "installing what the JavaScript client is built and tested with: half a minute"
	cd $(JS) && npm ci --no-fund --no-audit
	@touch $@

$(TON_STAMP): $(TON)/package-lock.json $(TON)/package.json
	@scripts/prerequisites --node
	@echo "installing the TVM and the compiler of its contracts: a few seconds" >&2
	cd $(TON) && npm ci --no-fund --no-audit >&2
	@touch $@

# With the TVM a network pays by channel, without it from prepaid credit, as it says itself: what
# npm is missing for must not keep anybody from the demo.
tvm-if-possible:
	@if scripts/prerequisites --node 2>/dev/null; then \
		$(MAKE) --no-print-directory $(TON_STAMP) || true; fi

contracts: tools ## compile the contracts and write their code beside them (ARGS=--check compares)
	$(BIN)/python -m ton.contracts.build $(ARGS)

check: tools ## lint, format, types and the rules on who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd $(JS) && npm run --silent check

fix: tools ## mend what the linter and the formatter can mend by themselves
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd $(JS) && npm run --silent fix

test: tools ## run every test in parallel (ARGS="-k name" for some)
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

# Tracing makes everything slower by half: apart from the tests that every change waits for.
coverage: tools ## run every test once more and hold the core to 100 % of its branches, the rest to 90 %
	$(BIN)/python -m pytest -n $(JOBS) --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --skip-covered --fail-under=100 --include='bombyx/*' \
		--omit='bombyx/attack/*,bombyx/cli/*,bombyx/client/*,bombyx/conformance/*,bombyx/settings/*,bombyx/__*.py'
	$(BIN)/coverage report --skip-covered --fail-under=90 \
		--include='bombyx/attack/*,bombyx/cli/*,bombyx/client/*,bombyx/conformance/*,bombyx/settings/*,gateway/*,worker/*,ton/*'

demo: setup tvm-if-possible ## start the network, stream one sealed answer, show its proof and its price, stop
	@$(BIN)/bombyx demo $(ARGS)

up: setup tvm-if-possible ## start the same network and leave it running until Ctrl-C
	@$(BIN)/bombyx up $(ARGS)

chaos: setup tvm-if-possible ## kill processes of a busy network for minutes, then check its books
	$(BIN)/python -m tests.chaos $(ARGS)

conformance: tools $(CONFORMANCE)/.installed ## hold a network against every suite and SDK (ARGS="--write docs/conformance.md")
	$(BIN)/python -m tests.conformance $(ARGS)

# Suites of others, in an environment of their own: what they need is no business of ours.
$(CONFORMANCE)/.installed: requirements/conformance.txt
	@test -x $(CONFORMANCE)/bin/python || "$$(scripts/prerequisites --python)" -m venv $(CONFORMANCE)
	$(CONFORMANCE)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes \
		--only-binary :all: -r requirements/conformance.txt
	@touch $@

test-sglang: tools ## build real SGLang for the CPU (3 GB, once) and run its tests, and llama.cpp's
	@scripts/sglang-cpu
	BOMBYX_SGLANG=1 $(BIN)/python -m pytest tests/sglang -p no:cacheprovider $(ARGS)

fuzz: setup ## fuzz every parser, 20 s each (ARGS="--seconds 60 header open" for some)
	@test -d .compat/atheris/atheris || $(PIP) install --quiet --require-hashes --no-deps \
		--only-binary :all: --target .compat/atheris -r requirements/fuzz.txt || \
		echo "fuzz: atheris cannot be installed here"
	PYTHONPATH=.compat/atheris $(BIN)/python -m tests.fuzz $(ARGS)

sweep: setup ## change every byte of every genuine file of evidence, one at a time (minutes)
	$(BIN)/python -m tests.sweep

mutants: setup ## remove one defence at a time: each time an attack must succeed (ARGS="NAME --jobs 4")
	$(BIN)/python -m tests.mutants $(ARGS)
	@$(MAKE) --no-print-directory mutants-contract ARGS=

mutants-contract: setup $(TON_STAMP) ## the contract's part: each guard that is removed must be missed (ARGS=NAME)
	$(BIN)/python -m tests.mutants.contract $(ARGS)

bench: setup ## measure the CPU time per request and per token
	$(BIN)/python -m benchmarks $(ARGS)

wheels: setup ## build one wheel per role into dist/
	@for folder in . packaging/gateway packaging/worker packaging/ton; do \
		(cd $$folder && "$(CURDIR)/$(BIN)/hatchling" build -t wheel -d "$(CURDIR)/$(WHEELS)") || exit 1; \
	done

sbom: setup ## write a CycloneDX bill of materials for each image into dist/
	@mkdir -p $(WHEELS)
	@for role in gateway owner worker-cpu worker-gpu; do \
		$(BIN)/python docker/lock.py sbom $$role >$(WHEELS)/$$role.cdx.json || exit 1; \
	done

images-check: setup ## rehearse the images without a container engine (as root, on Linux)
	BOMBYX_IMAGES=1 $(BIN)/python -m pytest tests/docker -p no:cacheprovider $(ARGS)

lock: setup ## resolve the dependencies anew (add ARGS=--upgrade for newer releases)
	@test -x build/lock/bin/pip-compile || "$$(scripts/prerequisites --python)" -m venv build/lock
	build/lock/bin/pip install --quiet $(PIP_TOOLS)
	build/lock/bin/pip-compile --extra dev --strip-extras --generate-hashes --quiet --no-header \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --unsafe-package bombyx \
		$(ARGS) --output-file requirements/dev.txt pyproject.toml
	@# pip-compile warns in the file that bombyx itself is not pinned; it is installed from here.
	@sed -i.bak '/^# WARNING: The following/,$$d' requirements/dev.txt && rm requirements/dev.txt.bak
	printf '%s\n' $(SUITES) | build/lock/bin/pip-compile --strip-extras --generate-hashes --quiet \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		$(ARGS) --output-file requirements/conformance.txt -

clean: ## remove everything that was built or cached, .venv included
	rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache $(JS)/node_modules $(JS)/build $(JS)/dist $(TON)/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

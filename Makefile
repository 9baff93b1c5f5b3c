# The front door. `make` alone lists what there is.
#
#   PYTHON=python3.12 make test    set up with this Python
#   make test ARGS="-k store -x"   more arguments for pytest (or for the demo); -n 0: one at a time
#   NO_SYSTEM_INSTALL=1 make test  without apt-get, whatever is missing
#   make release VERSION=1.4.0 ARGS=--dry-run

PYTHON ?=
ARGS ?=
VERSION ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
PYTEST = $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 20

.PHONY: help setup demo test test-browser test-busy test-tools test-bare torch test-torch interop beside fuzz check format bench bench-peers lock defects docs docs-check docs-cli docs-config docs-defects docs-events docs-items docs-phases docs-output pictures build release licences clean distclean

help: ## List the targets
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv with pinned versions; quick when there is nothing to do
	@PYTHON="$(PYTHON)" sh scripts/setup.sh

demo: setup ## Four nodes on this machine learn together, with a live view
	@$(BIN)/openfl-node demo $(ARGS)

test: setup test-tools ## Run all tests, several files at a time
	@$(PYTEST) $(ARGS)

test-busy: setup test-tools ## The same beside two spinning processes for each core
	@sh scripts/busy.sh $(PYTEST) $(ARGS)

test-tools: # What only tests and documents need, where it may be installed
	@sh scripts/test_tools.sh

test-bare: ## Try it all in a bare Debian, killed and started again; root, a quarter of an hour
	@sh scripts/bare_debian.sh

torch: setup ## Install PyTorch and scikit-learn: `make test` then runs the tests that need them
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/torch.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/torch-build.txt

test-torch: torch ## Install them, and run those tests alone
	@$(BIN)/python -m pytest tests/unit/test_torch_*.py tests/loopback/test_examples.py $(ARGS)

interop: setup test-tools ## Run the tests against js-libp2p; needs Node.js 20 or newer and npm
	@sh scripts/interop.sh $(ARGS)

test-browser: setup ## Run the tests of the page in headless Chromium; apt-get installs it as root
	@sh scripts/browser.sh $(ARGS)

REF ?= 6461329
beside: setup ## A node of commit REF and one of this version learn in one group
	@$(BIN)/python scripts/beside.py $(REF)

fuzz: setup ## Fuzz the decoders and the session for FUZZ_SECONDS each (600); needs atheris
	@$(BIN)/python -m pip install --quiet "atheris>=3,<4"
	@for target in "decoder" "decoder --cbor" "session"; do \
		echo "== $$target"; \
		$(BIN)/python -m fuzz $$target -max_total_time=$(or $(FUZZ_SECONDS),600) \
			-print_final_stats=1 $(ARGS) || exit 1; \
	done

check: setup ## Formatting, lint, types, dependency rule
	@failed=; \
	run() { echo "== $$*"; $(BIN)/"$$@" || failed="$$failed; $$*"; }; \
	run ruff format --check .; \
	run ruff check .; \
	run mypy; \
	run lint-imports --no-logo; \
	if [ -n "$$failed" ]; then echo "check: failed: $${failed#; }"; exit 1; fi; \
	echo "check: all passed"

format: setup ## Let ruff format and mend what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## Run the benchmarks (see docs/benchmarks.md)
	@for script in benchmarks/[a-z]*.py; do \
		echo "== $$script"; $(BIN)/python "$$script" || exit 1; \
	done

bench-peers: setup ## Run the comparison with other projects, each in an environment of its own
	@$(BIN)/python benchmarks/peers/run.py $(ARGS)

defects: setup ## Say which workarounds the installed py-libp2p still needs; takes some minutes
	@$(BIN)/python scripts/defects.py $(ARGS)

lock: ## Pin the newest versions that pyproject.toml allows in requirements/*.txt
	@sh scripts/lock.sh

docs: setup ## Build the documentation as a site in site/, where a warning is an error
	@sh scripts/docs_site.sh $(ARGS)

docs-check: setup test-tools ## Run all shell in the documents, and compare all output: what takes long, too
	@$(BIN)/python scripts/docs_output.py --check; code=$$?; \
	$(BIN)/python scripts/docs_run.py --slow && exit $$code

docs-cli: setup ## Write docs/cli-reference.md from the parser of openfl-node
	@$(BIN)/python scripts/docs_cli.py

docs-events: setup ## Write docs/events.md from the kinds in openfl/core/event_kinds.py
	@$(BIN)/python -c "from openfl.core.event_kinds import events_markdown as t; print(t(), end='')" \
		> docs/events.md.new && mv docs/events.md.new docs/events.md

docs-config: setup ## Write docs/configuration.md from the settings in openfl/config
	@$(BIN)/python -c "from openfl.config import reference_markdown as text; print(text(), end='')" \
		> docs/configuration.md.new && mv docs/configuration.md.new docs/configuration.md

docs-phases: setup ## Write the phases of a session into docs/architecture.md
	@$(BIN)/python scripts/docs_phases.py

docs-items: setup ## Write the rules of songs' names into docs/items.md
	@$(BIN)/python scripts/docs_items.py

docs-defects: setup ## Write docs/py-libp2p.md from the table in openfl/network/libp2p/defects
	@$(BIN)/python -c "from openfl.network.libp2p.defects import defects_markdown as text; print(text(), end='')" \
		> docs/py-libp2p.md.new && mv docs/py-libp2p.md.new docs/py-libp2p.md

docs-output: setup ## Show in the documents what their commands print today; list older output
	@$(BIN)/python scripts/docs_output.py

pictures: setup ## Draw the pictures in docs/pictures
	@$(BIN)/python scripts/pictures.py $(ARGS)

build: setup ## Build the wheel and the source distribution into dist/
	@$(BIN)/python -m hatchling build

release: setup ## Check, test, build, commit and tag VERSION=x.y.z; pushes nothing
	@$(BIN)/python scripts/release.py "$(VERSION)" $(ARGS)

licences: setup ## List the licences of what a node needs; fails at one that is not known
	@$(BIN)/python scripts/licences.py

clean: ## Remove caches and build output
	@rm -rf build dist site .cache .pytest_cache .ruff_cache .mypy_cache .hypothesis \
		.import_linter_cache
	@find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## Remove .venv as well
	@rm -rf .venv

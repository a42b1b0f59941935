# `make` lists the targets. Each makes its own virtual environment if there is none, and installs into it.

VENV ?= .venv
WORKERS ?= 2
PYTEST_FLAGS ?=
EXTRAS ?= all
GPU_FLAGS ?=
BIN = $(VENV)/bin
# Tests reach no network, and two processes do not fight for the cores.
TEST_ENV = CI=1 HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1
PYTEST = $(TEST_ENV) $(BIN)/python -m pytest $(PYTEST_FLAGS)
# Each file goes to one process. In the order of their names: otherwise files of few tests, among them the longest, come
# last, and one process ends minutes before the other.
SPREAD = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
GPU_WHEELS = $(wildcard .gpu-wheels/*.whl)
PACKAGES = modeling trainers dataset_builders eval_tasks hub_cards cli recipes
# Modules that mypy checks: plain Python that others build on.
TYPED = fourdthinker.cli fourdthinker.hub_cards fourdthinker.recipes
TYPED_MODULES = fourdthinker.modeling.tokens fourdthinker.modeling.prompts fourdthinker.modeling.errors \
	fourdthinker.modeling.atomic fourdthinker.eval_tasks.scores

.PHONY: help demo test check lint types style install docs docs-serve audit lock test-wheel test-oldest test-newest bench-gpu gpu-wheels clean

# The first target is what bare `make` runs: the text behind `##` of each.
help:
	@echo "make TARGET, with one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf '  %-13s %s\n' "$$target" "$$text"; done
	@echo "and any of:"
	@echo "  VENV=DIR             use another environment than .venv"
	@echo "  PYTHON=python3.12    make the environment with another Python"
	@echo "  WORKERS=N            test processes (default: 2)"
	@echo "  PYTEST_FLAGS=...     more flags of pytest, e.g. '-k answers'"

demo: install ## a first answer, then data, training in both stages and evaluation on the rendered world, with a table
	$(BIN)/fourdthinker demo --output demo

# The closing `exit` writes pytest's own exit code to STATUS_FILE, if set; make turns every failure into 2.
test: install ## the whole test suite
	@status=0; $(PYTEST) $(SPREAD) --durations=40 --durations-min=10 || status=$$?; \
	if [ -n "$(STATUS_FILE)" ]; then echo $$status > "$(STATUS_FILE)"; fi; exit $$status

check: install lint types docs ## lint, types, documentation and the quick tests, for while you work
	$(PYTEST) -q $(SPREAD) -m "not medium and not slow"

lint: install ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy sees nothing through an editable install, so it gets a throw-away tree of links.
types: install ## mypy
	@rm -rf .typing && mkdir -p .typing/fourdthinker
	@for package in $(PACKAGES); do ln -s ../../$$package .typing/fourdthinker/$$package; done
	MYPYPATH=.typing $(BIN)/mypy --namespace-packages --explicit-package-bases \
		$(addprefix -p ,$(TYPED)) $(addprefix -m ,$(TYPED_MODULES))

style: install ## format, fix what ruff can fix, and update the list of error messages
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python docs/list_errors.py

docs: install ## the documentation, into site/; fails on a dead link
	$(BIN)/python docs/make_site.py

docs-serve: install ## the same on http://127.0.0.1:8000, until Ctrl-C; `make docs` elsewhere shows changes
	$(BIN)/python docs/make_site.py serve

audit: install ## known vulnerabilities of the locked packages; fails where the service does not answer
	$(BIN)/python -m pip_audit --strict --disable-pip --no-deps --requirement constraints.txt

install: $(VENV)/.installed ## only make the environment

# Exact versions that were tested together; `pip install` without make keeps the ranges of setup.cfg. Runs again when
# either changes; sources need no reinstall, the install is editable.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@if [ ! -x "$(BIN)/python" ]; then \
		for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
			if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found="$$python"; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "fourdthinker needs Python 3.11 or newer: install it, or name it with make PYTHON=/path/to/python3.11" >&2; \
			exit 1; \
		fi; \
		echo "Making $(VENV) with $$("$$found" --version)"; \
		"$$found" -m venv "$(VENV)" || { echo "no venv module: install it, e.g. apt install python3-venv" >&2; exit 1; }; \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

# Exact versions for the targets above, from the ranges of setup.cfg, for Python 3.11 to 3.13 and every extra.
lock: install ## regenerate constraints.txt: the newest versions inside the ranges of setup.cfg
	$(BIN)/uv pip compile setup.cfg --universal --python-version 3.11 --extra all --upgrade --quiet --no-annotate \
		--custom-compile-command "make lock" --output-file constraints.txt.new
	mv constraints.txt.new constraints.txt

# The whole suite against the built wheel, in an environment that never saw the checkout installed.
test-wheel: ## the whole suite against a built wheel, in a fresh environment
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(or $(PYTHON),python3) -m venv "$$folder/venv" && \
	"$$folder/venv/bin/python" -m pip wheel --quiet --no-deps --wheel-dir "$$folder" . && \
	"$$folder/venv/bin/python" -m pip install --quiet -c constraints.txt "$$(ls "$$folder"/*.whl)[all]" && \
	$(TEST_ENV) "$$folder/venv/bin/pytest" $(SPREAD) $(PYTEST_FLAGS)

# All tests but the slow ones with the oldest versions that setup.cfg allows of the libraries whose internals we meet.
OLDEST = transformers trl datasets huggingface_hub peft
test-oldest: install ## all but the slow tests with the oldest supported libraries
	mkdir -p .oldest
	for name in $(OLDEST); do sed -n "s/^ *$$name>=\([0-9.]*\).*/$$name==\1.*/p" setup.cfg; done > .oldest/constraints.txt
	$(call test_in,.oldest,.[$(EXTRAS)] --constraint .oldest/constraints.txt)

# All tests but the slow ones with the newest version of everything, past the upper bounds of setup.cfg.
test-newest: install ## all but the slow tests with the newest version of everything
	mkdir -p .newest
	sed -n 's/^ *\([a-z_-]*>=[0-9.]*\),<.*/\1/p' setup.cfg > .newest/overrides.txt
	$(call test_in,.newest,.[$(EXTRAS)] --override .newest/overrides.txt)

# $(call test_in,FOLDER,REQUIREMENTS): all tests but the slow ones in a new environment in FOLDER/venv.
define test_in
	$(BIN)/uv venv --quiet --clear --seed --python $(BIN)/python $(1)/venv
	$(BIN)/uv pip install --quiet --upgrade --python $(1)/venv/bin/python -e $(2)
	$(1)/venv/bin/fourdthinker env
	$(TEST_ENV) $(1)/venv/bin/python -m pytest -q $(SPREAD) -m "not slow" $(PYTEST_FLAGS)
endef

# Installs nothing from a registry: a GPU machine may reach none. Without an environment, PYTHON's own packages, the
# wheels of `make gpu-wheels` and links to the sources must do.
bench-gpu: ## what only a GPU shows, in at most 10 minutes, into benchmarks/results/gpu_*.md; resumes
	@if [ -x "$(BIN)/python" ]; then exec $(BIN)/python benchmarks/gpu.py $(GPU_FLAGS); fi; \
	python="$(or $(PYTHON),python3)"; mkdir -p .gpu-site/fourdthinker && \
	for package in $(PACKAGES); do ln -sfn ../../$$package .gpu-site/fourdthinker/$$package; done && \
	if [ -n "$(GPU_WHEELS)" ] && [ ! -e .gpu-site/.installed ]; then \
		"$$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --upgrade \
			--target .gpu-site $(GPU_WHEELS) && touch .gpu-site/.installed || exit 1; \
	fi && \
	PYTHONPATH="$(CURDIR)/.gpu-site$${PYTHONPATH:+:$$PYTHONPATH}" exec "$$python" benchmarks/gpu.py $(GPU_FLAGS)

# PRESENT="NAME ..." says what the machine has, where that is not what benchmarks/gpu_wheels.py assumes.
gpu-wheels: install ## what `make bench-gpu` needs on a machine that reaches no registry, under 64 MiB, into .gpu-wheels
	$(BIN)/python benchmarks/gpu_wheels.py --output .gpu-wheels $(if $(PRESENT),--present $(PRESENT))
	rm -rf .gpu-site

clean: ## remove what builds and tools have left
	rm -rf .oldest .newest .typing .cache site .gpu-wheels .gpu-site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

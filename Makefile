# make demo | test | check | style: each makes its own virtual environment if there is none, and installs into it.
#   VENV=DIR     use another environment         PYTHON=python3.12   make it with another Python
#   WORKERS=N    test processes (default 2)      PYTEST_FLAGS=...    more flags, e.g. -k answers

VENV ?= .venv
WORKERS ?= 2
PYTEST_FLAGS ?=
EXTRAS ?= all
BIN = $(VENV)/bin
# Tests reach no network, and two processes do not fight for the cores.
TEST_ENV = CI=1 HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1
PYTEST = $(TEST_ENV) $(BIN)/python -m pytest $(PYTEST_FLAGS)
ROOMS = modeling trainers dataset_builders eval_tasks hub_cards cli recipes
# Modules where types pay: plain Python that others build on.
TYPED = fourdthinker.cli fourdthinker.hub_cards fourdthinker.recipes
TYPED_MODULES = fourdthinker.modeling.tokens fourdthinker.modeling.prompts fourdthinker.modeling.errors \
	fourdthinker.modeling.atomic fourdthinker.eval_tasks.scores

.PHONY: demo test check lint types style install test-wheel test-oldest clean

demo: install
	$(BIN)/fourdthinker demo --output demo

# The closing `exit` hands pytest's own exit code to whoever asked for it by STATUS_FILE; make turns every failure into 2.
test: install
	@status=0; $(PYTEST) -n $(WORKERS) --dist loadfile || status=$$?; \
	if [ -n "$(STATUS_FILE)" ]; then echo $$status > "$(STATUS_FILE)"; fi; exit $$status

check: install lint types
	$(PYTEST) -q -n $(WORKERS) --dist loadfile -m "not slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy sees nothing through an editable install, so it gets a throw-away tree of links.
types: install
	@rm -rf .typing && mkdir -p .typing/fourdthinker
	@for room in $(ROOMS); do ln -s ../../$$room .typing/fourdthinker/$$room; done
	MYPYPATH=.typing $(BIN)/mypy --namespace-packages --explicit-package-bases \
		$(addprefix -p ,$(TYPED)) $(addprefix -m ,$(TYPED_MODULES))

style: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/.installed

# Runs again when the requirements change; sources need no reinstall, the install is editable.
$(VENV)/.installed: setup.cfg pyproject.toml
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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(EXTRAS)]"
	@touch $@

# The whole suite against the built wheel, in an environment that never saw the checkout installed.
test-wheel:
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(or $(PYTHON),python3) -m venv "$$folder/venv" && \
	"$$folder/venv/bin/python" -m pip wheel --quiet --no-deps --wheel-dir "$$folder" . && \
	"$$folder/venv/bin/python" -m pip install --quiet "$$(ls "$$folder"/*.whl)[all]" && \
	$(TEST_ENV) "$$folder/venv/bin/pytest" -n $(WORKERS) --dist loadfile $(PYTEST_FLAGS)

# The model's tests against the oldest transformers that setup.cfg allows, laid over the environment.
test-oldest: install .oldest/.installed
	PYTHONPATH=.oldest $(PYTEST) -n $(WORKERS) --dist loadfile tests/modeling

.oldest/.installed: setup.cfg
	rm -rf .oldest
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --target .oldest \
		"transformers==$$(sed -n 's/^ *transformers>=\([0-9.]*\).*/\1/p' setup.cfg).*"
	@touch $@

clean:
	rm -rf .oldest .typing build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

# make demo and make test do all set-up themselves, on a machine with only Python >= 3.11 and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXAMPLE := examples/loss-reorder-tls13-aes256gcm

.PHONY: demo test check long interpreted coverage mutants fuzz corpus explore studies bench holes docs screenshots clean

demo: $(VENV)/product
	mkdir -p out
	$(BIN)/rxtls replay $(EXAMPLE).pcap --keys $(EXAMPLE).keys --digest --report out/report.html
	@echo 'look at it: out/report.html'

# Lint, types, import directions, fast tests.
test: check
	$(BIN)/pytest -n 2 -m "not long" $(PYTEST_FLAGS)

check: $(VENV)/installed
	$(BIN)/ruff check src tests tools
	$(BIN)/ruff format --check src tests tools
	$(BIN)/mypy src tests tools
	$(BIN)/lint-imports

# The tests that take minutes.
long: $(VENV)/installed
	$(BIN)/pytest -n 2 -m long $(PYTEST_FLAGS)

# The tests of kernels again, with the kernels run by Python: every access to a table is checked.
interpreted: $(VENV)/installed
	RXTLS_KERNELS=interpreted $(BIN)/pytest -n 2 -m "not long" $(PYTEST_FLAGS) \
		tests/*/test_compiled_*.py tests/native/test_words.py tests/test_engines.py

# Which lines of src the fast tests run, kernels included, as a table.
coverage: $(VENV)/installed
	$(BIN)/python tools/coverage_lines.py $(COVERAGE_FLAGS)

# Small faults in kernels and in the rest, and how many the tests notice: hours.
mutants: $(VENV)/installed
	$(BIN)/python tools/mutate.py compiled --sample 400 --bound 90
	$(BIN)/python tools/mutate.py plain --sample 400 --bound 90

# Captures of hostile structure, then mutated captures, packets and key logs by the hundred thousand.
fuzz: $(VENV)/installed
	$(BIN)/python tools/fuzz_structures.py --count 2000 --seed 0 --jobs 2
	$(BIN)/python tools/fuzz.py --count 100000 --seed 0 --jobs 2 $(FUZZ_FLAGS)

# Every capture below some folders through both engines: make corpus CORPUS="DIR ...".
CORPUS := examples tests/data/real
corpus: $(VENV)/installed
	$(BIN)/python tools/corpus.py $(CORPUS) $(CORPUS_FLAGS)

# How much comes back of captures that lack something.
holes: $(VENV)/installed
	$(BIN)/python tools/holes.py $(HOLES_FLAGS)

# A million states for each policy, and every seeded fault: an hour or so of two cores.
explore: $(VENV)/installed
	$(BIN)/rxtls explore $(EXPLORE_FLAGS)
	$(BIN)/rxtls explore --scaled $(EXPLORE_FLAGS)
	$(BIN)/rxtls explore --faults --states 60000

# The studies of docs/paper.md; the first two exit 1 where a bound is missed.
studies: $(VENV)/installed
	for study in src/rxtls/studies/*.toml; do $(BIN)/rxtls sweep $$study; done

bench: $(VENV)/installed
	$(BIN)/python tools/bench.py $(BENCH_FLAGS)

# The documentation as a site in build/site, with warnings as errors.
docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The pictures in it.
screenshots: $(VENV)/installed
	$(BIN)/python tools/screenshots.py

clean:
	rm -rf $(VENV) build out src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# What the product needs, and on top of it what its developers do.
$(VENV)/product: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "rxtls needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[http]'
	touch $@

$(VENV)/installed: $(VENV)/product
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

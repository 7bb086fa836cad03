# Every target sets up what it needs by itself: a virtual environment in .venv with the pinned packages.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WHEELS ?= wheels
WHEELS_PYTHON ?= 3.12

.DEFAULT_GOAL := help
.PHONY: help setup check test test-processors test-gpu test-ray wheels soak fingerprint demo bench-forecast bench-train bench-gpu bench-lora bench-outgrow bench-precision bench-read bench-card bench-scale bench-studio build try-wheel docs check-project format clean test-contrib test-oldest test-studio test-long

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(READY) ## Create .venv with the pinned packages

$(READY): pyproject.toml constraints.txt scripts/make-venv.sh
	@sh scripts/make-venv.sh "$(PYTHON)" "$(VENV)"
	@touch $@

check: $(READY) ## Lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(READY) ## All tests but the long ones; no network
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-studio: $(READY) ## The long tests of the page, in Debian's Chromium
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow tests/serving $(AGAIN)

test-long: $(READY) ## The other long tests: runs that are killed, many processes, full disks, sweeps
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 -m slow --ignore tests/serving

TESTS ?= tests
PROCESSORS := OMP_NUM_THREADS=1 OMP_NUM_THREADS=2 MKL_ENABLE_INSTRUCTIONS=AVX2 CHANDLER_TEST_MKLDNN=off \
	MKL_CBWR=COMPATIBLE,ATEN_CPU_CAPABILITY=default

test-processors: $(READY) ## All tests (or TESTS=...) as other processors round: threads, AVX2, no oneDNN, an old x86
	@failed=; for settings in $(PROCESSORS); do \
		echo "== $$settings"; \
		env HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=passive $$(echo $$settings | tr , ' ') \
			$(BIN)/python -m pytest -n 2 $(TESTS) || failed="$$failed $$settings"; \
	done; if [ -n "$$failed" ]; then echo "failed under:$$failed"; exit 1; fi

test-gpu: ## The tests that need a CUDA device, with PYTHON's own torch; missing packages from WHEELS
	@# One line per case as it ends; nothing in parallel: they share one device.
	@sh scripts/gpu-python.sh "$(PYTHON)" "$(WHEELS)" -m pytest tests/gpu -vv -rs --durations=5 -p no:cacheprovider

wheels: ## Fetch into WHEELS what a bare CUDA machine with torch and pandas lacks (WHEELS_PYTHON, Linux x86-64)
	$(PYTHON) -m pip download --quiet --no-deps --only-binary=:all: --python-version $(WHEELS_PYTHON) \
		--platform manylinux_2_17_x86_64 --platform manylinux_2_28_x86_64 --platform any --dest $(WHEELS) \
		--constraint constraints.txt pydantic pydantic_core typing_inspection annotated-types exchange_calendars \
		pyluach korean_lunar_calendar toolz tzdata plotly narwhals

soak: $(READY) ## Kill -9 a run many times, also during saves: it must end with the same bits; read a thousand tables
	CHANDLER_TEST_TABLES=1000 $(BIN)/python -m pytest -n 2 tests/data/reading/test_generated.py
	$(BIN)/python -m benchmarks.soak

demo: $(READY) ## Finetune chandler-nano on five bundled US stocks, hold it against itself and naive; reports in runs/demo
	$(BIN)/chandler demo --out runs/demo

fingerprint: $(READY) ## Digests of forecasts, a finetuning and an evaluation: equal before and after code is moved
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fingerprint

bench-forecast: $(READY) ## Generation: the engine against the re-encoding loop
	$(BIN)/python benchmarks/forecast.py

bench-train: $(READY) ## Training: both stages against a yardstick loop
	$(BIN)/python -m benchmarks.train

BENCH ?=
bench-gpu: ## Training, generation, forecasts of many series, precision on a CUDA device; 8 minutes at most (BENCH="--sections train")
	@sh scripts/gpu-python.sh "$(PYTHON)" "$(WHEELS)" -m benchmarks.gpu $(BENCH)

bench-outgrow: $(READY) ## Train from a store of 100 million rows and watch resident memory (needs 4 GB of disk)
	$(BIN)/python -m benchmarks.outgrow

bench-precision: $(READY) ## Where float32, bfloat16 and compiled runs of the demo end
	$(BIN)/python -m benchmarks.precision

bench-read: $(READY) ## Reading: rows per second against pandas.read_csv
	$(BIN)/python -m benchmarks.read

bench-lora: $(READY) ## What adapters and heads alone save in time and memory
	$(BIN)/python -m benchmarks.lora

CARD ?= ../market-data
bench-card: $(READY) ## Forecasts against a random walk on the sets of nano's card (their files in CARD)
	$(BIN)/python -m benchmarks.card $(CARD)

TOOLS := .venv-tools
DOCS := .venv-docs
RAY := .venv-ray
CONTRIB := .venv-contrib
OLDEST := .venv-oldest
# Tools that the project does not import, each set in an environment of its own.
.venv-%/.ready: requirements/%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

test-ray: $(RAY)/.ready ## The tests that need Ray, in an environment of their own (.venv-ray)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(RAY)/bin/python -m pytest tests/scale/test_ray*.py $(AGAIN)

bench-scale: $(RAY)/.ready ## What --engine ray costs and brings on this machine; kills survived
	OMP_NUM_THREADS=1 $(RAY)/bin/python -m benchmarks.scale

bench-studio: $(READY) ## The page and the server: start, a million bars, reads while a job trains, memory
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.studio

test-contrib: $(CONTRIB)/.ready ## The adapters with their libraries: every check of sktime's, a task of fev, a workflow of Qlib
	HF_HUB_OFFLINE=1 $(CONTRIB)/bin/python -m pytest tests/contrib

# The stand-in accelerator is made of what torch 2.13 brought, schemathesis wants newer packages, and a hub client before 1.0 finds the
# hubs of later tests in one process away: tests/test_hub.py loads and pushes in processes of their own. One zone of dateutil's is beyond pandas 2.
NOT_OLDEST := --ignore tests/accelerator --ignore tests/serving/test_openapi.py $(addprefix --deselect tests/test_push.py::test_, \
	readers_of_the_released_format_take_its_folders models_without_a_run_and_a_tokenizer_alone \
	a_lost_answer_and_a_commit_in_between_are_told only_what_chandler_wrote_is_replaced) \
	--deselect "tests/data/store/test_store.py::test_zones_are_kept_by_a_name_that_reads_back_the_same_times[America/New_York]"
test-oldest: $(OLDEST)/.ready ## All tests but the long ones with the oldest releases that pyproject.toml allows (5 GB of CUDA come with torch)
	HF_HUB_OFFLINE=1 $(OLDEST)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(NOT_OLDEST)

build: $(TOOLS)/.ready ## Source archive and wheel in dist/, checked: metadata, contents, size
	rm -rf dist/chandler_kronos-*
	$(TOOLS)/bin/python -m build --outdir dist .
	$(TOOLS)/bin/twine check --strict dist/chandler_kronos-*
	$(TOOLS)/bin/python scripts/check_wheel.py dist

try-wheel: build ## Install the wheel into an empty environment and run it outside the checkout (FULL=1: the whole demo)
	sh scripts/try-wheel.sh "$(PYTHON)" dist "$(FULL)"

check-project: $(TOOLS)/.ready ## Lint the images, validate CITATION.cff
	$(TOOLS)/bin/hadolint Dockerfile Dockerfile.cuda
	$(TOOLS)/bin/cffconvert --validate

docs: $(DOCS)/.ready ## The site, from docs/ into site/
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

format: $(READY) ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and caches (runs/ stays)
	rm -rf $(VENV) .venv-tools .venv-docs .venv-ray site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .venv-contrib .venv-oldest

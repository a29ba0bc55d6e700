# Every target sets up what it needs from a clean clone. Repeats are fast: the stamps below remember what is installed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --no-input -c constraints.txt
# A task that a model of 135M parameters can do: with the adapter of the package it shares out short questions.
DEMO := examples/questions.txt --temperature 0 --budget 128
# The tests are typed, but may lean on what pytest and Hypothesis leave untyped.
TESTS_TYPING := --allow-untyped-defs --allow-untyped-calls --allow-untyped-decorators --allow-any-generics

KERNELS := hatch_build.py $(wildcard src/hogwild/native/*.cpp src/hogwild/native/*.hpp)

export TASK
.DEFAULT_GOAL := help
.PHONY: help demo test lint style types imports sizes docs docs-check train bench speed clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: $(VENV)/.runtime ## two workers solve a task live, or TASK="yours" (the model, 98 MB, comes at the first run and is unpacked)
	$(BIN)/hogwild run --workers 2 $(if $(TASK),"$$TASK",$(DEMO))

test: $(VENV)/.dev ## run the tests; choose with TESTS="tests/test_x.py -k name"
	$(BIN)/python -m pytest $(TESTS)

lint: style types imports sizes docs-check ## every check but the tests

style: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy: strict for the package, the scripts and the examples
	$(BIN)/mypy --strict src scripts examples
	$(BIN)/mypy $(TESTS_TYPING) tests

imports: $(VENV)/.dev ## the import contract: layers, text without tensors, tensors without text
	$(BIN)/lint-imports

sizes: ## no source file over 400 lines
	@find $(wildcard src tests scripts examples) \( -name '*.py' -o -name '*.cpp' -o -name '*.hpp' \) -exec awk 'END { if (NR > 400) { print FILENAME ": " NR " lines, at most 400"; exit 1 } }' {} \; \
	    | { ! grep .; } && echo "sizes: all is well"

docs: $(VENV)/.dev ## bring the generated parts of the docs up to date, and check them all
	$(BIN)/python scripts/check_docs.py --write

docs-check: $(VENV)/.dev ## check links, generated parts, module list, public names, examples
	$(BIN)/python scripts/check_docs.py

train: $(VENV)/.dev ## the recipe of the packaged adapter: SmolLM2 135M learns to work in a team, in half an hour, into OUT=runs/team
	$(BIN)/hogwild train --out $(or $(OUT),runs/team) --steps 300 --batch 4 --lora-rank 8 --learning-rate 0.001 --dtype bfloat16 --eval-every 0

bench: $(VENV)/.bench ## measure the bars (about 20 minutes, on a quiet machine) and write docs/benchmarks.md; ONLY="limit load" chooses, PAGE=file is for another machine
	$(BIN)/python scripts/benchmarks.py $(if $(ONLY),--only $(ONLY)) $(if $(PAGE),--page $(PAGE))

speed: $(VENV)/.dev ## fail if a ratio that no machine changes is 20% worse than .ci/speed.json (2 minutes)
	$(BIN)/python scripts/check_speed.py

clean: ## remove the environment and everything that tools left
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The build backend is installed beside the rest, so that it is pinned like the rest.
$(VENV)/.runtime: pyproject.toml constraints.txt $(KERNELS) | $(VENV)/bin/python
	$(INSTALL) hatchling
	$(INSTALL) --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt $(KERNELS) | $(VENV)/bin/python
	$(INSTALL) hatchling
	$(INSTALL) --no-build-isolation -e '.[dev,serve,eval,train]'
	@touch $@ $(VENV)/.runtime

# llama.cpp is compiled for this machine (minutes); where that fails, the comparison leaves it out and says so. Compiled by
# g++ for a processor with AMX it crashes (llama.cpp's issue 20824): clang is taken there, or else AMX left out.
LLAMA := CMAKE_ARGS=-DGGML_NATIVE=ON
ifneq ($(shell grep -m1 -o amx_tile /proc/cpuinfo 2>/dev/null),)
LLAMA := $(if $(shell command -v clang++),CC=clang CXX=clang++ $(LLAMA),CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX512=ON -DGGML_AVX512_VBMI=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_BF16=ON")
endif

$(VENV)/.bench: $(VENV)/.dev
	-$(LLAMA) $(INSTALL) llama-cpp-python
	@touch $@

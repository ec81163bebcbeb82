# Needs Python 3.11 or newer and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Much of the tests' time is waiting for streams and servers: one process more than cores.
TESTS := $(BIN)/python -m pytest -n $$(($$($(PYTHON) -c 'import os; print(os.cpu_count())') + 1)) --dist loadgroup --no-loadscope-reorder

.PHONY: help setup demo test test-slow lint format bench gpu bench-accuracy docs docs-check lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 17

setup: $(READY)  ## make the virtual environment (about 5 GB: torch comes with CUDA)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Vidette needs Python 3.11 or newer; choose one with make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(READY)  ## damage a real clip, inspect it and write the report to demo-output/
	$(BIN)/python examples/demo.py

test: $(READY)  ## the default tests, on the CPU alone (8.5 to 11.5 minutes on 2 cores)
	$(TESTS)

test-slow: $(READY)  ## the slow tests as well
	$(TESTS) -m "slow or not slow"

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## speed, as ratios to decoding and to FFmpeg's filters in one run
	$(BIN)/python -m bench.speed

gpu: $(if $(GPU_PYTHON),,$(READY))  ## the tests and the bench of the GPU path (GPU_PYTHON=python3: on a machine set up otherwise)
	$(or $(GPU_PYTHON),$(BIN)/python) -m pytest -q -m gpu
	$(or $(GPU_PYTHON),$(BIN)/python) -m bench.gpu

bench-accuracy: $(READY)  ## accuracy beside FFmpeg's filters: MEDIA=folders ARGS="--split test --quick"
	$(BIN)/python -m bench.accuracy $(MEDIA) $(ARGS)

docs: $(READY)  ## write the generated pages of docs/ anew
	$(BIN)/python docs/generate.py

docs-check: $(READY)  ## the generated pages are up to date, every link in the docs leads somewhere
	$(BIN)/python docs/generate.py --check

lock:  ## resolve requirements.lock anew from pyproject.toml
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv
	$(VENV)-lock/bin/uv pip compile pyproject.toml --group dev --all-extras --universal \
		--python-version 3.11 --upgrade --no-header --no-annotate --output-file requirements.lock
	rm -r $(VENV)-lock

clean:  ## remove what the targets made
	rm -rf $(VENV) demo-output .pytest_cache .mypy_cache .ruff_cache

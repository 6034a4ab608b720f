# RealMaster's commands. `make demo` and `make test` are all a newcomer needs: each sets itself up first.
# The set-up (virtual environment, pinned packages, this checkout) happens once and again only when the pins change.

VENV ?= .venv
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$python"; break; }; done)
RUN := $(VENV)/bin/python -m
PIP := $(RUN) pip --disable-pip-version-check install -qq -c constraints.txt
READY := $(VENV)/.ready
TORCH := $(shell grep '^torch==' constraints.txt)

DEMO ?= assets/demo/street.mp4
PROMPT ?=
PAIRS ?= pairs
BUDGET ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench gpu nano pairs-there dist pins clean

help: ## show these lines
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## only the set-up: virtual environment, pinned packages, this checkout

# torch comes first and alone: it is the one large package, and the rest then finds it there.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: expected Python 3.11 or later, found none: install it, or run 'make PYTHON=/path/to/python3 ...'" >&2; exit 2; }
	@echo "Setting up $(VENV): some minutes the first time"
	@"$(PYTHON)" -m venv $(VENV)
	@echo "  1/2 $(TORCH)" && $(PIP) $(TORCH)
	@echo "  2/2 everything else" && $(PIP) hatchling editables && $(PIP) --no-build-isolation -e '.[dev]'
	@touch $@

demo: $(READY) ## translate the shipped clip with nano; writes outputs/demo/
	@mkdir -p outputs/demo
	$(VENV)/bin/realmaster translate $(DEMO) -o outputs/demo/camera.mp4 --prompt "$(PROMPT)" \
		--report outputs/demo/report.html --overwrite $(ARGS)

test: $(READY) ## run the tests; ARGS="tests/cli -k name" for a part of them
	$(RUN) pytest $(ARGS)

lint: $(READY) ## check format, style and types
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy

format: $(READY) ## put the code into the house's format
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

bench: $(READY) ## run every benchmark in benchmarks/ (two need PAIRS=folder); results go to benchmarks/results/
	@for file in benchmarks/*.py; do \
		case $$file in */pairs.py) pairs="--pairs $(PAIRS)" ;; */face_threshold.py) pairs="$(PAIRS)" ;; *) pairs= ;; esac; \
		if [ -n "$$pairs" ] && [ ! -d "$(PAIRS)" ]; then echo "== $$file: left out, it needs exact pairs: make bench PAIRS=folder"; continue; fi; \
		echo "== $$file"; $(VENV)/bin/python $$file $$pairs $(ARGS) || exit $$?; done

gpu: $(READY) ## the work that needs a GPU: time the full sizes, train nano on PAIRS; exits 2 where there is none
	@PAIRS="$(PAIRS)" BUDGET="$(BUDGET)" PARTS="$(PARTS)" VENV="$(VENV)" sh benchmarks/gpu.sh

nano: pairs-there $(READY) ## train nano again from a folder of exact pairs: make nano PAIRS=folder; writes runs/nano/
	$(VENV)/bin/realmaster nano train --pairs "$(PAIRS)" --output runs/nano --recipe recipes/nano-cpu.yaml $(ARGS)

pairs-there:
	@test -d "$(PAIRS)" || { echo "make: expected a folder of exact pairs at '$(PAIRS)', found none: make one with 'realmaster render', then 'make nano PAIRS=folder'" >&2; exit 2; }

dist: $(READY) ## build the wheel and the source archive into dist/
	$(RUN) build --no-isolation

pins: $(READY) ## write constraints.txt again from what is installed in the virtual environment
	@{ grep '^#' constraints.txt; $(RUN) pip list --format=freeze --exclude pip --exclude setuptools --exclude realmaster | sed 's/+cpu$$//'; } > constraints.new
	@mv constraints.new constraints.txt && touch $(READY)

clean: ## remove the virtual environment, caches and built files; outputs/ and runs/ stay
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache

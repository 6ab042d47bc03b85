# Commands: `make quick`, `make demo`, `make results`, `make test`. Each sets up everything it needs in .venv; nothing needs root.
PYTHON ?= $(shell command -v python3.12 >/dev/null 2>&1 && python3.12 -c '' >/dev/null 2>&1 && echo python3.12 || echo python3)
VENV := .venv
READY := $(VENV)/.ready
# An index with CPU builds of torch and torchvision (docs/installation.md); empty: those of the usual index.
TORCH_INDEX ?=
# Commands below find the environment's python, dvc and pytest before any other.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Where it is set, each of some sixty processes compiles the code anew: a third of a second every time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: quick demo results controls corpus test test-slow test-faults bench docs lint format setup clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 12) else "avser needs Python 3.11 or 3.12; run: make PYTHON=/path/to/python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --editable '.[dev]'
	test -e .git || $(VENV)/bin/dvc config --local core.no_scm true # unpacked or copied without git
	touch $(READY)

quick: $(READY)  ## the whole flow on a few small films, in build/quick
	python -m avser quick

demo: $(READY)  ## the whole flow on the embedded synthetic corpus, then the result table
	@echo 'make demo: about 5 minutes on two cores; what is finished is kept'
	python -m avser repro --table

results: $(READY)  ## the ablation: one table, one picture; MANIFESTS=dir names a folder of manifests (docs/results.md)
	$(if $(MANIFESTS),python -m pipeline use "$(MANIFESTS)")
	dvc repro recipes/ablation/dvc.yaml
	python -m trainer ablation --show

corpus: $(READY)  ## a published corpus by its protocol: CORPUS=crema_d, iemocap or msp_podcast, ROOT=its folder (recipes/corpora)
	python -m avser corpus "$(CORPUS)" "$(ROOT)"
	python -m trainer report --show

controls: $(READY)  ## is it the face that teaches? The controls on the corpus at hand (docs/controls.md)
	dvc repro recipes/controls/dvc.yaml
	python -m trainer controls --show

test: $(READY)  ## the fast tests
	python -m pytest -m 'not slow' -n 2

test-slow: $(READY)  ## the tests that take minutes
	python -m pytest -m slow

test-faults: $(READY)  ## at least 200 random faults (kills, flipped bits, full disks, vanishing files) in under ten minutes
	python -m tests.faults --trials 200 --minutes 9

bench: $(READY)  ## speed and size against plain yardsticks, in under ten minutes
	python -m tests.bench

docs: $(READY)  ## the pages of docs/ as a site in build/site
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

lint: $(READY)  ## lint, formatting, types
	ruff check .
	ruff format --check .
	mypy

format: $(READY)
	ruff check --fix .
	ruff format .

clean:  ## forget all results and the environment; caches of finished items stay in .cache
	rm -rf $(VENV) data models reports

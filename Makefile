# `make study` and `make test` do everything on a fresh machine with Python 3.11+.
PYTHON ?= python3
STUDY ?= photos
CONFIG = $(if $(filter photos,$(STUDY)),,--configfile configs/$(STUDY).yaml)
BIN = .venv/bin

PIP = $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: setup setup-dev study docs test lint audit kills format clean

setup: .venv/installed

.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(PIP) -r requirements.txt
	touch $@

setup-dev: .venv/installed-dev

.venv/installed-dev: .venv/installed requirements-dev.txt requirements-inception.txt
	$(PIP) -r requirements.txt -r requirements-dev.txt
	touch $@

study: setup
	$(BIN)/snakemake --cores all --resources gpu=1 $(CONFIG)
	$(BIN)/snakemake --cores 1 $(CONFIG) --report results/$(STUDY)/report.html
	@echo "Table: results/$(STUDY)/tables/table1.md   report: results/$(STUDY)/report.html"

# What README shows: the embedded study's table and pictures.
docs: study
	$(BIN)/python docs/copy_results.py $(STUDY)

test: setup-dev lint
	$(BIN)/python -m pytest -q --durations=10

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

# Known vulnerabilities of all that is installed; needs the network.
audit: setup-dev
	$(PIP) pip-audit==2.10.1
	$(BIN)/pip-audit --local --skip-editable

# A study killed 50 times against one that was not: minutes.
kills: setup-dev
	$(BIN)/python tests/kill_study.py --kills 50

format: setup-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

clean:
	rm -rf results/$(STUDY)

# `make study` and `make test` do everything on a fresh machine with Python 3.11 to 3.14.
PYTHON ?= python3
STUDY ?= photos
CONFIG = $(if $(filter photos,$(STUDY)),,--configfile configs/$(STUDY).yaml)
BIN = .venv/bin

# glibc keeps what a step frees for the next one: without this, a CPU clears it page by page anew.
export MALLOC_MMAP_THRESHOLD_ = 33554432
export MALLOC_TRIM_THRESHOLD_ = 1073741824

# Jobs that train, sample or evaluate at once: one where there is a GPU; without, one a core, four at most.
GPUS = $(shell nvidia-smi -L > /dev/null 2>&1 && echo 1 || getconf _NPROCESSORS_ONLN | awk '{print $$1 < 4 ? $$1 : 4}')

PIP = $(BIN)/pip install --quiet --disable-pip-version-check
SUDO = $(if $(filter-out root,$(shell id -un)),sudo)

.PHONY: setup setup-dev study recommend unlock plan status why adopt verify docs test test-slurm lint bench gpu-check codegen audit kills coverage mutants format clean

setup: .venv/installed

.venv/installed: requirements.txt
	@$(PYTHON) workflow/scripts/slimdit/core/interpreter.py
	$(PYTHON) -m venv .venv
	$(PIP) -r requirements.txt
	touch $@

setup-dev: .venv/installed-dev

.venv/installed-dev: .venv/installed requirements-dev.txt requirements-inception.txt requirements-datasets.txt requirements-slurm.txt
	$(PIP) -r requirements.txt -r requirements-dev.txt
	touch $@

STOPPED = The same command goes on from here. If the folder is locked and nothing runs in it: make unlock STUDY=$(STUDY)

# The config should say so too: in results/$(STUDY) the targets look.
study plan status why adopt: export SLIMDIT_STUDY = $(STUDY)

study: setup
	@PYTHONPATH=workflow/scripts $(BIN)/python -m slimdit.status $(CONFIG) > /dev/null  # a good config
	$(BIN)/snakemake --cores all --resources gpu=$(GPUS) $(CONFIG) || { echo "$(STOPPED)"; exit 1; }
	$(BIN)/snakemake --cores 1 $(CONFIG) --report results/$(STUDY)/report.html
	@echo "Table: results/$(STUDY)/tables/table1.md   report: results/$(STUDY)/report.html"
	@echo "To compare rows by hand, in a browser: results/$(STUDY)/explore.html"
	@echo "Which row to use: results/$(STUDY)/tables/recommendation.md"

# Which row of a finished study to use: BY=latency, throughput, memory, energy or size; MAX_LOSS=2%; BATCH=8.
recommend: setup
	@PYTHONPATH=workflow/scripts $(BIN)/python -m slimdit.recommend results/$(STUDY) $(if $(MAX_LOSS),--max-loss "$(MAX_LOSS)") $(if $(BATCH),--batch "$(BATCH)") $(if $(BY),--by "$(BY)")

# Lifts the lock that a Snakemake leaves in this folder when it is killed or the power fails.
unlock: setup
	$(BIN)/snakemake --unlock --cores 1 $(CONFIG)

# What the study will cost: jobs, bytes and hours, from a short measurement on this machine.
plan: setup
	@PYTHONPATH=workflow/scripts $(BIN)/python -m slimdit.plan $(CONFIG)

# How far the study is, whatever runs it.
status: setup
	@PYTHONPATH=workflow/scripts $(BIN)/python -m slimdit.status $(CONFIG)

# Why results would be made again: the definitions, inputs or settings that differ; ROW=S2-base for one row.
why: setup
	@PYTHONPATH=workflow/scripts $(BIN)/python -m slimdit.why $(CONFIG) $(if $(ROW),--row $(ROW))

# Takes results that Snakemake has no record of, such as copied ones, as they are.
adopt: setup
	$(BIN)/snakemake --cores 1 $(CONFIG) --touch --forceall

# Whether the study's files and tables are what its records say.
verify: setup
	PYTHONPATH=workflow/scripts $(BIN)/python -m slimdit.verify results/$(STUDY)

# What README shows: the embedded study's table and pictures.
docs: study
	$(BIN)/python docs/copy_results.py $(STUDY)

test: setup-dev lint
	$(BIN)/python -m pytest -q --durations=10 --numprocesses logical --maxprocesses 4 --dist loadfile

# In a SLURM of this machine alone; Debian's packages are installed where sbatch is missing.
test-slurm: setup-dev
	command -v sbatch || { $(SUDO) apt-get update && $(SUDO) apt-get install -y slurm-wlm munge; }
	$(BIN)/python -m pytest -q --slurm tests/test_slurm.py

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

# Our paths against plain ones, variants against their base, interleaved: half an hour.
bench: setup
	$(BIN)/python benchmarks/run.py

# Whether what runs on a GPU is right there, and how fast: at most eight minutes; PART=ratios for a part.
gpu-check: setup
	$(BIN)/python benchmarks/gpu_check.py --out results/gpu-check.json $(if $(PART),--part $(PART))

# The study's passes compiled for GPUs, on a machine without one: 20 minutes, 700 MB of Triton.
codegen: setup .codegen/installed
	PYTHONPATH=.codegen:benchmarks:tests:workflow/scripts $(BIN)/python -m codegen $(ARGUMENTS)

# In a folder of its own: where Triton is found beside a torch for CPUs, other results change.
.codegen/installed:
	$(PIP) --no-deps --target .codegen triton==3.7.1  # that of PyTorch 2.13.0 for CUDA
	touch $@

# Known vulnerabilities of all that is installed; needs the network.
audit: setup-dev
	$(PIP) pip-audit==2.10.1
	$(BIN)/pip-audit --local --skip-editable

# A study killed 50 times against one that was not: minutes.
kills: setup-dev
	$(BIN)/python tests/kill_study.py --kills 50

# Lines and branches of the library and of the rules' scripts that no test reaches.
coverage: setup-dev
	$(PIP) coverage==7.17.4
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Changed code that no test notices: minutes. `cd mutants && ../.venv/bin/mutmut browse` shows it.
mutants: setup-dev
	$(PIP) mutmut==3.8.1
	rm -rf mutants && mkdir mutants && echo '*' > mutants/.gitignore
	ln -s ../workflow/scripts mutants/src
	ln -s ../tests ../workflow ../configs ../config.yaml ../pyproject.toml mutants
	cd mutants && OMP_NUM_THREADS=1 ../$(BIN)/mutmut run && ../$(BIN)/mutmut results

format: setup-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

clean:
	rm -rf results/$(STUDY)

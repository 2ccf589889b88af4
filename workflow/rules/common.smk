# What rules read from the config: canonical strings, so that equal settings are equal params.

import os
import re
import sys
from pathlib import Path

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from slimdit.code_digest import code_digest
from slimdit.errors import InputError
from slimdit.files import canonical_json as canonical
from slimdit.results import paper_values
from slimdit.study import Study

try:
    STUDY = Study(config)
except InputError as error:
    sys.exit(f"config: {error}")

DATA = config["data"]
AUTOENCODER = config["autoencoder"]
EVALUATION = canonical(config["evaluation"])
EXTRACTOR = {config["evaluation"]["extractor"]["name"].replace("-", "_")}


def one_of(names):
    """Regular expression of a wildcard that is one of these names; of none when there are none."""
    return "|".join(re.escape(str(name)) for name in names) or "(?!)"


wildcard_constraints:
    study=one_of([STUDY.name]),
    variant=one_of(STUDY.variants),
    seed=one_of(STUDY.seeds),


def wildcard_seed(wildcards):
    return int(wildcards.seed)


def all_cores():
    """Threads of a job that should have the machine to itself; SLURM profiles set their own."""
    return workflow.cores or os.cpu_count()


def structure(wildcards):
    return canonical(STUDY.structure(wildcards.variant))


def operations(wildcards):
    return canonical(STUDY.operations(wildcards.variant))


def code_of(script, **kinds):
    """Digest of what a step's code does; kinds: those in use of each registry."""
    return code_digest(script, kinds, SCRIPTS)


def model_code(script, variant, **kinds):
    """Digest of a step that builds the model of `variant`."""
    return code_of(script, **STUDY.parts(variant), **kinds)


def run_files(name, variants):
    return expand(
        "results/{study}/variants/{variant}/seed-{seed}/{name}",
        study=STUDY.name,
        variant=variants,
        seed=STUDY.seeds,
        name=name,
    )


def variant_files(name):
    return expand(
        "results/{study}/variants/{variant}/{name}",
        study=STUDY.name,
        variant=STUDY.variants,
        name=name,
    )

# What rules read from the config: canonical strings, so that equal settings are equal params.

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow" / "scripts"))

from slimdit.code_digest import code_digest
from slimdit.errors import InputError
from slimdit.files import canonical_json
from slimdit.results import paper_values
from slimdit.study import Study

try:
    STUDY = Study(config)
except InputError as error:
    sys.exit(f"config: {error}")

DATA = config["data"]
AUTOENCODER = config["autoencoder"]
EVALUATION = canonical_json(config["evaluation"])
EXTRACTOR = {"features": {config["evaluation"]["extractor"]["name"].replace("-", "_")}}


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


def canonical(value):
    return canonical_json(value)


def structure(wildcards):
    return canonical_json(STUDY.structure(wildcards.variant))


def operations(wildcards):
    return canonical_json(STUDY.operations(wildcards.variant))


def model_code(script, variant, **kinds):
    """Digest of a step that builds the model of `variant`."""
    return code_digest(script, STUDY.parts(variant) | kinds)


def sampling_kinds(variant):
    return {STUDY.sampling(variant)["sampler"]}


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

# What the rules share: the study, where its files lie, and what a rule's result depends on.

import functools
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow" / "scripts"))

from snakemake.exceptions import WorkflowError

from slimdit.core.errors import InputError
from slimdit.evaluation.features.published_graph import GRAPH_MD5, check_graph
from slimdit.jobs.job_log import error_summary
from slimdit.jobs.preflight import check_gpus, check_image_folder
from slimdit.study.component_options import default_of
from slimdit.study.config_check import config_problems, listed
from slimdit.study.shards import shard_names
from slimdit.study.jobs import log_of, recipe, state_of
from slimdit.study.steps import FIGURES, STEPS
from slimdit.study.study import Study

if problems := config_problems(config):
    sys.exit(listed(problems))
STUDY = Study(config)
if workflow.is_main_process:
    try:
        check_gpus(workflow.global_resources, workflow.resource_settings.overwrite_resources)
        check_image_folder(config["data"])
    except InputError as error:
        sys.exit(str(error))

LAYOUT = STUDY.layout
AUTOENCODER = config["autoencoder"]
EXTRACTOR = STUDY.evaluation["extractor"]
BACKEND = EXTRACTOR.get("backend", default_of("extractor", EXTRACTOR["name"], "backend"))
EXTRACTOR_ENV = f"../../envs/{'inception' if BACKEND == 'tensorflow' else 'slimdit'}.yaml"
GRAPH = EXTRACTOR.get("graph")


def one_of(names):
    """Regular expression of a wildcard that is one of these names; of none when there are none."""
    return "|".join(re.escape(str(name)) for name in names) or "(?!)"


wildcard_constraints:
    variant=one_of(STUDY.variants),
    seed=one_of(STUDY.seeds),


def all_cores():
    """Threads of a job that should have the machine to itself; SLURM profiles set their own."""
    try:
        return workflow.cores
    except WorkflowError:  # not every command of Snakemake's is given --cores
        return os.cpu_count()


def output_of(step):
    return STEPS[step].outputs(STUDY)


def params_of(step):
    """Of a step's script: settings and the recipe, each a reason to rerun, where it keeps what is
    half done, and options, which are no reason: a param that is told the output is none."""

    def setting(of):
        return lambda wildcards: of(STUDY, wildcards.get("variant"))

    def option(of):
        return lambda wildcards, output: of(STUDY, wildcards.get("variant"))

    return {
        **{name: setting(of) for name, of in STEPS[step].settings.items()},
        **{name: option(of) for name, of in STEPS[step].options.items()},
        **({"state": state_of(STUDY, step)} if STEPS[step].state else {}),
        "recipe": lambda wildcards: recipe(STUDY, step, wildcards.get("variant")),
    }


def run_params(step):
    """Those of a step that has a job for each seed of a variant."""
    seed = {"seed": lambda wildcards: int(wildcards.seed)}
    return {"variant": "{variant}", **seed, **params_of(step)}


# What a rule is made from.


def runs(name, variants=None):
    """A file of each seed of each variant."""
    variants = STUDY.variants if variants is None else variants
    return [LAYOUT.run(name, each, seed) for each in variants for seed in STUDY.seeds]


def variants(name):
    return [LAYOUT.variant(name, each) for each in STUDY.variants]


def cut_images(wildcards):
    """The image folder, where the study makes it itself; a user's folder is only read.

    What it holds is in a file beside, by digest: the time stamp of a folder says nothing.
    """
    if not STEPS["cut_photos"].needed(STUDY):
        return {}
    files = output_of("cut_photos")
    return {"images": ancient(files["images"]), "cut": files["cut"]}


def trained_autoencoder(wildcards):
    """The autoencoder's files, where they are the study's or lie in a folder."""
    if not AUTOENCODER["train"] and not Path(AUTOENCODER["source"]).is_dir():
        return {}
    files = output_of("train_autoencoder")
    return {"weights": files["weights"], "model_config": files["model_config"]}


def extractor_graph(wildcards):
    """The frozen graph, where the extractor is one; the user's own is checked before any job."""
    if not GRAPH:
        return {}
    if not config["inception_graph_url"]:
        check_own_graph()
    return {"graph": GRAPH}


@functools.cache
def check_own_graph():
    try:
        check_graph(GRAPH, EXTRACTOR.get("md5", GRAPH_MD5))
    except InputError as error:
        raise WorkflowError(f"config: extractors: {error}") from None


def shards(wildcards):
    wanted = len(gather.samples("{scatteritem}"))
    try:
        names = shard_names(STUDY, wildcards.variant, wildcards.seed, wanted)
    except InputError as error:
        raise WorkflowError(str(error)) from None
    files = output_of("sample_shard")
    return {
        name: [files[output].format(**wildcards, scatteritem=shard) for shard in names]
        for name, output in (("shards", "images"), ("shard_reports", "report"))
        if names
    }


def checkpoint_of(relative):
    """The weights of the variant that `relative(variant)` names, with the same seed."""
    return lambda wildcards: LAYOUT.run(
        "checkpoint.safetensors", relative(wildcards.variant), wildcards.seed
    )


def teacher_checkpoint(wildcards):
    has_teacher = STUDY.teacher(wildcards.variant)
    return {"teacher": checkpoint_of(STUDY.teacher)(wildcards)} if has_teacher else {}


def base_checkpoint(wildcards):
    """Of the variant that this one's latency is compared with, if there is one."""
    base = STUDY.parent(wildcards.variant)
    return {"base_checkpoint": runs("checkpoint.safetensors", [base])[0]} if base else {}


# Report: where a result stands.


def shown(step, category, captions):
    """A step's outputs; those with a caption are in the report."""

    def with_caption(name, path):
        if name not in captions:
            return path
        return report(
            path,
            caption=f"../report/{captions[name]}.rst",
            category=category,
            labels={"name": Path(path).name},
        )

    return {name: with_caption(name, path) for name, path in output_of(step).items()}

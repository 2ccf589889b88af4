# What the rules share: the study, where its files lie, and what a rule's result depends on.

import functools
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow" / "scripts"))

from snakemake.exceptions import WorkflowError

from slimdit.core.errors import InputError
from slimdit.core.interpreter import path_problem
from slimdit.data.autoencoder_files import autoencoder_folder, check_autoencoder
from slimdit.evaluation.features.published_graph import GRAPH_MD5, check_graph
from slimdit.jobs.job_log import error_summary
from slimdit.jobs.preflight import check_compiler, check_gpus, check_image_folder, gpus_in
from slimdit.models.published.source import files_to_come, local_files, source_files
from slimdit.plan.space import check_space
from slimdit.study.component_options import default_of
from slimdit.study.config_check import check_config
from slimdit.study.jobs import Job, shard_names
from slimdit.study.load import read_configs
from slimdit.study.steps import FIGURES, STEPS
from slimdit.study.rows import with_rows
from slimdit.study.study import Study

if problem := path_problem(sys.executable):
    sys.exit(problem)
try:
    if workflow.is_main_process:
        read_configs(workflow.configfiles)
    config = with_rows(config)
    check_config(config)
    if workflow.is_main_process:
        check_gpus(workflow.global_resources, workflow.resource_settings.overwrite_resources)
        check_image_folder(config["data"])
except InputError as error:
    sys.exit(str(error))

STUDY = Study(config)
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


def threads_of(step):
    """One, or all cores; where --resources has several GPUs, the part of the cores that the step's
    GPUs are of them. SLURM profiles set their own."""
    try:
        cores = workflow.cores
    except WorkflowError:  # not every command of Snakemake's is given --cores
        cores = os.cpu_count()
    own = gpus_in(workflow.resource_settings.overwrite_resources.get(step, {}))
    return STEPS[step].threads(cores, gpus_in(workflow.global_resources), own)


def resources_of(step, mem_mb):
    return {"gpu": 1, "mem_mb": mem_mb} if STEPS[step].takes_gpu else {"mem_mb": mem_mb}


def output_of(step):
    return Job(STUDY, step).outputs


def log_of(step):
    return Job(STUDY, step).log


def jobs_to_run():
    """Snakemake's, and for each whose rule is a step ours."""
    for theirs in workflow.dag.needrun_jobs():
        if theirs.rule.name in STEPS:
            wildcards = theirs.wildcards_dict
            seed = wildcards.get("seed")
            ours = (wildcards.get("variant"), seed and int(seed), wildcards.get("shard"))
            yield theirs, Job(STUDY, theirs.rule.name, *ours)


def params_of(step):
    """Of a step's script: settings and the recipe, each a reason to rerun, where it keeps what is
    half done, and options, which are no reason: a param that is told the output is none."""

    def job_of(wildcards):
        return Job(STUDY, step, wildcards.get("variant"))

    def setting(name):
        return lambda wildcards: job_of(wildcards).settings[name]

    def option(of):
        return lambda wildcards, output: of(STUDY, wildcards.get("variant"))

    return {
        **{name: setting(name) for name in STEPS[step].settings},
        **{name: option(of) for name, of in STEPS[step].options.items()},
        **({"state": state} if (state := Job(STUDY, step).state) else {}),
        "recipe": lambda wildcards: job_of(wildcards).recipe,
    }


def run_params(step):
    """Those of a step that has a job for each seed of a variant."""
    seed = {"seed": lambda wildcards: int(wildcards.seed)}
    return {"variant": "{variant}", **seed, **params_of(step)}


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


def check_recognised():
    """Raises InputError for results that were copied without `.snakemake`, before they are made
    again."""
    from slimdit.why import check_recognised

    def is_known(theirs):
        reason = workflow.dag.reason(theirs)
        gone = reason.missing_output or reason.incomplete_output
        return gone or reason.forced or workflow.persistence.has_metadata(theirs)

    check_recognised(dict(jobs_to_run()), workflow.dag.dependencies, is_known)

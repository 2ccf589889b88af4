"""Which jobs a study has still to run, by Snakemake's own word; nothing is executed."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.study.jobs import Job, jobs_of
from slimdit.study.shards import shard_names
from slimdit.study.study import Study

SNAKEFILE = Path(__file__).parents[4] / "Snakefile"
# What the rules ask for while they run.
OF_GPU = {"train_autoencoder", "encode_latents", "train", "sample", "sample_shard", "measure_speed"}
OF_ALL_CORES = OF_GPU - {"sample", "sample_shard"} | {"select_subset"}


@dataclass(frozen=True)
class PlannedJob:
    """A job to run, and the positions of those that it waits for.

    shard: "2-of-8", where it samples a part. num_shards: how many parts it puts together.
    """

    job: Job
    shard: str | None = None
    num_shards: int = 0
    after: tuple[int, ...] = ()

    @property
    def rule(self) -> str:
        return "sample_shard" if self.shard else self.job.step

    @property
    def name(self) -> str:
        return f"{self.job.name}, part {self.shard}" if self.shard else self.job.name

    @property
    def gpus(self) -> int:
        return int(self.rule in OF_GPU)

    def threads(self, cores: int) -> int:
        return cores if self.rule in OF_ALL_CORES else 1


def planned_jobs(study: Study, configfiles: list[str], num_shards: int = 1) -> list[PlannedJob]:
    """The jobs that Snakemake would run in this folder, in the order in which it comes to them.

    num_shards: parts in which the samples of a variant are drawn, as --set-scatter says to
    Snakemake. Raises InputError where Snakemake refuses the study.
    """
    options = ("--set-scatter", f"samples={num_shards}", "--configfile", "config.yaml")
    summary = _snakemake("--summary", *options, *configfiles)
    pending = set(re.findall(r"^([^\t]+)\t.*\tupdate pending$", summary, re.MULTILINE))
    graph = _snakemake("--rulegraph", *options, *configfiles)
    rules = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', graph, re.MULTILINE))
    edges = re.findall(r"^\s*(\d+) -> (\d+)", graph, re.MULTILINE)
    feeds = {(rules[earlier], rules[later]) for earlier, later in edges}

    todo = list(_todo(study, pending, num_shards))

    def waits_for(one: PlannedJob, other: PlannedJob) -> bool:
        return (other.rule, one.rule) in feeds and _is_made_from(study, one.job, other.job)

    return [
        replace(one, after=tuple(i for i, other in enumerate(todo) if waits_for(one, other)))
        for one in todo
    ]


def _snakemake(*options: str) -> str:
    """What a run that executes nothing says on stdout."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", SNAKEFILE, *options]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        lines = run.stderr.rpartition("Building DAG of jobs...\n")[2].splitlines()
        words = " ".join(line.strip() for line in lines if not line.startswith("  File "))
        raise InputError(f"The study cannot be planned: {words}")
    return run.stdout


def _todo(study: Study, pending: set[str], num_shards: int) -> Iterator[PlannedJob]:
    """The jobs of which an output is pending."""
    for job in jobs_of(study):
        if pending.isdisjoint(job.outputs.values()):
            continue
        is_sampling = job.step == "sample"
        shards = shard_names(study, job.variant, job.seed, num_shards) if is_sampling else []
        yield from (PlannedJob(job, shard) for shard in shards)
        yield PlannedJob(job, num_shards=len(shards))


def _is_made_from(study: Study, job: Job, other: Job) -> bool:
    """Whether a job is made from another, where its rule is made from the other's: one of the same
    row, of a row that its own is made from or compared with, or of all rows."""
    if job.variant is None or other.variant is None:
        return True
    rows = [job.variant] if job.step != other.step else []
    if job.step in ("train", "compress"):
        rows.append(study.depends_on(job.variant))
    elif job.step in ("compare", "measure_speed"):
        rows.append(study.parent(job.variant))
    return other.variant in rows and job.seed in (None, other.seed)

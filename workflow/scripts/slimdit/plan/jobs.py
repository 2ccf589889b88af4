"""Which jobs a study has still to run, by Snakemake's own word; nothing is executed."""

import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from slimdit.core.errors import InputError

ROOT = Path(__file__).parents[4]
NOTHING = "all"  # the rule that only asks for the others
PROFILE = ROOT / "profiles/default/config.yaml"  # the API reads no profiles


@dataclass(frozen=True)
class PlannedJob:
    """A job of the graph: what it holds while it runs, and the positions of those it waits for.

    shard: "2-of-8", of a job that samples a part. num_shards: of one that puts them together.
    """

    rule: str
    variant: str | None
    seed: int | None
    threads: int
    gpus: int
    after: tuple[int, ...] = ()
    shard: str | None = None
    num_shards: int = 0


def planned_jobs(
    configfiles: list[str | Path], cores: int, folder: str | Path = ".", shards: int = 1
) -> tuple[dict, list[PlannedJob]]:
    """The config as Snakemake resolves it and the jobs that it would run in `folder`.

    shards: parts in which the samples of a variant are drawn, as --set-scatter says to Snakemake.
    Each comes after all that it waits for. Raises InputError where Snakemake refuses the study.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import WorkflowError
    from snakemake.settings.enums import Quietness
    from snakemake.settings.types import (
        ConfigSettings,
        OutputSettings,
        ResourceSettings,
    )

    path = list(sys.path)  # the Snakefile puts its own library first
    try:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, show_failed_logs=False)) as api:
            workflow = api.workflow(
                resource_settings=ResourceSettings(
                    cores=cores, overwrite_scatter={"samples": shards}
                ),
                config_settings=ConfigSettings(configfiles=tuple(map(Path, configfiles))),
                snakefile=ROOT / "Snakefile",
                workdir=Path(folder).absolute(),
            )
            dag_api = workflow.dag(dag_settings=_dag_settings())
            dag_api.execute_workflow(executor="dryrun")
            # Private: there is no public accessor.
            return workflow._workflow.globals["config"], _jobs(workflow._workflow.dag)
    except (WorkflowError, SystemExit) as error:
        raise InputError(f"The study cannot be planned: {error}") from None
    finally:
        sys.path[:] = path


def _dag_settings():
    from snakemake.settings.enums import RerunTrigger
    from snakemake.settings.types import DAGSettings

    profile = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
    return DAGSettings(
        rerun_triggers=RerunTrigger.parse_choices_set(profile["rerun-triggers"]),
        max_checksum_file_size=profile["max-checksum-file-size"],
        force_incomplete=profile["rerun-incomplete"],
    )


def _jobs(dag) -> list[PlannedJob]:
    todo = set(dag.needrun_jobs(exclude_finished=False))
    positions, planned = {}, []

    def add(job):
        if job in positions or job not in todo or job.rule.name == NOTHING:
            return
        for other in dag.dependencies[job]:
            add(other)
        after = {positions[other] for other in dag.dependencies[job] if other in positions}
        wildcards = job.wildcards_dict
        seed = wildcards.get("seed")
        positions[job] = len(planned)
        planned.append(
            PlannedJob(
                rule=job.rule.name,
                variant=wildcards.get("variant"),
                seed=None if seed is None else int(seed),
                threads=job.threads,
                gpus=int(job.resources.get("gpu", 0)),
                after=tuple(sorted(after)),
                shard=wildcards.get("scatteritem"),
                num_shards=len(job.input.get("shards", ())),
            )
        )

    for job in sorted(todo, key=str):
        add(job)
    return planned

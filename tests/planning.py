"""Which jobs a study would run, through Snakemake's API; nothing is executed."""

import sys
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.settings.enums import Quietness, RerunTrigger
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    OutputSettings,
    ResourceSettings,
)

# What profiles/default sets; the API reads no profiles.
TRIGGERS = frozenset(
    {RerunTrigger.MTIME, RerunTrigger.PARAMS, RerunTrigger.INPUT, RerunTrigger.SOFTWARE_ENV}
)
MAX_CHECKSUM_FILE_SIZE = 1_000_000_000


def plan(project: Path, configfiles: tuple[Path, ...] = (), execute: str = "dryrun", force=False):
    """Run `execute` over the whole study; returns the jobs: {"rule:variant": its output files}."""
    path = list(sys.path)  # the Snakefile puts its own library first
    loaded = _without_library()
    try:
        return _plan(project, configfiles, execute, force)
    finally:
        sys.path[:] = path
        _without_library()
        sys.modules.update(loaded)


def _without_library() -> dict:
    """Forget the library's modules, so that a project loads its own; returns them."""
    names = [name for name in sys.modules if name.partition(".")[0] == "slimdit"]
    return {name: sys.modules.pop(name) for name in names}


def _plan(project: Path, configfiles: tuple[Path, ...], execute: str, force: bool):
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, show_failed_logs=False)) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=tuple(configfiles)),
            snakefile=project / "Snakefile",
            workdir=project,
        )
        dag_api = workflow.dag(
            dag_settings=DAGSettings(
                rerun_triggers=TRIGGERS,
                max_checksum_file_size=MAX_CHECKSUM_FILE_SIZE,
                forceall=force,
            )
        )
        dag_api.execute_workflow(executor=execute)
        dag = workflow._workflow.dag  # private: there is no public accessor
        jobs = dag.needrun_jobs(exclude_finished=False)
        return {
            ":".join([job.rule.name, *job.wildcards_dict.get("variant", "").split()]): [
                str(output) for output in job.output
            ]
            for job in jobs
            if job.rule.name != "all"
        }

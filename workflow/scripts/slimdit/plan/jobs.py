"""Which jobs a study has still to run, by Snakemake's own word; nothing is executed."""

import re
import subprocess
import sys
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.study.jobs import Job, jobs_of
from slimdit.study.load import BASE
from slimdit.study.study import Study

SNAKEFILE = Path(__file__).parents[4] / "Snakefile"


def pending_jobs(study: Study, configfiles: list[str]) -> list[Job]:
    """The jobs of which Snakemake would make an output anew in this folder.

    Raises InputError where Snakemake refuses the study.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", SNAKEFILE, "--summary"]
    command += ["--configfile", BASE, *configfiles]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        lines = run.stderr.rpartition("Building DAG of jobs...\n")[2].splitlines()
        words = " ".join(line.strip() for line in lines if not line.startswith("  File "))
        raise InputError(f"The study cannot be planned: {words}")
    pending = set(re.findall(r"^([^\t]+)\t.*\tupdate pending$", run.stdout, re.MULTILINE))
    return [job for job in jobs_of(study) if not pending.isdisjoint(job.outputs.values())]

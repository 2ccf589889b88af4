"""Whether the disk has room for what is to be made, before anything is."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.plan.work import work_of
from slimdit.study.jobs import Job

COUNTED = ("encode_latents", "reconstruct", "sample")  # without PyTorch; all else is small to these


def check_space(jobs: Iterable[Job]) -> None:
    """Raises InputError where latents and images of the jobs alone take more than is free.

    What is half done, which they replace, counts as free.
    """
    jobs = [job for job in jobs if job.step in COUNTED]
    if not jobs:
        return
    study = jobs[0].study
    wanted = sum(
        work_of(study, job).files.get(path, 0) for job in jobs for path in job.outputs.values()
    )
    root = Path(study.layout.root)
    half_done = sum(path.stat().st_size for path in root.glob("state/**/*.npy"))
    disk = next(each for each in (root, *root.parents) if each.is_dir())
    free = shutil.disk_usage(disk).free + half_done
    if wanted > free:
        raise InputError(
            f"{root} has room for {free / 1e9:.1f} GB, and latents and images alone will take "
            f"{wanted / 1e9:.1f} GB; free some, or make results a link to a larger disk."
        )

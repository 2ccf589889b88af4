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

    What they replace counts as free: their outputs, and what is half done. Of a disk that does not
    tell its size nothing is asked.
    """
    jobs = [job for job in jobs if job.step in COUNTED]
    if not jobs:
        return
    study = jobs[0].study
    outputs = [(job, path) for job in jobs for path in job.outputs.values()]
    wanted = sum(work_of(study, job).files.get(path, 0) for job, path in outputs)
    root = Path(study.layout.root)
    replaced = {*(Path(path) for _, path in outputs), *root.glob("state/**/*.npy")}
    disk = shutil.disk_usage(next(each for each in (root, *root.parents) if each.is_dir()))
    free = disk.free + sum(map(_size, replaced))
    if wanted > free and disk.total:
        raise InputError(
            f"{root} has room for {free / 1e9:.1f} GB, and latents and images alone will take "
            f"{wanted / 1e9:.1f} GB; free some, or make results a link to a larger disk."
        )


def _size(path: Path) -> int:
    """Bytes on the disk; 0 of a file that is not there, or no longer."""
    try:
        return 512 * path.stat().st_blocks
    except OSError:
        return 0

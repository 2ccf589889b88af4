"""What is checked before the first job, of the command line and the folder; nothing is changed."""

from collections.abc import Iterable, Mapping

from slimdit.core.errors import InputError
from slimdit.jobs.launch import in_own_process
from slimdit.storage.folders import check_replaceable


def check_gpus(limits: Mapping, overwrites: Mapping[str, Mapping]) -> None:
    """Raises InputError where --set-resources asks for more GPUs than --resources has: Snakemake
    would cut the number without a word.

    limits: the resources of the whole run by name; on a cluster there is no "gpu". overwrites:
    those of each rule that is named on the command line.
    """
    limit = gpus_in(limits)
    for rule, resources in overwrites.items():
        wanted = gpus_in(resources)
        if limit is not None and wanted is not None and wanted > limit:
            raise InputError(
                f"--set-resources {rule}:gpu={wanted}, but --resources gpu={limit} would cut it; "
                f"ask for --resources gpu={wanted} or more."
            )


def gpus_in(resources: Mapping) -> int | None:
    """How many GPUs Snakemake's resources by name say; None where they do not, or by a function."""
    count = getattr(resources.get("gpu"), "value", None)
    return count if isinstance(count, int) else None


def check_image_folder(data: Mapping) -> None:
    """Raises InputError where the study would make its image folder in the place of another's.

    Snakemake deletes the folder before the job that makes it.
    """
    if data["photos"]:
        check_replaceable(data["images"], "config: data.images")


def check_compiler(choices: Iterable[str]) -> None:
    """Raises InputError where one of the options `compile` is on and nothing can be compiled here.

    It takes seconds: not of a dry run, nor of a node that only sends jobs to others.
    """
    if "on" in choices:
        in_own_process(_compile)


def _compile() -> None:
    from slimdit.compute.compiler import compiles
    from slimdit.compute.devices import device

    compiles("on", device())

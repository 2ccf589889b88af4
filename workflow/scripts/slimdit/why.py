"""Why a study's results would be made again: python -m slimdit.why --row S2-base.

What a result says of how it was made is held against what the config, the code and the files say
today.
"""

import argparse
import functools
import os
import signal
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.core.text import shortened
from slimdit.jobs.provenance import read_origin
from slimdit.storage.files import sha256_of
from slimdit.study.jobs import Job, jobs_of
from slimdit.study.load import configured_study, run_command
from slimdit.study.study import Study


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m slimdit.why",
        description="Which setting, definition or input of a result differs from today's.",
    )
    parser.add_argument("file", nargs="*", help="results, such as .../S2-base/speed.json")
    parser.add_argument("--row", help="a variant: all that is made for it")
    return run_command(parser, why, arguments)


def why(configfile: list[str], row: str | None, file: list[str]) -> Iterator[str]:
    """Lines on each of the chosen jobs."""
    digest = functools.cache(sha256_of)  # of files that many rows are made from
    for job in chosen(configured_study(configfile), row, file):
        found = [f"  {sentence}" for sentence in differences(job, digest)]
        yield f"{job.name}:" if found else f"{job.name}: as it would be made today."
        yield from found


def chosen(study: Study, row: str | None, files: list[str]) -> list[Job]:
    """The jobs of a row, or that make these files; all of a study's without either.

    Raises InputError for a row or a file that the study does not have.
    """
    jobs = list(jobs_of(study))
    if row is not None and row not in study.variants:
        raise InputError(f"--row {row} is no row; the study has {', '.join(study.variants)}.")
    makers = {Path(path): job for job in jobs for path in job.outputs.values()}
    wanted = []
    for file in map(Path, map(os.path.relpath, files)):
        if file not in makers:
            raise InputError(f"{file} is no file that a rule of the study {study.name} makes.")
        wanted.append(makers[file])
    if files:
        return [job for job in jobs if job in wanted]
    return [job for job in jobs if row is None or job.variant == row]


def differences(job: Job, digest: Callable[[Path], str] = sha256_of) -> Iterator[str]:
    """Sentences on what differs between how a result was made and how it would be made today.

    digest: the sha256 of a file.
    """
    missing = [path for path in job.outputs.values() if not Path(path).exists()]
    if missing:
        yield f"{missing[0]} is not there."
        return
    if job.record is None:
        yield f"{next(iter(job.outputs.values()))} does not say how it was made."
        return
    try:
        origin = read_origin(job.record)
    except InputError as error:
        yield str(error)
        return
    then, now = origin.get("recipe"), job.recipe
    if then is None:
        yield f"{job.record} is older than recipes; `snakemake --touch` takes it as it is."
    else:
        yield from _changes("setting", then["settings"], now["settings"], _shown)
        yield from _changes("definition", then["definitions"], now["definitions"], lambda *_: "")
    folder = Path(job.record).parent
    for name, sha256 in origin.get("inputs", {}).items():
        path = Path(os.path.normpath(folder / name))
        if not path.is_file():
            yield f"input {name} is not there."
        elif digest(path) != sha256:
            yield f"input {name} has other content than it was made from."


def check_recognised(
    jobs: Mapping[Hashable, Job],
    dependencies: Mapping[Hashable, Iterable[Hashable]],
    is_known: Callable[[Hashable], bool],
) -> None:
    """Raises InputError where a job is about to be done again though what it made is, by its own
    record, what it would make today, and so is all that it is made from.

    jobs: that are about to be done, by what Snakemake calls them, as in `dependencies`. is_known:
    whether Snakemake has a record of one, or another reason to do it than the times of files.
    """
    digest = functools.cache(sha256_of)

    @functools.cache
    def is_wanted(name: Hashable) -> bool:
        if name not in jobs:
            return False
        differs = jobs[name].record and any(differences(jobs[name], digest))
        return is_known(name) or bool(differs) or any(map(is_wanted, dependencies[name]))

    for name, job in jobs.items():
        if job.record and not is_wanted(name):
            raise InputError(
                f"{job.name} would be done again, though {job.record} says that it is as it would "
                "be made today: Snakemake has no record of it, as of results that were copied "
                "without .snakemake. `make why` says which differ: delete those; `make adopt` "
                "takes over all that are left."
            )


def _changes(kind: str, then: dict, now: dict, shown: Callable) -> Iterator[str]:
    before, after = dict(_flat(then)), dict(_flat(now))
    for key in sorted(before.keys() | after.keys()):
        if key not in after:
            how = f"is gone{shown(before[key], ', it was ')}"
        elif key not in before:
            how = f"is new{shown(after[key], ': ')}"
        elif before[key] != after[key]:
            how = f"has changed{shown(before[key], ' from ')}{shown(after[key], ' to ')}"
        else:
            continue
        yield f"{kind} {key} {how}."


def _flat(value, key: str = "") -> Iterator[tuple[str, object]]:
    """Settings by dotted names."""
    if not isinstance(value, dict) or not value:
        yield key, value
        return
    for name, inner in value.items():
        yield from _flat(inner, f"{key}.{name}" if key else name)


def _shown(value, before: str) -> str:
    return before + shortened(value)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    sys.exit(main())

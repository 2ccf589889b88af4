"""How far a study is: python -m slimdit.status --configfile configs/imagenet200.yaml."""

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from slimdit.core.errors import InputError
from slimdit.core.text import aligned, duration
from slimdit.status.state import (
    DONE,
    LONG_STEPS,
    WAITING,
    JobStatus,
    job_status,
    long_job,
    parts_begun,
)
from slimdit.study.jobs import jobs_of
from slimdit.study.load import configured_study
from slimdit.study.study import Study

HEADER = ("job", "state", "done", "loss", "per s", "left", "where", "")
CLEAR = "\033[H\033[J"  # a terminal
SHORTEST_S = 1.0  # between two looks


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1, with a sentence on stderr, for a bad config."""
    options = parser().parse_args(arguments)
    try:
        study = configured_study(options.configfile)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        while True:
            text = report(study, time.time())
            if not options.watch:
                print(text)
                return 0
            print(CLEAR if sys.stdout.isatty() else "", text, sep="", flush=True)
            time.sleep(max(SHORTEST_S, options.watch))
    except KeyboardInterrupt:
        return 0


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m slimdit.status",
        description="State, progress and time left of a study's long jobs, from its files alone.",
    )
    result.add_argument(
        "--configfile", nargs="+", default=[], metavar="FILE", help="as given to Snakemake"
    )
    result.add_argument("--watch", type=float, metavar="SECONDS", help="show it again and again")
    return result


def report(study: Study, now_s: float) -> str:
    """A line for each long job under a line of totals; now_s: seconds since 1970."""
    statuses = list(statuses_of(study, now_s))
    at = time.strftime("%H:%M:%S", time.localtime(now_s))
    lines = aligned([HEADER, *map(cells, statuses)])
    return "\n".join([f"{study.name} at {at}: {_totals(statuses)}", "", *lines])


def statuses_of(study: Study, now_s: float) -> Iterator[JobStatus]:
    """Each long job's, and until it is done those of its parts that have begun."""
    for job in (long_job(job) for job in jobs_of(study) if job.step in LONG_STEPS):
        status = job_status(job, now_s)
        begun = parts_begun(job) if status.state != DONE else ()
        parts = [part for each in begun if (part := job_status(each, now_s)).state != WAITING]
        if parts and status.state == WAITING:
            status = replace(status, note=f"for parts: {_totals(parts)}")
        yield status
        yield from parts


def _totals(statuses: list[JobStatus]) -> str:
    states = Counter(status.state for status in statuses)
    return ", ".join(f"{number} {state}" for state, number in states.items())


def cells(status: JobStatus) -> tuple[str, ...]:
    done, total = status.done, status.total
    counts = ["-" if number is None else str(number) for number in (done, total)]
    return (
        status.name,
        status.state,
        "" if done is None and total is None else "/".join(counts),
        status.loss,
        "" if status.per_s is None else f"{status.per_s:.3g}",
        "" if status.left_s is None else duration(status.left_s),
        status.where,
        status.note,
    )


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    sys.exit(main())

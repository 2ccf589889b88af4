"""How far a study is: python -m slimdit.status --configfile configs/imagenet200.yaml."""

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator

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
    parser = argparse.ArgumentParser(
        prog="python -m slimdit.status",
        description="State, progress and time left of a study's long jobs, from its files alone.",
    )
    parser.add_argument("--configfile", nargs="+", default=[], help="as given to Snakemake")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="show it again and again")
    options = parser.parse_args(arguments)
    try:
        study = configured_study(options.configfile)
        while options.watch:
            clear = CLEAR if sys.stdout.isatty() else ""
            print(clear + report(study, time.time()), flush=True)
            time.sleep(max(SHORTEST_S, options.watch))
        print(report(study, time.time()))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def report(study: Study, now_s: float) -> str:
    """A line for each long job under a line of totals; now_s: seconds since 1970."""
    statuses = list(statuses_of(study, now_s))
    states = Counter(status.state for status in statuses)
    totals = ", ".join(f"{count} {state}" for state, count in states.items())
    at = time.strftime("%H:%M:%S", time.localtime(now_s))
    lines = aligned([HEADER, *map(cells, statuses)])
    return "\n".join([f"{study.name} at {at}: {totals}", "", *lines])


def statuses_of(study: Study, now_s: float) -> Iterator[JobStatus]:
    """Each long job's, and until it is done those of its parts that have begun."""
    for job in (long_job(job) for job in jobs_of(study) if job.step in LONG_STEPS):
        status = job_status(job, now_s)
        yield status
        if status.state != DONE:
            parts = (job_status(part, now_s) for part in parts_begun(job))
            yield from (part for part in parts if part.state != WAITING)


def cells(status: JobStatus) -> tuple[str, ...]:
    counts = ["-" if number is None else str(number) for number in (status.done, status.total)]
    return (
        status.name,
        status.state,
        "" if counts == ["-", "-"] else "/".join(counts),
        status.loss,
        "" if status.per_s is None else f"{status.per_s:.3g}",
        "" if status.left_s is None else duration(status.left_s),
        status.where,
        status.note,
    )


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    sys.exit(main())

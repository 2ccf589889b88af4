"""How far a study is: python -m slimdit.status --configfile configs/imagenet200.yaml.

It is read from the study's files alone, without torch, and nothing is written.
"""

import argparse
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.core.text import aligned, duration
from slimdit.jobs.heartbeat import FAILED, NAME, RUNNING, TERMINATED, Heartbeat
from slimdit.jobs.job_log import last_error
from slimdit.storage.files import read_json
from slimdit.storage.resume_checkpoints import states_in, step_of
from slimdit.study.jobs import Job, jobs_of
from slimdit.study.load import configured_study, run_command
from slimdit.study.study import Study

HEADER = ("job", "state", "done", "loss", "per s", "left", "where", "")
WAITING, STALLED, STOPPED, DONE = "waiting", "stalled", "stopped", "done"
FRESH_S = 600.0  # longer than a job takes to compile, and a network file system for news


@dataclass(frozen=True)
class WatchedJob:
    """The files of a job, or of a part of one.

    state: the folder of its heartbeat, None for a job that has none. report: the output with its
    numbers. is_training: whether it goes on from the step that it saved last.
    """

    name: str
    state: Path | None
    log: Path
    outputs: tuple[Path, ...]
    report: Path | None = None
    is_training: bool = False


@dataclass(frozen=True)
class JobStatus:
    """state: waiting, running, stalled, stopped (the same command goes on), failed or done.

    What is not known is None or an empty string. done: units of work, of a training that does not
    run those that it goes on from. note: a few words, or the sentence of a failure.
    """

    name: str
    state: str
    done: int | None = None
    total: int | None = None
    loss: str = ""
    per_s: float | None = None
    left_s: float | None = None
    where: str = ""
    note: str = ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m slimdit.status",
        description="State, progress and time left of a study's jobs, from its files alone.",
    )
    return run_command(parser, report, arguments)


def report(configfile: list[str]) -> Iterator[str]:
    """A line for each job under a line of totals."""
    study, now_s = configured_study(configfile), time.time()
    statuses = list(statuses_of(study, now_s))
    states = Counter(status.state for status in statuses)
    totals = ", ".join(f"{count} {state}" for state, count in states.items())
    yield f"{study.name} at {time.strftime('%H:%M:%S', time.localtime(now_s))}: {totals}"
    yield ""
    yield from aligned([HEADER, *map(cells, statuses)])


def statuses_of(study: Study, now_s: float) -> Iterator[JobStatus]:
    """Each job's, and until it is done those of its parts that have begun."""
    for job in jobs_of(study):
        status = job_status(watched(job), now_s)
        yield status
        if status.state != DONE:
            parts = (job_status(watched(part), now_s) for part in job.parts_begun())
            yield from (part for part in parts if part.state != WAITING)


def cells(status: JobStatus) -> tuple[str, ...]:
    return (
        status.name,
        status.state,
        "" if status.done is None else f"{status.done}/{status.total}",
        status.loss,
        "" if status.per_s is None else f"{status.per_s:.3g}",
        "" if status.left_s is None else duration(status.left_s),
        status.where,
        status.note,
    )


def watched(job: Job) -> WatchedJob:
    return WatchedJob(
        job.name,
        job.state and Path(job.state),
        Path(job.log),
        tuple(map(Path, job.outputs.values())),
        job.record and Path(job.record),
        is_training="training" in job.settings,
    )


def job_status(job: WatchedJob, now_s: float) -> JobStatus:
    """now_s: seconds since 1970. A job without a heartbeat runs while its log is fresh."""
    beat = job.state and Heartbeat.read(job.state)
    ago_s = now_s - _modified_s(job.state / NAME if beat else job.log)
    has_ended = bool(beat) and (beat.state in (TERMINATED, FAILED) or _is_dead(beat))
    is_alive = ago_s <= FRESH_S and not has_ended
    at_work_again = is_alive and bool(beat) and beat.state == RUNNING
    if all(path.exists() for path in job.outputs) and not at_work_again:
        return _done(job)

    note = f"last sign {duration(max(0.0, ago_s))} ago"
    if words := last_error(job.log):
        state, note = FAILED, words
    elif is_alive:
        state, note = RUNNING, ""
        if beat and beat.description not in job.name:
            note = beat.description
    elif not beat:
        state, note = WAITING, ""
    elif beat.state == FAILED:
        state, note = FAILED, f"{note}, without a word in {job.log}"
    else:
        state = STOPPED if has_ended else STALLED
    if not beat:
        return JobStatus(job.name, state, note=note)

    done = _saved_step(job.state) if job.is_training and state != RUNNING else beat.done
    per_s = beat.per_s if state == RUNNING else None
    left_s = (beat.total - beat.done) / per_s if per_s and per_s > 0 else None
    where = f"{beat.host} job {beat.slurm_job_id}" if beat.slurm_job_id else beat.host
    loss = str(beat.shown.get("loss", ""))
    return JobStatus(job.name, state, done, beat.total, loss, per_s, left_s, where, note)


def _done(job: WatchedJob) -> JobStatus:
    try:
        said = read_json(job.report) if job.report and job.report.suffix == ".json" else {}
    except InputError:
        said = {}
    return JobStatus(
        job.name,
        DONE,
        loss=f"{said['final_loss']:.4f}" if "final_loss" in said else "",
        per_s=said.get("steps_per_s", said.get("images_per_s")),
        note=f"wall time {duration(said['wall_s'])}" if "wall_s" in said else "",
    )


def _saved_step(state: Path) -> int:
    """What a training goes on from."""
    newest = max(states_in(state), key=_modified_s, default=None)
    return step_of(newest) if newest else 0


def _is_dead(beat: Heartbeat) -> bool:
    """Whether the process is known to be gone: those of other machines are not seen."""
    if beat.host != socket.gethostname():
        return False
    try:
        os.kill(beat.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # It is another user's.
        pass
    return False


def _modified_s(path: Path) -> float:
    """By the clock of the file system, which is one for all machines; 0 where it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    sys.exit(main())

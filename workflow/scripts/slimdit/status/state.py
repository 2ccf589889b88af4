"""What has become of a long job, from its files alone: torch-free, and nothing is written."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.core.text import duration
from slimdit.jobs.heartbeat import FAILED, NAME, RUNNING, TERMINATED, Heartbeat
from slimdit.jobs.job_log import last_error
from slimdit.storage.files import read_json
from slimdit.study.jobs import Job

WAITING, STALLED, STOPPED, DONE = "waiting", "stalled", "stopped", "done"
FRESH_S = 120.0  # longer than clients of a network file system take for news
FIRST_UPDATES_S = 600.0  # before its second update a job may be compiling
INTERVALS = 3  # between updates, that may pass without one
LONG_STEPS = (
    *("select_subset", "train_autoencoder", "encode_latents", "make_reference"),
    *("train", "sample", "evaluate", "compare", "measure_speed"),
)


@dataclass(frozen=True)
class LongJob:
    """The files of a job that is watched, or of a part of one.

    state: the folder of its heartbeat, None for a job that has none. report: the output with its
    numbers. total: units of work, None where the job alone knows.
    """

    name: str
    state: Path | None
    log: Path
    outputs: tuple[Path, ...]
    report: Path | None = None
    total: int | None = None


@dataclass(frozen=True)
class JobStatus:
    """state: waiting, running, stalled, stopped (the same command goes on), failed or done.

    What is not known is None or an empty string. note: a few words, or the sentence of a failure.
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


def long_job(job: Job) -> LongJob:
    settings, total = job.settings, None
    if "training" in settings:
        total = settings["training"]["steps"]
    elif "sampling" in settings:
        total = settings["sampling"]["num_samples"] * settings["sampling"]["num_sets"]
    outputs = tuple(map(Path, job.outputs.values()))
    state, record = job.state and Path(job.state), job.record and Path(job.record)
    return LongJob(job.name, state, Path(job.log), outputs, record, total)


def parts_begun(job: LongJob) -> Iterator[LongJob]:
    """The jobs that share its work, as far as each has a log."""
    logs = job.log.parent.glob(f"{job.log.stem}-*-of-*.log")
    for log in sorted(logs, key=lambda path: (len(path.name), path)):
        part = log.stem.removeprefix(f"{job.log.stem}-")
        outputs = (job.state / f"{part}.npy", job.state / f"{part}.json")
        yield LongJob(f"{job.name}, part {part}", job.state / part, log, outputs, outputs[1])


def job_status(job: LongJob, now_s: float) -> JobStatus:
    """now_s: seconds since 1970. A job without a heartbeat runs while its log is fresh."""
    beat = job.state and Heartbeat.read(job.state)
    ago_s = now_s - _modified_s(job.state / NAME if beat else job.log)
    has_ended = bool(beat) and (beat.state in (TERMINATED, FAILED) or _is_dead(beat))
    is_alive = ago_s <= _patience_s(beat) and not has_ended
    at_work_again = is_alive and bool(beat) and beat.state == RUNNING
    last_sign = f"last sign {duration(max(0.0, ago_s))} ago"
    if all(path.exists() for path in job.outputs) and not at_work_again:
        return _done(job)
    if words := last_error(job.log):
        return _seen(job, beat, FAILED, words)
    if is_alive:
        is_named = not beat or beat.description in job.name
        return _seen(job, beat, RUNNING, "" if is_named else beat.description)
    if not beat:
        return _seen(job, beat, WAITING, "")
    if beat.state == FAILED:
        return _seen(job, beat, FAILED, f"{last_sign}, without a word in {job.log}")
    return _seen(job, beat, STOPPED if has_ended else STALLED, last_sign)


def _done(job: LongJob) -> JobStatus:
    said = _numbers_of(job.report)
    return JobStatus(
        job.name,
        DONE,
        job.total,
        job.total,
        f"{said['final_loss']:.4f}" if "final_loss" in said else "",
        said.get("steps_per_s", said.get("images_per_s")),
        note=f"wall time {duration(said['wall_s'])}" if "wall_s" in said else "",
    )


def _seen(job: LongJob, beat: Heartbeat | None, state: str, note: str) -> JobStatus:
    """A job that may have left a heartbeat."""
    if not beat:
        return JobStatus(job.name, state, total=job.total, note=note)
    per_s = beat.per_s if state == RUNNING else None
    left_s = (beat.total - beat.done) / per_s if per_s and per_s > 0 else None
    where = f"{beat.host} job {beat.slurm_job_id}" if beat.slurm_job_id else beat.host
    loss = str(beat.shown.get("loss", ""))
    return JobStatus(job.name, state, beat.done, beat.total, loss, per_s, left_s, where, note)


def _patience_s(beat: Heartbeat | None) -> float:
    if not beat or beat.interval_s is None:
        return FIRST_UPDATES_S
    return max(FRESH_S, INTERVALS * beat.interval_s)


def _is_dead(beat: Heartbeat) -> bool:
    """Whether the process is known to be gone: those of other machines are not seen."""
    if beat.host != socket.gethostname():
        return False
    try:
        os.kill(beat.pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # another user's; no process's number
        pass
    return False


def _modified_s(path: Path) -> float:
    """By the clock of the file system, which is one for all machines; 0 where it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _numbers_of(report: Path | None) -> dict[str, int | float]:
    """What a report says in numbers; nothing where it is no JSON file, or a damaged one."""
    try:
        content = read_json(report) if report and report.suffix == ".json" else {}
    except (InputError, OSError):
        return {}
    values = content.items() if isinstance(content, dict) else ()
    return {key: value for key, value in values if isinstance(value, int | float)}

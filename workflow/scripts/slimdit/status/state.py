"""What has become of a long job, from its files alone: torch-free, and nothing is written."""

import math
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.core.text import duration
from slimdit.jobs.heartbeat import FAILED, FINISHED, NAME, RUNNING, TERMINATED, Heartbeat
from slimdit.jobs.job_log import last_error
from slimdit.storage.files import read_json
from slimdit.study.jobs import Job

WAITING, STALLED, STOPPED, DONE = "waiting", "stalled", "stopped", "done"
FRESH_S = 120.0  # longer than clients of a network file system take for news
FIRST_UPDATES_S = 600.0  # before its second update a job may be compiling
INTERVALS = 3  # between updates, that may pass without one
SAVED = re.compile(r"\w+-(\d{8})-[0-9a-f]{16}\.safetensors")
PART = re.compile(r"(\d+-of-\d+)(\.json)?")
LONG_STEPS = (
    *("select_subset", "train_autoencoder", "encode_latents", "make_reference"),
    *("train", "sample", "evaluate", "compare", "measure_speed"),
)


@dataclass(frozen=True)
class LongJob:
    """A job that is watched, or a part of one.

    state: the folder of its heartbeat, None for a job that has none. outputs: the last one is its
    report. total: units of work, None where the job alone knows.
    """

    name: str
    state: Path | None
    log: Path
    outputs: tuple[Path, ...]
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
    outputs = sorted(job.outputs.values(), key=lambda path: path == job.record)
    state = job.state and Path(job.state)
    return LongJob(job.name, state, Path(job.log), tuple(map(Path, outputs)), total)


def parts_begun(job: LongJob) -> list[LongJob]:
    """The jobs that share its work, as far as each has a folder or a report in its state."""
    found = (PART.fullmatch(path.name) for path in job.state.glob("*-of-*")) if job.state else ()
    names = {match[1] for match in found if match}
    return [
        LongJob(
            f"{job.name}, part {name}",
            job.state / name,
            job.log.with_name(f"{job.log.stem}-{name}.log"),
            (job.state / f"{name}.npy", job.state / f"{name}.json"),
        )
        for name in sorted(names, key=lambda each: (len(each), each))
    ]


def job_status(job: LongJob, now_s: float) -> JobStatus:
    """now_s: seconds since 1970."""
    beat = job.state and Heartbeat.read(job.state)
    ago_s = now_s - _modified_s(job.state / NAME) if beat else 0.0
    has_ended = bool(beat) and (beat.state in (TERMINATED, FAILED) or _is_dead(beat))
    is_fresh = bool(beat) and not has_ended and ago_s <= _patience_s(beat)
    at_work_again = is_fresh and beat.state == RUNNING
    if all(path.exists() for path in job.outputs) and not at_work_again:
        return _done(job)
    if words := last_error(job.log):
        return _seen(job, beat, FAILED, words)
    if not beat:
        return _unseen(job, now_s)
    if beat.state == FAILED:
        return _seen(job, beat, FAILED, f"{_ago(ago_s)}, without a word in {job.log}")
    if has_ended:
        how = "terminated" if beat.state == TERMINATED else "killed, last sign"
        return _seen(job, beat, STOPPED, f"{how} {_ago(ago_s)}")
    if is_fresh:
        return _seen(job, beat, RUNNING, _at_work_on(job, beat, ago_s))
    return _seen(job, beat, STALLED, f"last sign {_ago(ago_s)}")


def _done(job: LongJob) -> JobStatus:
    said = _numbers_of(job.outputs[-1])
    loss, wall_s = said.get("final_loss"), said.get("wall_s")
    return JobStatus(
        job.name,
        DONE,
        job.total,
        job.total,
        "" if loss is None else f"{loss:.4f}",
        said.get("steps_per_s", said.get("images_per_s")),
        note="" if wall_s is None else f"wall time {duration(wall_s)}",
    )


def _seen(job: LongJob, beat: Heartbeat | None, state: str, note: str) -> JobStatus:
    """A job that may have left a heartbeat."""
    if not beat:
        return JobStatus(job.name, state, total=job.total, note=note)
    left_s = (beat.total - beat.done) / beat.per_s if beat.per_s > 0 else math.inf
    is_running = state == RUNNING
    saved = None if is_running else _saved_step(job.state)
    return JobStatus(
        job.name,
        state,
        beat.done if saved is None else min(beat.done, saved),
        beat.total,
        str(beat.shown.get("loss", "")),
        beat.per_s if is_running else None,
        left_s if is_running and left_s < math.inf else None,
        f"{beat.host} job {beat.slurm_job_id}" if beat.slurm_job_id else beat.host,
        note,
    )


def _unseen(job: LongJob, now_s: float) -> JobStatus:
    """A job without a heartbeat runs while its log is fresh."""
    is_fresh = now_s - _modified_s(job.log) <= FIRST_UPDATES_S
    return JobStatus(job.name, RUNNING if is_fresh else WAITING, total=job.total)


def _at_work_on(job: LongJob, beat: Heartbeat, ago_s: float) -> str:
    notes = [] if beat.description in job.name else [beat.description]
    if beat.state == FINISHED:
        notes.append("results to come")
    if ago_s < -FRESH_S:
        notes.append(f"its clock is {duration(-ago_s)} ahead")
    return ", ".join(notes)


def _patience_s(beat: Heartbeat) -> float:
    if beat.interval_s is None:
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
        return False
    return False


def _saved_step(folder: Path) -> int | None:
    """Of the newest saved state of a training."""
    found = [(path, match) for path in folder.iterdir() if (match := SAVED.fullmatch(path.name))]
    return max(((_modified_s(path), int(match[1])) for path, match in found), default=(0, None))[1]


def _modified_s(path: Path) -> float:
    """By the clock of the file system, which is one for all machines; 0 where it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _numbers_of(report: Path) -> dict[str, int | float]:
    """What a report says in numbers; nothing where it is no JSON file, or a damaged one."""
    try:
        content = read_json(report) if report.suffix == ".json" else {}
    except (InputError, OSError):
        return {}
    values = content.items() if isinstance(content, dict) else ()
    return {key: value for key, value in values if isinstance(value, int | float)}


def _ago(seconds: float) -> str:
    return f"{duration(max(0.0, seconds))} ago"

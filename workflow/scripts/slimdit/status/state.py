"""What has become of a long job, from its files alone: torch-free, and nothing is written."""

import math
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.jobs.heartbeat import FAILED, FINISHED, NAME, RUNNING, TERMINATED, Heartbeat
from slimdit.status.jobs import LongJob
from slimdit.storage.files import read_json

WAITING, STALLED, STOPPED, DONE = "waiting", "stalled", "stopped", "done"
FRESH_S = 120.0  # longer than clients of a network file system take for news
FIRST_UPDATES_S = 600.0  # before its second update a job may be compiling
INTERVALS = 3  # between updates, that may pass without one
TAIL_BYTES = 65536  # of a log
RECORD = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ ([A-Z]+) ", re.MULTILINE)
SAVED = re.compile(r"\w+-(\d{8})-[0-9a-f]{16}\.safetensors")


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


def job_status(job: LongJob, now_s: float) -> JobStatus:
    """now_s: seconds since 1970."""
    beat = Heartbeat.read(job.state)
    ago_s = now_s - _modified_s(job.state / NAME)
    has_ended = beat is not None and (beat.state in (TERMINATED, FAILED) or _is_dead(beat))
    is_fresh = beat is not None and not has_ended and ago_s <= _patience_s(beat)
    at_work_again = is_fresh and beat.state == RUNNING
    if all(path.exists() for path in job.outputs) and not at_work_again:
        return _done(job)
    if words := _last_error(job.log):
        return _seen(job, beat, FAILED, words)
    if beat is None:
        return _unseen(job, now_s)
    if beat.state == FAILED:
        return _seen(job, beat, FAILED, f"{_ago(ago_s)}, without a word in {job.log}")
    if has_ended:
        how = "terminated" if beat.state == TERMINATED else "killed, last sign"
        return _seen(job, beat, STOPPED, f"{how} {_ago(ago_s)}")
    if is_fresh:
        return _seen(job, beat, RUNNING, _at_work_on(job, beat, ago_s))
    return _seen(job, beat, STALLED, f"last sign {_ago(ago_s)}")


def duration(seconds: float) -> str:
    """Two units at most: 45 s, 12 min, 6 h 17 min, 3 d 4 h."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


def _done(job: LongJob) -> JobStatus:
    try:
        content = read_json(job.outputs[-1]) if job.reported else {}
    except (InputError, OSError):
        content = {}
    said = {what: _number(content, key) for what, key in job.reported.items()}
    loss, wall_s = said.get("loss"), said.get("wall_s")
    return JobStatus(
        job.name,
        DONE,
        said.get("done", job.total),
        job.total,
        "" if loss is None else f"{loss:.4f}",
        said.get("per_s"),
        note="" if wall_s is None else f"wall time {duration(wall_s)}",
    )


def _seen(job: LongJob, beat: Heartbeat | None, state: str, note: str) -> JobStatus:
    """A job that may have left a heartbeat."""
    if beat is None:
        return JobStatus(job.name, state, total=job.total, note=note)
    left_s = (beat.total - beat.done) / beat.per_s if beat.per_s > 0 else math.inf
    is_running = state == RUNNING
    saved = None if is_running else _saved(job.state)
    return JobStatus(
        job.name,
        state,
        beat.done if saved is None else min(beat.done, saved[0]),
        beat.total,
        str(beat.shown.get("loss", "")),
        beat.per_s if is_running else None,
        left_s if is_running and left_s < math.inf else None,
        f"{beat.host} job {beat.slurm_job_id}" if beat.slurm_job_id else beat.host,
        note,
    )


def _unseen(job: LongJob, now_s: float) -> JobStatus:
    """A job without a heartbeat: it has not begun, or it was begun before there were any."""
    saved = _saved(job.state)
    if saved is None:
        return JobStatus(job.name, WAITING, total=job.total)
    step, saved_s = saved
    return JobStatus(job.name, STOPPED, step, job.total, note=f"saved {_ago(now_s - saved_s)}")


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


def _saved(folder: Path) -> tuple[int, float] | None:
    """Step and time of the newest saved state of a training."""
    if not folder.is_dir():
        return None
    found = [(path, match) for path in folder.iterdir() if (match := SAVED.fullmatch(path.name))]
    times = [(_modified_s(path), int(match[1])) for path, match in found]
    return max(times)[::-1] if times else None


def _modified_s(path: Path) -> float:
    """By the clock of the file system, which is one for all machines; 0 where it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _last_error(log: Path) -> str:
    """The last line of a log that ends with an error, or nothing."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            tail = file.read().decode(errors="replace")
    except OSError:
        return ""
    records = list(RECORD.finditer(tail))
    if not records or records[-1][1] != "ERROR":
        return ""
    return tail[records[-1].end() :].strip().rsplit("\n", 1)[-1]


def _number(content, key: str) -> int | float | None:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content if isinstance(content, int | float) else None


def _ago(seconds: float) -> str:
    return f"{duration(max(0.0, seconds))} ago"

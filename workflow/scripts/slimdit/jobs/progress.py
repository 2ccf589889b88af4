"""Progress of long work: a bar on a terminal, plain lines in a log, a file for who watches."""

import logging
import os
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from slimdit.jobs.heartbeat import FAILED, FINISHED, RUNNING, TERMINATED, Heartbeat

LINE_EVERY_S = 15.0
BEAT_EVERY_S = 5.0

log = logging.getLogger(__name__)
tqdm.set_lock(threading.RLock())  # its own is a semaphore, which a process that is killed leaves


class Progress:
    """Counts `total` units of work.

    On a terminal stderr shows a bar with speed, time left and the values given to `update`; a log
    gets a line every 15 seconds and one at the end. state: folder of the job's heartbeat, which is
    written every 5 seconds and at both ends; None for none.
    """

    def __init__(
        self,
        total: int,
        description: str,
        unit: str = "it",
        initial: int = 0,
        state: str | Path | None = None,
    ):
        self.total, self.description, self.unit, self.state = total, description, unit, state
        self.done, self.initial = initial, initial
        self.shown: dict = {}
        self.started_s = self.last_line_s = self.last_beat_s = time.monotonic()
        self.last_update_s = self.interval_s = None
        self.bar = tqdm(
            total=total,
            desc=description,
            unit=unit,
            initial=initial,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def __enter__(self) -> "Progress":
        self._beat(RUNNING)
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.bar.close()
        self._line()
        if error is None:
            self._beat(FINISHED)
        else:
            self._beat(FAILED if isinstance(error, Exception) else TERMINATED)

    def update(self, count: int = 1, **shown) -> None:
        self.done += count
        self.shown.update(shown)
        self.bar.update(count)
        if shown:
            self.bar.set_postfix(shown, refresh=False)
        now_s = time.monotonic()
        if self.last_update_s is not None:
            self.interval_s = max(self.interval_s or 0.0, now_s - self.last_update_s)
        self.last_update_s = now_s
        if now_s - self.last_line_s > LINE_EVERY_S:
            self._line()
        if now_s - self.last_beat_s > BEAT_EVERY_S:
            self._beat(RUNNING)

    @property
    def per_s(self) -> float:
        """Units of work per second that this process has done."""
        return (self.done - self.initial) / max(time.monotonic() - self.started_s, 1e-9)

    def _beat(self, how: str) -> None:
        self.last_beat_s = time.monotonic()
        if self.state is None:
            return
        Heartbeat(
            description=self.description,
            state=how,
            done=self.done,
            total=self.total,
            unit=self.unit,
            per_s=self.per_s,
            interval_s=self.interval_s,
            shown=self.shown,
            host=socket.gethostname(),
            pid=os.getpid(),
            slurm_job_id=os.environ.get("SLURM_JOB_ID"),
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        ).write(self.state)

    def _line(self) -> None:
        self.last_line_s = time.monotonic()
        left_s = (self.total - self.done) / self.per_s if self.per_s else float("nan")
        shown = "".join(f", {name} {value}" for name, value in self.shown.items())
        log.info(
            f"{self.description}: {self.done}/{self.total} {self.unit}, "
            f"{self.per_s:.3g} {self.unit}/s, {left_s:.0f} s left{shown}"
        )

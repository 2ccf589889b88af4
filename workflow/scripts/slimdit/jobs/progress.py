"""Progress of long work: a bar on a terminal, plain lines in a log, a file for who watches."""

import logging
import os
import socket
import sys
import threading
import time
from pathlib import Path

from tqdm import tqdm

from slimdit.jobs.heartbeat import FAILED, FINISHED, RUNNING, TERMINATED, Heartbeat

TOLD_EVERY_S = 10.0

log = logging.getLogger(__name__)
tqdm.set_lock(threading.RLock())  # its own is a semaphore, which a process that is killed leaves


class Progress:
    """Counts `total` units of work.

    On a terminal stderr shows a bar with speed, time left and the values given to `update`. Every
    10 seconds and at the end a log gets a line, and the job's heartbeat is written, as it is at the
    start. state: its folder; None for none.
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
        self.started_s = self.told_s = time.monotonic()
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
        ended = FAILED if isinstance(error, Exception) else TERMINATED
        self._tell(FINISHED if error is None else ended)

    def update(self, count: int = 1, **shown) -> None:
        self.done += count
        self.shown.update(shown)
        self.bar.update(count)
        if shown:
            self.bar.set_postfix(shown, refresh=False)
        if time.monotonic() - self.told_s > TOLD_EVERY_S:
            self._tell(RUNNING)

    @property
    def per_s(self) -> float:
        """Units of work per second that this process has done."""
        return (self.done - self.initial) / max(time.monotonic() - self.started_s, 1e-9)

    def _tell(self, how: str) -> None:
        self.told_s = time.monotonic()
        left_s = (self.total - self.done) / self.per_s if self.per_s else float("nan")
        shown = "".join(f", {name} {value}" for name, value in self.shown.items())
        done, speed = f"{self.done}/{self.total} {self.unit}", f"{self.per_s:.3g} {self.unit}/s"
        log.info(f"{self.description}: {done}, {speed}, {left_s:.0f} s left{shown}")
        self._beat(how)

    def _beat(self, how: str) -> None:
        if self.state is None:
            return
        Heartbeat(
            description=self.description,
            state=how,
            done=self.done,
            total=self.total,
            per_s=self.per_s,
            shown=self.shown,
            host=socket.gethostname(),
            pid=os.getpid(),
            slurm_job_id=os.environ.get("SLURM_JOB_ID"),
        ).write(self.state)

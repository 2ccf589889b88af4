"""Progress of long work: a bar on a terminal, plain lines in a log."""

import logging
import sys
import time

from tqdm import tqdm

LINE_EVERY_S = 15.0

log = logging.getLogger(__name__)


class Progress:
    """Counts `total` units of work.

    On a terminal stderr shows a bar with speed, time left and the values given to `update`; a log
    gets a line every 15 seconds and one at the end.
    """

    def __init__(self, total: int, description: str, unit: str = "it", initial: int = 0):
        self.total, self.description, self.unit = total, description, unit
        self.done, self.initial = initial, initial
        self.shown: dict = {}
        self.started_s = self.last_line_s = time.monotonic()
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
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.bar.close()
        self._line()

    def update(self, count: int = 1, **shown) -> None:
        self.done += count
        self.shown.update(shown)
        self.bar.update(count)
        if shown:
            self.bar.set_postfix(shown, refresh=False)
        if time.monotonic() - self.last_line_s > LINE_EVERY_S:
            self._line()

    @property
    def per_s(self) -> float:
        """Units of work per second since the start of this process's share."""
        return (self.done - self.initial) / max(time.monotonic() - self.started_s, 1e-9)

    def _line(self) -> None:
        self.last_line_s = time.monotonic()
        left_s = (self.total - self.done) / self.per_s if self.per_s else float("nan")
        shown = "".join(f", {name} {value}" for name, value in self.shown.items())
        log.info(
            "%s: %d/%d %s, %.3g %s/s, %.0f s left%s",
            self.description,
            self.done,
            self.total,
            self.unit,
            self.per_s,
            self.unit,
            left_s,
            shown,
        )

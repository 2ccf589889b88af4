"""An array filled batch by batch that survives being killed."""

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from slimdit.jobs.heartbeat import NAME as HEARTBEAT
from slimdit.jobs.progress import Progress
from slimdit.storage.files import atomic_path, write_text

log = logging.getLogger(__name__)


class ResumableArray:
    """A file `<folder>/<key>.npy`, and a journal of the rows that are done beside it.

    `key` says what the rows are a function of. Rows are synced to disk before the journal has
    their end and their checksum: those that it has are whole, unless the file was damaged later,
    which opening it finds.
    """

    def __init__(self, folder: str | Path, key: str, shape: tuple[int, ...], dtype):
        self.path = Path(folder) / f"{key}.npy"
        self.journal = self.path.with_suffix(".journal")
        if not self._is_open(shape, np.dtype(dtype)):
            self.journal.unlink(missing_ok=True)
            with atomic_path(self.path) as temporary:
                np.lib.format.open_memmap(temporary, "w+", dtype, shape).flush()
                _allocate(temporary)
            write_text(self.journal, "")
            self.values = np.lib.format.open_memmap(self.path, "r+")
        self.done = self._verified()

    def fill(
        self, make: Callable[[int, int], np.ndarray], batch_size: int, description: str, unit: str
    ) -> None:
        """Fill the rows that are not done with make(start, stop), which gives those rows."""
        total = len(self.values)
        with (
            Progress(total, description, unit, self.done, self.path.parent) as progress,
            open(self.journal, "a", encoding="ascii") as journal,
        ):
            for start in range(self.done, total, batch_size):
                stop = min(start + batch_size, total)
                self._keep(stop, make(start, stop), journal, progress)

    def copy_to(self, path: str | Path) -> None:
        with atomic_path(path) as temporary:
            shutil.copyfile(self.path, temporary)

    def remove(self) -> None:
        """Leave nothing in the folder, the heartbeat included, and no folder without files."""
        self.path.unlink()
        self.journal.unlink()
        self.path.with_name(HEARTBEAT).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds other files
            self.path.parent.rmdir()

    def _keep(self, stop: int, rows: np.ndarray, journal, progress: Progress) -> None:
        """Write the rows up to `stop` and then their line of the journal."""
        start = self.done
        self.values[start:stop] = rows
        self.values.flush()
        journal.write(f"{stop} {self._digest(start, stop)}\n")
        journal.flush()
        os.fsync(journal.fileno())
        self.done = stop
        progress.update(stop - start)

    def _is_open(self, shape: tuple[int, ...], dtype: np.dtype) -> bool:
        if not (self.path.exists() and self.journal.exists()):
            return False
        try:
            self.values = np.lib.format.open_memmap(self.path, "r+")
        except (ValueError, OSError, EOFError):
            return False
        return self.values.shape == tuple(shape) and self.values.dtype == dtype

    def _verified(self) -> int:
        """Rows that are as the journal says, from the first on; it is cut after them."""
        lines, done = [], 0
        for line in self.journal.read_text(encoding="ascii", errors="replace").splitlines():
            stop, _, digest = line.partition(" ")
            if not (stop.isdecimal() and done < int(stop) <= len(self.values)):
                break
            if self._digest(done, int(stop)) != digest:
                log.warning("%s is damaged from row %d on, which is made anew.", self.path, done)
                break
            lines.append(line)
            done = int(stop)
        write_text(self.journal, "".join(f"{line}\n" for line in lines))
        return done

    def _digest(self, start: int, stop: int) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.values[start:stop])).hexdigest()


def _allocate(path: Path) -> None:
    """Claim the disk's space now: a full disk under a memory map kills the process."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)

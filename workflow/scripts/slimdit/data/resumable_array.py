"""An array filled batch by batch that survives being killed."""

import contextlib
import functools
import hashlib
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.lib import format

from slimdit.jobs.heartbeat import NAME as HEARTBEAT
from slimdit.jobs.progress import Progress
from slimdit.storage.courtesies import claim_space, read_array, sync_file
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
            self._create(tuple(shape), np.dtype(dtype))
            write_text(self.journal, "")
        self.done = self._verified()

    def fill(
        self, make: Callable[[int, int], np.ndarray], batch_size: int, description: str, unit: str
    ) -> None:
        """Fill the rows that are not done with make(start, stop), which gives those rows."""
        with (
            Progress(self.total, description, unit, self.done, self.path.parent) as progress,
            open(self.path, "rb+") as file,
            open(self.journal, "a", encoding="ascii") as journal,
        ):
            for start in range(self.done, self.total, batch_size):
                stop = min(start + batch_size, self.total)
                self._keep(stop, make(start, stop), file, journal)
                progress.update(stop - start)

    @functools.cached_property
    def values(self) -> np.ndarray:
        """All rows, once they are filled."""
        return read_array(self.path)

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

    def _create(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        with atomic_path(self.path) as temporary, open(temporary, "wb") as file:
            header = {"descr": format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            format.write_array_header_1_0(file, header)
            self._set_layout(file.tell(), shape, dtype)
            claim_space(file, self._offset(self.total))

    def _set_layout(self, header: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """header: its bytes, in front of the rows."""
        self.header, self.total, self.row, self.dtype = header, shape[0], shape[1:], dtype

    def _offset(self, row: int) -> int:
        return self.header + row * math.prod(self.row) * self.dtype.itemsize

    def _keep(self, stop: int, rows: np.ndarray, file, journal) -> None:
        """Write the rows up to `stop` and then their line of the journal.

        By writes, not through a memory map, under which a full disk kills the process.
        """
        content = np.broadcast_to(rows, (stop - self.done, *self.row)).astype(self.dtype).tobytes()
        file.seek(self._offset(self.done))
        file.write(content)
        sync_file(file)
        journal.write(f"{stop} {hashlib.sha256(content).hexdigest()}\n")
        sync_file(journal)
        self.done = stop

    def _is_open(self, shape: tuple[int, ...], dtype: np.dtype) -> bool:
        if not (self.path.exists() and self.journal.exists()):
            return False
        try:
            with open(self.path, "rb") as file:
                format.read_magic(file)
                found = format.read_array_header_1_0(file)
                self._set_layout(file.tell(), tuple(shape), dtype)
        except (ValueError, OSError, EOFError):
            return False
        return found == (tuple(shape), False, dtype)

    def _verified(self) -> int:
        """Rows that are as the journal says, from the first on; it is cut after them."""
        lines, done = [], 0
        with open(self.path, "rb") as file:
            for line in self.journal.read_text(encoding="ascii", errors="replace").splitlines():
                stop, _, digest = line.partition(" ")
                if not (stop.isdecimal() and done < int(stop) <= self.total):
                    break
                file.seek(self._offset(done))
                content = file.read(self._offset(int(stop)) - self._offset(done))
                if hashlib.sha256(content).hexdigest() != digest:
                    log.warning(
                        "%s is damaged from row %d on, which is made anew.", self.path, done
                    )
                    break
                lines.append(line)
                done = int(stop)
        write_text(self.journal, "".join(f"{line}\n" for line in lines))
        return done

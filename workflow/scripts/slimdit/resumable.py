"""An array filled batch by batch that survives being killed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from slimdit.errors import InputError
from slimdit.files import atomic_path, read_json, write_json
from slimdit.progress import Progress


class ResumableArray:
    """A .npy file on disk and a count of the rows that are done, beside it.

    Rows are synced to disk before they are counted: a counted row is a whole one. `key` says what
    the rows are a function of: an array that was begun under another key is begun anew.
    """

    def __init__(self, path: Path, key: str, shape: tuple[int, ...], dtype):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.counter, self.key = path, path.with_suffix(".json"), key
        if not self._is_begun():
            self.counter.unlink(missing_ok=True)
            np.lib.format.open_memmap(path, "w+", dtype, shape).flush()
            self._count(0)
        self.values = np.lib.format.open_memmap(path, "r+")

    @property
    def done(self) -> int:
        return read_json(self.counter)["done"]

    def fill(
        self, make: Callable[[int, int], np.ndarray], batch_size: int, description: str, unit: str
    ) -> None:
        """Fill the rows that are not done with make(start, stop), which gives those rows."""
        total = len(self.values)
        with Progress(total, description, unit, self.done) as progress:
            for start in range(self.done, total, batch_size):
                stop = min(start + batch_size, total)
                self.values[start:stop] = make(start, stop)
                self.values.flush()
                self._count(stop)
                progress.update(stop - start)

    def copy_to(self, path: str | Path) -> None:
        with atomic_path(path) as temporary:
            shutil.copyfile(self.path, temporary)

    def remove(self) -> None:
        self.path.unlink()
        self.counter.unlink()

    def _is_begun(self) -> bool:
        try:
            return self.path.exists() and read_json(self.counter)["key"] == self.key
        except InputError:
            return False

    def _count(self, done: int) -> None:
        write_json(self.counter, {"done": done, "key": self.key})

"""An array filled batch by batch that survives being killed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from slimdit.files import atomic_path, read_json, write_json
from slimdit.progress import Progress


class ResumableArray:
    """A .npy file on disk and a count of the rows that are done, beside it.

    Rows are synced to disk before they are counted: a counted row is a whole one.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.counter = path, path.with_suffix(".json")
        if not (path.exists() and self.counter.exists()):
            self.counter.unlink(missing_ok=True)
            np.lib.format.open_memmap(path, "w+", dtype, shape).flush()
            write_json(self.counter, {"done": 0})
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
                write_json(self.counter, {"done": stop})
                progress.update(stop - start)

    def copy_to(self, path: str | Path) -> None:
        with atomic_path(path) as temporary:
            shutil.copyfile(self.path, temporary)

    def remove(self) -> None:
        self.path.unlink()
        self.counter.unlink()

"""States of a training on disk: the newest two, so that a damaged one costs little."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

from slimdit.storage.files import move_into_place, sha256_of, temporary_path

KEPT = 2
DIGITS = 16  # of the checksum
NAME = re.compile(rf"(?P<key>.+)-(?P<step>\d{{8}})-(?P<checksum>[0-9a-f]{{{DIGITS}}})\.safetensors")

log = logging.getLogger(__name__)


class ResumeCheckpoints:
    """Files `<folder>/<key>-<step>-<checksum>.safetensors` of one run.

    `key` says what the run is a function of: states of another run are never continued, and kept.
    """

    def __init__(self, folder: str | Path, key: str):
        self.folder, self.key = Path(folder), key

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Keep what `write` puts into the file that it is given; older states make room."""
        with temporary_path(self.folder, self.key) as temporary:
            write(temporary)
            name = f"{self.key}-{step:08d}-{sha256_of(temporary)[:DIGITS]}.safetensors"
            move_into_place(temporary, self.folder / name)
        self._keep(KEPT)

    def newest(self) -> Path | None:
        """The newest whole state; damaged ones are removed, with a line in the log."""
        for path in self._paths():
            if _is_whole(path):
                return path
            log.warning("%s is damaged; an older state is used, or the start.", path)
            path.unlink()
        if states_in(self.folder):
            log.warning(
                "Starts anew: the states in %s are of other settings, code, inputs, versions of "
                "libraries or another kind of device.",
                self.folder,
            )
        return None

    def finish(self) -> None:
        """Keep the last state alone: the run is done."""
        self._keep(1)

    def _keep(self, count: int) -> None:
        for older in self._paths()[count:]:
            older.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        own = (path for path in states_in(self.folder) if _part(path, "key") == self.key)
        return sorted(
            own, key=lambda path: (_part(path, "step"), path.stat().st_mtime_ns), reverse=True
        )


def states_in(folder: Path) -> list[Path]:
    """Of whatever runs."""
    return [path for path in folder.glob("*.safetensors") if NAME.fullmatch(path.name)]


def step_of(state: Path) -> int:
    return int(_part(state, "step"))


def _part(state: Path, name: str) -> str:
    return NAME.fullmatch(state.name)[name]


def _is_whole(path: Path) -> bool:
    try:
        return sha256_of(path).startswith(_part(path, "checksum"))
    except OSError:  # of the disk
        return False

"""What a long job last said of itself, in a small file that others read while it works."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from slimdit.storage.files import temporary_path

NAME = "progress.json"
RUNNING, FINISHED, TERMINATED, FAILED = "running", "finished", "terminated", "failed"


@dataclass(frozen=True)
class Heartbeat:
    """Where a process stands with `total` units of work, `per_s` of them a second.

    shown: values as they are printed, such as {"loss": "0.1234"}.
    """

    description: str
    state: str
    done: int
    total: int
    per_s: float
    shown: dict
    host: str
    pid: int
    slurm_job_id: str | None

    def write(self, folder: str | Path) -> None:
        """Replace the file in a job's state folder.

        It is not synced to disk, and never in the way of the work: what cannot be written is not.
        """
        folder = Path(folder)
        try:
            with temporary_path(folder, NAME) as temporary:
                temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
                temporary.replace(folder / NAME)
        except OSError:
            pass

    @classmethod
    def read(cls, folder: str | Path) -> Self | None:
        """What `write` wrote; None where there is no such file, or a damaged one."""
        try:
            return cls(**json.loads((Path(folder) / NAME).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

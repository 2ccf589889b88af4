"""The log of a job: how its lines look, and the error that it ends with."""

import logging
import re
from pathlib import Path

RECORD = re.compile(r"^[\d-]{10} [\d:]{8},\d{3} ([A-Z]+) ", re.MULTILINE)
TAIL_BYTES = 65536


def log_to(path: str | Path, level: int) -> None:
    """From here on to the end of the file, whoever else writes there."""
    logging.basicConfig(filename=path, level=level, format="%(asctime)s %(levelname)s %(message)s")


def last_error(path: str | Path) -> str:
    """The last line of a log that ends with an error; "" for other logs and for none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, Path(path).stat().st_size - TAIL_BYTES))
            tail = file.read().decode(errors="replace")
    except OSError:
        return ""
    records = list(RECORD.finditer(tail))
    if not records or records[-1][1] != "ERROR":
        return ""
    return tail[records[-1].end() :].strip().rsplit("\n", 1)[-1]


def error_summary(folder: str | Path) -> str:
    """A line for each log below `folder` that ends with an error, in alphabetical order."""
    errors = {path: last_error(path) for path in sorted(Path(folder).rglob("*.log"))}
    return "".join(f"{path}: {error}\n" for path, error in errors.items() if error)

"""The log of a job: how its lines look, and the error that it ends with."""

import logging
import re
from pathlib import Path

RECORD = re.compile(r"^[\d-]{10} [\d:]{8},\d{3} ([A-Z]+) ", re.MULTILINE)


def log_to(path: str | Path, level: int) -> None:
    """From here on to the end of the file, whoever else writes there."""
    logging.basicConfig(filename=path, level=level, format="%(asctime)s %(levelname)s %(message)s")


def last_error(path: str | Path) -> str:
    """The last line of a log that ends with an error; "" for other logs and for none."""
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return ""
    *_, level, words = ["", "", *RECORD.split(text)]
    return words.strip().rsplit("\n", 1)[-1] if level == "ERROR" else ""


def error_summary(folder: str | Path) -> str:
    """A line for each log below `folder` that ends with an error, in alphabetical order."""
    errors = {path: last_error(path) for path in sorted(Path(folder).rglob("*.log"))}
    return "".join(f"{path}: {error}\n" for path, error in errors.items() if error)

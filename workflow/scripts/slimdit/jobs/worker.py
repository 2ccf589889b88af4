"""One process of those that run a rule's script: `python -m slimdit.jobs.worker FOLDER`."""

import contextlib
import importlib
import json
import logging
import os
import sys
import traceback
from pathlib import Path

from slimdit.compute.allocator import keep_freed_memory
from slimdit.compute.process_group import Processes, join, part
from slimdit.core.errors import InputError
from slimdit.jobs.failures import sentence
from slimdit.jobs.job import log_to
from slimdit.jobs.launch import ARGUMENTS, LAST_WORDS, die_with_parent
from slimdit.storage.files import read_json


def main(folder: str) -> None:
    die_with_parent()
    try:
        run(**read_json(Path(folder) / ARGUMENTS))
    except BaseException as error:
        leave_words(Path(folder) / LAST_WORDS, error)
        os._exit(1)  # an orderly end would wait for the others


def run(script: str, arguments: dict, log: str) -> None:
    keep_freed_memory()
    join()
    if not Processes().is_first:  # one progress bar is enough
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    log_to(log, logging.INFO if Processes().is_first else logging.ERROR)
    getattr(importlib.import_module(script), script)(**arguments)
    part()


def leave_words(path: Path, error: BaseException) -> None:
    """Why this process ends, unless another ended before it: that is why this one does."""
    words = str(error) if isinstance(error, InputError | SystemExit) else sentence(error)
    kind = "SystemExit" if isinstance(error, SystemExit) else "InputError" if words else "error"
    with contextlib.suppress(OSError), open(path, "x", encoding="utf-8") as file:
        json.dump({"kind": kind, "words": words or traceback.format_exc()}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])

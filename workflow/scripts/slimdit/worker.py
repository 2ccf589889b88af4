"""One of the processes that run a rule's script, as torchrun starts it with its arguments."""

import importlib
import logging
import sys

from slimdit.files import read_json
from slimdit.job import last_words, log_to
from slimdit.processes import Processes, joined


def main(path: str) -> None:
    task = read_json(path)
    with joined():
        is_first = Processes().is_first
        log_to(task["log"], "a", logging.INFO if is_first else logging.ERROR)
        with last_words(task["script"], aloud=is_first):
            function = getattr(importlib.import_module(task["script"]), task["script"])
            function(**task["arguments"])


if __name__ == "__main__":
    main(*sys.argv[1:])

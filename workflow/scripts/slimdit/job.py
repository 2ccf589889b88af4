"""What surrounds every rule's script: its log, its threads, its device, its last words."""

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator

from slimdit.devices import leased_gpus, make_deterministic
from slimdit.errors import InputError
from slimdit.faults import sentence
from slimdit.locks import sole_process


@contextlib.contextmanager
def job(snakemake) -> Iterator[list[str]]:
    """Run a rule's script, with the devices that it was given: lines go to its log; bad input and
    what a machine lacks end in one sentence and exit code 1.

    Thread counts are set before numpy or torch are imported by the script's function, and a GPU
    is leased for as long as the script runs when the rule asks for `gpu`.
    """
    threads = str(snakemake.threads)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = threads
    if snakemake.config["deterministic"]:
        make_deterministic()
    log_path = snakemake.log[0]
    logging.raiseExceptions = False  # a full disk has no room for its lines either
    with sole_process(log_path):
        log_to(log_path, "w", logging.INFO)
        count = int(snakemake.resources.get("gpu", 0))
        with last_words(snakemake.rule), leased_gpus(count) as gpus:
            yield gpus


def log_to(path: str, mode: str, level: int) -> None:
    logging.basicConfig(
        filename=path,
        filemode=mode,
        level=level,
        format="%(asctime)s %(levelname)s %(message)s",
    )


@contextlib.contextmanager
def last_words(rule: str, aloud: bool = True) -> Iterator[None]:
    """End an error that can be said in a sentence with it, in the log and on stderr, and exit
    code 1; others go on."""
    try:
        yield
    except Exception as error:
        message = str(error) if isinstance(error, InputError) else sentence(error)
        logging.error("%s", message or traceback.format_exc())
        if message is None:
            raise
        if aloud:
            print(f"{rule}: {message}", file=sys.stderr)
        sys.exit(1)

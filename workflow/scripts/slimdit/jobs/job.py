"""What surrounds every rule's script: its log, its threads, its devices, a word on its error."""

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

from slimdit.compute.devices import set_deterministic
from slimdit.compute.environment import settle, thread_limits
from slimdit.jobs.failures import explain
from slimdit.jobs.gpu_lease import leased_gpus
from slimdit.jobs.job_log import log_to
from slimdit.jobs.locks import sole_process
from slimdit.jobs.messages import hide_meaningless


@contextlib.contextmanager
def job(snakemake) -> Iterator[list[str]]:
    """Run a rule's script, with the devices that it was given: lines go to its log; bad input and
    what a machine lacks end in one sentence and exit code 1.

    Thread counts are set before numpy or torch are imported by the script's function, and a GPU
    is leased for as long as the script runs when the rule asks for `gpu`.
    """
    settle()
    os.environ.update(thread_limits(snakemake.threads))
    hide_meaningless()
    set_deterministic(snakemake.config["deterministic"])
    from slimdit.jobs.provenance import surroundings  # imports numpy

    surroundings()  # of the code that is about to run
    log_path = snakemake.log[0]
    logging.raiseExceptions = False  # a full disk has no room for its lines either
    count = num_gpus(snakemake.resources)
    with sole_process(log_path):
        Path(log_path).write_text("")
        log_to(log_path, logging.INFO)
        with _explained(snakemake.rule), leased_gpus(count) as gpus:
            if 0 < len(gpus) < count:
                logging.warning("%d GPUs were asked for, %d are there.", count, len(gpus))
            yield gpus


def num_gpus(resources: Mapping) -> int:
    """That a job asks for, by `gpu` or as SLURM's `gres` does it: "gpu", "gpu:2", "gpu:a100:2"."""
    kind, *rest = str(resources.get("gres", "")).split(":")
    of_gres = int(rest[-1]) if rest and rest[-1].isdigit() else 1
    return int(resources.get("gpu", 0)) or of_gres * (kind == "gpu")


@contextlib.contextmanager
def _explained(rule: str) -> Iterator[None]:
    """What ends the script, in the log and on stderr: a sentence, or a traceback without one."""
    try:
        yield
    except SystemExit as end:
        if isinstance(end.code, str):
            logging.info("%s", end.code)
        raise
    except Exception as error:
        sentence = explain(error)
        logging.error("%s", sentence or traceback.format_exc())
        if sentence is None:
            raise
        sys.exit(f"{rule}: {sentence}")

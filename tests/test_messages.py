"""What a job writes to the console, where it says nothing itself."""

import json
import logging
import os
import subprocess
import sys
import warnings

import pytest
from diffusers import AutoencoderKL
from subjects import PHOTOS, ROOT
from training_job import trained_checkpoint

from slimdit.jobs.messages import LOGGED, WARNED, hide_meaningless

JOB = """
import json
import sys
from types import SimpleNamespace

from compress import compress
from slimdit.data.autoencoders import load_autoencoder
from slimdit.jobs.job import job

parent, checkpoint, autoencoder, log, operations = sys.argv[1:]
snakemake = SimpleNamespace(
    rule="compress", threads=1, log=[log], resources={}, config={"deterministic": False}
)
with job(snakemake):
    compress(parent, checkpoint, "Q-S2", 0, json.loads(operations), 1000, "recipe")
    load_autoencoder(autoencoder, None, "cpu")
"""


def test_a_job_that_has_nothing_to_say_is_silent(tmp_path):
    """It quantizes, as `compress`, and loads an autoencoder, as `sample`."""
    parent = trained_checkpoint(tmp_path, "S2-base")
    AutoencoderKL(block_out_channels=[32]).save_pretrained(tmp_path / "autoencoder")
    names = ("int8.safetensors", "autoencoder", "job.log")
    paths = [parent, *(str(tmp_path / name) for name in names)]
    operations = json.dumps(PHOTOS.block("Q-S2")["apply"])
    run = subprocess.run(
        [sys.executable, "-c", JOB, *paths, operations],
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow/scripts")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert (run.stdout, run.stderr) == ("", "")
    assert (tmp_path / "int8.safetensors").stat().st_size > 0


@pytest.mark.parametrize("name", LOGGED)
def test_other_messages_of_the_same_package_are_heard(name, caplog):
    hide_meaningless()
    logger = logging.getLogger(name)
    logger.addHandler(caplog.handler)
    logger.warning("about %s: %s", "this", LOGGED[name])
    logger.warning("something else")
    logger.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records} == {"something else"}


def test_other_warnings_are_heard():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        hide_meaningless()
        warnings.warn(f"Int8Tensor {WARNED[0]}. Do.", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert [str(warning.message) for warning in heard] == ["something else"]

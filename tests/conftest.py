"""Fixtures and options of every test."""

import copy
import os

import pytest
import torch
from recorded_study import recorded_study  # noqa: F401
from subjects import IMAGENET200, PHOTOS, tiny
from training_job import further_job, job  # noqa: F401

from slimdit.compute.devices import VISIBLE


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes too")
    parser.addoption("--slurm", action="store_true", help="start a SLURM and run its tests too")
    parser.addoption(
        "--cuda", action="store_true", help="run the tests of a CUDA GPU, and no others"
    )
    parser.addoption("--published", help="folder of OpenAI's published batches, to compare with")


def pytest_configure(config):
    torch.set_num_threads(1)  # of fixtures too
    if not config.getoption("--cuda"):  # tests are of the CPU wherever they run
        os.environ[VISIBLE] = ""


def pytest_collection_modifyitems(config, items):
    if config.getoption("--cuda"):
        items[:] = [item for item in items if "cuda" in item.keywords]
    skips = {
        "slow": (not config.getoption("--slow"), "takes minutes; run with --slow"),
        "slurm": (not config.getoption("--slurm"), "starts a SLURM; run with --slurm"),
        "cuda": (not torch.cuda.is_available(), "needs a CUDA GPU"),
    }
    for item in items:
        for marker, (absent, reason) in skips.items():
            if marker in item.keywords and absent:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def one_thread():
    """Bits and memory depend on how many there are, which some code sets for its process."""
    torch.set_num_threads(1)


@pytest.fixture
def config():
    """The photos config, a copy to change."""
    return copy.deepcopy(PHOTOS.config)


@pytest.fixture
def imagenet_config():
    return copy.deepcopy(IMAGENET200.config)


@pytest.fixture
def structure():
    """The base, tiny."""
    return tiny(PHOTOS.structure("S2-base"))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)

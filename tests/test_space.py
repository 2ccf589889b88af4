"""A disk that is too small is told before anything is made."""

import shutil
from collections import namedtuple

import numpy as np
import pytest
from subjects import load_config

from slimdit.core.errors import InputError
from slimdit.plan.space import check_space
from slimdit.study.jobs import Job, jobs_of
from slimdit.study.study import Study

Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Study(load_config())


def with_free(num_bytes, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, num_bytes))


def test_a_disk_without_room_for_latents_and_images_is_told(study, monkeypatch):
    with_free(10**7, monkeypatch)
    with pytest.raises(InputError, match=r"results/photos has room for 0\.0 GB, and .* will take"):
        check_space(jobs_of(study))
    with_free(10**9, monkeypatch)
    check_space(jobs_of(study))


def test_only_what_is_to_be_made_counts(study, monkeypatch, tmp_path):
    with_free(10**6, monkeypatch)
    check_space([Job(study, "sample", "S2-base", "0"), Job(study, "all"), Job(study, "tables")])
    check_space([])
    with pytest.raises(InputError):
        check_space([Job(study, "encode_latents")])
    state = tmp_path / "results/photos/state/encode_latents"
    state.mkdir(parents=True)
    np.save(state / "key.npy", np.zeros(10**8, np.uint8))
    check_space([Job(study, "encode_latents")])

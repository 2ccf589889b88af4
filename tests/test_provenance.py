"""Where a number comes from is asked of the project and its machine, and ends no computation."""

import shutil
import subprocess

import pytest

from slimdit.compute.threads import threads_asked
from slimdit.jobs import provenance


@pytest.mark.parametrize(
    ("value", "threads"), [("3", 3), ("4,2", 4), (" 2 ", 2), ("", 7), ("0", 7), ("many", 7)]
)
def test_threads_are_the_first_number_that_openmp_reads(monkeypatch, value, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads_asked(7) == threads
    assert provenance.conditions()["threads"] >= 1


@pytest.fixture
def repository(tmp_path):
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "its own"]):
        subprocess.run([*git, *command], check=True)
    provenance._commit.cache_clear()
    yield tmp_path
    provenance._commit.cache_clear()


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
@pytest.mark.parametrize(("folder", "is_ours"), [(".", True), ("copy", False), ("missing", False)])
def test_the_commit_is_of_the_checkouts_own_repository(repository, monkeypatch, folder, is_ours):
    (repository / "copy").mkdir()
    monkeypatch.setattr(provenance, "ROOT", repository / folder)
    assert (provenance.conditions()["commit"] is not None) is is_ours

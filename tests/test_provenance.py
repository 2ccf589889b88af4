"""Where a result comes from: checked, not guessed, and never what a result is lost for."""

import os
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from subjects import ROOT

from slimdit.compute.devices import WORKSPACE, set_deterministic
from slimdit.compute.environment import NUM_SPINS, SPINS, settle, thread_limit
from slimdit.jobs import provenance
from slimdit.jobs.provenance import OWN, TENSORFLOW, arithmetic, commit, conditions, surroundings

NOT_OURS = {"commit": None, "dirty": None}


@pytest.fixture(autouse=True)
def asked_anew():
    for cached in (surroundings, provenance._versions):
        cached.cache_clear()
    yield
    for cached in (surroundings, provenance._versions):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("8", 8), (" 4,2", 4), ("2,1,1", 2), ("08", 8)]
    + [(value, None) for value in ("", " ", "0", "-1", "auto", "4;2", "1.5", "٤", ",2")],
)
def test_threads_are_read_as_openmp_takes_them(monkeypatch, value, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert thread_limit() == expected
    assert conditions()["threads"] == (expected or os.cpu_count())


def git(folder, *arguments):
    name = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    done = subprocess.run(
        ["git", "-C", folder, *name, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def repository(folder: Path, *names) -> str:
    """Commits these files of the folder, and gives the commit."""
    git(folder, "init", "--quiet")
    if names:
        git(folder, "add", *names)
    git(folder, "commit", "--quiet", "--allow-empty", "--message", folder.name)
    return git(folder, "rev-parse", "HEAD")


def copy_in(folder: Path) -> Path:
    """What a ZIP of the project unpacks to, as far as it matters."""
    (folder / OWN).parent.mkdir(parents=True)
    return Path(shutil.copy2(ROOT / OWN, folder / OWN))


def test_a_checkouts_commit_is_its_own(tmp_path):
    file = copy_in(tmp_path / "Übung (1)")
    root = tmp_path / "Übung (1)"
    head = repository(root, OWN)
    assert commit(root) == {"commit": head, "dirty": False}
    (root / "notes.txt").write_text("not ours")
    assert commit(root) == {"commit": head, "dirty": False}
    file.write_text("# changed\n")
    assert commit(root) == {"commit": head, "dirty": True}


def below_another(folder):
    copy_in(folder / "slimdit")
    repository(folder)
    return folder / "slimdit"


def below_another_that_has_it(folder):
    copy_in(folder / "slimdit")
    repository(folder, f"slimdit/{OWN}")
    return folder / "slimdit"


def below_another_of_the_same_project(folder):
    copy_in(folder)
    copy_in(folder / "copy")
    repository(folder, OWN)
    return folder / "copy"


def unpacked_over_another(folder):
    repository(folder)
    copy_in(folder)
    return folder


def without_a_commit(folder):
    copy_in(folder)
    git(folder, "init", "--quiet")
    return folder


def damaged(folder):
    copy_in(folder)
    repository(folder, OWN)
    (folder / ".git/HEAD").write_text("ref: refs/heads/gone\n")
    return folder


def pointing_nowhere(folder):
    """A worktree, or a submodule, that was copied without its repository."""
    copy_in(folder)
    (folder / ".git").write_text("gitdir: /nonexistent/worktrees/x\n")
    return folder


@pytest.mark.parametrize(
    "state",
    [
        below_another,
        below_another_that_has_it,
        below_another_of_the_same_project,
        unpacked_over_another,
        without_a_commit,
        damaged,
        pointing_nowhere,
        lambda folder: folder / "gone",
    ],
)
def test_another_repositorys_commit_is_not_ours(tmp_path, state):
    assert commit(state(tmp_path)) == NOT_OURS


def test_the_repository_of_a_hook_is_not_ours(tmp_path, monkeypatch):
    ours, other = tmp_path / "ours", tmp_path / "other"
    for folder in (ours, other):
        copy_in(folder)
    head, _ = repository(ours, OWN), repository(other, OWN)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert commit(ours)["commit"] == head


@pytest.mark.parametrize(
    "script",
    [None, "exit 1", "exit 0", "printf '\\377\\n\\377'", "kill -9 $$", "sleep 9 >&- 2>&-"],
    ids=str,
)
def test_a_git_that_does_not_answer_costs_no_result(tmp_path, monkeypatch, script):
    if script:
        (tmp_path / "git").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + (f":{os.defpath}" if script else ""))
    monkeypatch.setattr(provenance, "GIT_S", 0.3)
    assert commit(ROOT) == NOT_OURS


@pytest.mark.parametrize("error", [metadata.PackageNotFoundError, KeyError, PermissionError])
def test_packages_without_a_version_cost_no_result(monkeypatch, error):
    def version(name):
        raise error(name)

    monkeypatch.setattr(metadata, "version", version)
    assert conditions()["versions"] == {}


def test_what_surrounds_a_job_is_seen_before_it_works(tmp_path, monkeypatch):
    """A checkout that is updated meanwhile, a git that is gone: the code that ran is another."""
    before = surroundings()
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", "")
    assert before.items() <= conditions().items()


def test_an_installed_tensorflow_changes_the_state_of_features_alone(monkeypatch):
    versions = {"torch": "1", "tensorflow": "2"}
    monkeypatch.setattr(provenance, "_versions", lambda: versions)
    without, features = arithmetic(), arithmetic(*TENSORFLOW)
    versions |= {"tensorflow": "3"}
    assert arithmetic() == without and arithmetic(*TENSORFLOW) != features


def test_where_bits_are_not_repeated_another_gpu_will_do(monkeypatch):
    def of(gpu, is_deterministic):
        monkeypatch.setattr(provenance, "device_name", lambda: gpu)
        monkeypatch.setattr(provenance, "_is_deterministic", lambda: is_deterministic)
        return arithmetic()

    assert of("A100", False) == of("H100", False) != of("A100", True) != of("H100", True)


def test_what_other_programs_left_in_the_environment_is_not_ours(monkeypatch):
    for name, value in {WORKSPACE: ":16:8", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(SPINS, "7")
    set_deterministic(False)
    settle()
    assert not {WORKSPACE, "LOCAL_RANK", "WORLD_SIZE"} & os.environ.keys()


@pytest.mark.parametrize(
    ("users", "spins"),
    [({}, str(NUM_SPINS)), ({SPINS: "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
    ids=str,
)
def test_threads_wait_as_the_user_says_or_briefly(monkeypatch, users, spins):
    monkeypatch.setattr(os, "environ", users)
    settle()
    assert os.environ.get(SPINS) == spins

"""A step finds the memory that the last one freed."""

import platform
import subprocess
import sys

import pytest
from subjects import ROOT

COUNT_FAULTS = """
import resource, sys
from slimdit.compute import allocator
if sys.argv[1] == "kept":
    allocator.keep_freed_memory()
import torch

def step():
    torch.ones(10_000_000)  # 40 MB: more than the C library ever keeps by itself

def faults(steps):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(10)
print(faults(10))
allocator.give_back_freed_memory()
print(faults(1))
"""


def page_faults(memory: str) -> list[int]:
    """Of ten steps, and of one after all freed memory was given back."""
    command = [sys.executable, "-c", COUNT_FAULTS, memory]
    environment = {"PYTHONPATH": str(ROOT / "workflow/scripts"), "OMP_NUM_THREADS": "1"}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [int(word) for word in output.stdout.split()]


def keeps_large_sizes() -> bool:
    library, version = platform.libc_ver()
    return library == "glibc" and tuple(map(int, version.split("."))) >= (2, 35)


@pytest.mark.skipif(not keeps_large_sizes(), reason="counts page faults of glibc 2.35 and later")
def test_freed_memory_is_used_again_without_faults():
    kept, given_back = page_faults("kept")
    lost, _ = page_faults("given back by every call")
    assert kept < lost / 2  # where the heap grows once more, by chance, it is a tenth
    assert given_back > 1000


def test_an_older_c_library_gets_the_largest_size_that_it_takes(monkeypatch):
    from slimdit.compute import allocator

    calls = []

    def mallopt(parameter, value):
        calls.append((parameter, value))
        return parameter == allocator.M_TRIM_THRESHOLD or value <= 2**25

    library = type("Library", (), {"mallopt": staticmethod(mallopt)})
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: library)
    allocator.keep_freed_memory()
    assert calls == [(-3, 2**30), (-3, 2**25), (-1, 2**30)]
    calls.clear()
    monkeypatch.setattr(allocator, "LARGEST_BYTES", (2**30,))
    allocator.keep_freed_memory()
    assert calls == [(-3, 2**30)]


def test_a_c_library_without_these_functions_changes_nothing(monkeypatch):
    from slimdit.compute import allocator

    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    allocator.keep_freed_memory()
    allocator.give_back_freed_memory()

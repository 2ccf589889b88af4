"""A step finds the memory that the last one freed."""

import subprocess
import sys

import pytest
from subjects import ROOT

COUNT_FAULTS = """
import resource, sys
from slimdit import allocator
if sys.argv[1] == "kept":
    allocator.keep_freed_memory()
import torch

def step():
    x = torch.ones(2000, 400)
    for _ in range(4):
        x = torch.nn.functional.gelu(x.repeat(1, 4))[:, :400].clone()

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


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults of Linux's C library")
def test_freed_memory_is_used_again_without_faults():
    kept, given_back = page_faults("kept")
    lost, _ = page_faults("given back by every call")
    assert kept < lost / 10  # not none: the heap may grow once more, by chance
    assert given_back > 1000


def test_an_older_c_library_gets_the_largest_size_that_it_takes(monkeypatch):
    from slimdit import allocator

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
    from slimdit import allocator

    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    allocator.keep_freed_memory()
    allocator.give_back_freed_memory()

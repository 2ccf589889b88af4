"""Whether torch.compile works is found by using it: compilers that are there and cannot compile."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from subjects import ROOT

from slimdit.compute import compiler
from slimdit.core.errors import InputError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
WITHOUT_HEADERS = """#!/bin/bash
for each in "$@"; do case $each in *include/python*) ;; *) kept+=("$each") ;; esac; done
exec {gcc} "${{kept[@]}}"
"""
VERSION = '#!/bin/bash\n[ "$1" = --version ] && exec {gcc} --version\n'
BROKEN = VERSION + 'echo "x: fatal error: no cc1plus" >&2; exit 1\n'
SILENT = VERSION + "exit 1\n"
TRY = "from slimdit.compute.compiler import cannot_compile; print(cannot_compile('cpu'))"


def found(folder, script):
    """What `cannot_compile` says in a process whose g++ is the script."""
    (folder / "g++").write_text(script.format(gcc=shutil.which("g++")))
    (folder / "g++").chmod(0o755)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "workflow/scripts"),
        "PATH": f"{folder}:{os.environ['PATH']}",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "cache"),
    }
    run = subprocess.run([sys.executable, "-c", TRY], env=environment, capture_output=True)
    return run.stdout.decode().strip().splitlines()[-1]


@pytest.mark.skipif(not shutil.which("g++"), reason="needs a compiler to be spoilt")
@pytest.mark.parametrize(
    ("script", "what", "cure"),
    [
        (WITHOUT_HEADERS, "Python.h: No such file", "install Python's headers (python3-dev)"),
        (BROKEN, "no cc1plus", "install a C++ compiler that works"),
        (SILENT, "", "install a C++ compiler that works"),
    ],
    ids=["headers", "broken", "silent"],
)
def test_a_compiler_that_cannot_compile_is_told_on_one_line(tmp_path, script, what, cure):
    reason = found(tmp_path, script)
    assert reason.startswith("torch.compile does not work here (") and what in reason
    assert f"; {cure}" in reason


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (OSError("x.so: failed to map segment from shared object."), "TORCHINDUCTOR_CACHE_DIR"),
        (PermissionError(13, "Permission denied", "/tmp/torchinductor"), "a folder of yours"),
        (subprocess.CalledProcessError(1, ["gcc", "triton/cuda_utils.c"]), "python3-dev"),
        (RuntimeError("Cannot find a working triton installation"), "install Triton"),
        (RuntimeError("\n\nno words"), "install a C++ compiler"),
        (KeyError(), "install a C++ compiler"),
    ],
    ids=str,
)
@pytest.mark.parametrize("choice", ["on", "auto"])
def test_compile_on_is_refused_and_auto_goes_on_without(monkeypatch, caplog, error, cure, choice):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torch, "compile", fail)
    compiler.cannot_compile.cache_clear()
    try:
        if choice == "on":
            with pytest.raises(InputError, match=r"compile: 'on', but torch") as caught:
                compiler.compiles(choice, CUDA)
            assert cure in str(caught.value) and "\n" not in str(caught.value)
        else:
            assert not compiler.compiles(choice, CUDA)
            assert cure in caplog.text
    finally:
        compiler.cannot_compile.cache_clear()


def test_what_is_off_tries_nothing(monkeypatch):
    monkeypatch.setattr(compiler, "cannot_compile", lambda _: 1 / 0)
    assert not compiler.compiles("off", CPU) and not compiler.compiles("auto", CPU)

"""What the machine is, and whether it has all that compiling takes."""

import importlib
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from gpu_checks.bench import Bench
from gpu_checks.check import Check
from slimdit.compute.compiler import cannot_compile
from slimdit.compute.devices import device

COMPILERS = ("cc", "gcc", "clang")
PACKAGES = ("torchao", "diffusers")
QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")


def checks(bench: Bench) -> Iterator[Check]:
    yield Check("GPU", partial(about_gpu, bench.on), {} if bench.is_tiny else {"num_missing": 0})
    yield Check("compiler", about_compiler, {"num_missing": 0})
    yield Check("packages", packages, {"num_missing": 0})


def about_gpu(on: torch.device) -> dict:
    if on.type != "cuda":
        return {"device": "cpu", "num_missing": 1}
    driver = subprocess.run(QUERY, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "device": torch.cuda.get_device_name(on),
        "capability": ".".join(map(str, torch.cuda.get_device_capability(on))),
        "driver": driver,
        "cuda": torch.version.cuda,
        "num_missing": 0,
    }


def about_compiler() -> dict:
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    reason = cannot_compile(device().type)
    missing = [
        what
        for what, is_there in {"a C compiler": compiler, "Python.h": headers.exists()}.items()
        if not is_there
    ]
    missing += [reason] if reason else []
    return {"compiler": compiler, "missing": missing, "num_missing": len(missing)}


def packages() -> dict:
    missing = []
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing.append(str(error))
    return {"missing": missing, "num_missing": len(missing)}

"""Whether torch.compile works here: the smallest program is compiled and run, since a compiler may
be there without headers, broken, or not allowed to load what it made."""

import functools
import logging
import re

import torch

from slimdit.core.errors import InputError
from slimdit.core.text import shortened

SAID = re.compile(r"(?:fatal )?error: (.+)")  # by a compiler
CURES = {  # by what the error speaks of
    "Python.h": "install Python's headers (python3-dev)",
    "map segment": "name a folder that is not mounted noexec in TORCHINDUCTOR_CACHE_DIR",
    "Permission denied": "name a folder of yours in TORCHINDUCTOR_CACHE_DIR",
    "non-zero exit status": "install a C compiler and Python's headers (gcc, python3-dev)",
    "triton": "install Triton",
    "": "install a C++ compiler that works, such as g++",
}

log = logging.getLogger(__name__)


def compiles(choice: str, device: torch.device) -> bool:
    """Whether an option `compile` of a config is on here: `auto` means on CUDA, if that works.

    Raises InputError where it is `on` and cannot be.
    """
    if choice == "off" or (choice == "auto" and device.type != "cuda"):
        return False
    reason = cannot_compile(device.type)
    if reason and choice == "on":
        raise InputError(f"compile: 'on', but {reason}, or set compile: 'off'.")
    if reason:
        log.warning("Not compiled: %s.", reason)
    return not reason


@functools.cache
def cannot_compile(device_type: str) -> str | None:
    """Why torch.compile cannot be used on such devices, on one line; None where it can."""
    try:
        torch.compile(_next, fullgraph=True, dynamic=False)(torch.zeros(2, device=device_type))
    except Exception as error:  # of any kind: of the compiler, the linker, the loader, Triton
        return told(error)
    return None


def is_compiler_failure(error: Exception) -> bool:
    """Of a model, though the smallest program was compiled: its code may have lain in a cache."""
    from torch._dynamo.exc import BackendCompilerFailed
    from torch._inductor.exc import InductorError

    return isinstance(error, BackendCompilerFailed | InductorError)


def told(error: Exception) -> str:
    """What a compilation ended with, and what would help, on one line."""
    said = SAID.search(text := str(error).strip())
    what = said[1] if said else next(iter(text.splitlines()), type(error).__name__)
    cure = next(cure for sign, cure in CURES.items() if sign.lower() in text.lower())
    return f"torch.compile does not work here ({shortened(' '.join(what.split()))}); {cure}"


def _next(x: torch.Tensor) -> torch.Tensor:
    return x + 1

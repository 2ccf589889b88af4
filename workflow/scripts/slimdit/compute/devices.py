"""Which device a job computes on."""

import os
import re
from pathlib import Path

from slimdit.core.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # what cuBLAS needs to repeat its bits
UUIDS = ("GPU-", "MIG-")  # of devices that nvidia-smi has named
DRIVER = Path("/proc/driver/nvidia/version")
OLDER_CUDA = "https://download.pytorch.org/whl/cu126"  # for older drivers and GPUs


def set_deterministic(wanted: bool) -> None:
    """Whether a GPU gives the same bits again from here on, or raises for an operation that cannot.

    To be called before CUDA starts; what another program has set does not count. A CPU always does,
    with as many threads.
    """
    os.environ.pop(WORKSPACE, None)
    if wanted:
        os.environ[WORKSPACE] = ":4096:8"


def device():
    """The torch device of this process: its own of the leased GPUs, or the CPU.

    What is computed in float32 there has float32's digits, not TF32's. Raises InputError for a GPU
    that was leased and cannot be used.
    """
    import torch

    wanted = WORKSPACE in os.environ
    if wanted != torch.are_deterministic_algorithms_enabled():  # setting it imports the compiler
        torch.use_deterministic_algorithms(wanted)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    if not torch.cuda.is_available():
        leased = os.environ.get(VISIBLE, "")
        driver = DRIVER.read_text() if DRIVER.exists() else ""
        if leased.startswith(UUIDS) or (driver and re.match(r"\d", leased)):
            number = re.search(r"\d+\.[\d.]+", driver)
            _refuse(torch, f"the GPU {leased} of driver {number[0] if number else 'unknown'}")
        return torch.device("cpu")
    on = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    known = [
        int(digits) for each in torch.cuda.get_arch_list() for digits in re.findall("[0-9]+", each)
    ]
    major, minor = torch.cuda.get_device_capability(on)
    if known and 10 * major + minor < min(known):
        _refuse(torch, f"{torch.cuda.get_device_name(on)} of compute capability {major}.{minor}")
    return on


def _refuse(torch, gpu: str) -> None:
    raise InputError(
        f"torch {torch.__version__} (CUDA {torch.version.cuda}) cannot use {gpu}; update the "
        f"driver, install this torch from {OLDER_CUDA}, or compute on the CPU with "
        "--resources gpu=0."
    )


def on_host(array, device):
    """A numpy array as a tensor in memory from which a torch device fetches it by itself."""
    import torch

    tensor = torch.from_numpy(array)
    return tensor.pin_memory() if device.type == "cuda" else tensor


def to_device(array, device):
    """A numpy array as a tensor on a torch device; a GPU fetches it while the CPU goes on."""
    return on_host(array, device).to(device, non_blocking=True)

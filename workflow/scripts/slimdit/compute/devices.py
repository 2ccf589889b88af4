"""Which device a job computes on."""

import os

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # what cuBLAS needs to repeat its bits


def set_deterministic(wanted: bool) -> None:
    """Whether a GPU gives the same bits again from here on, or raises for an operation that cannot.

    To be called before CUDA starts; what another program has set does not count. A CPU always does,
    with as many threads.
    """
    os.environ.pop(WORKSPACE, None)
    if wanted:
        os.environ[WORKSPACE] = ":4096:8"


def device():
    """The torch device of this process: its own of the leased GPUs, or the CPU."""
    import torch

    torch.use_deterministic_algorithms(WORKSPACE in os.environ)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def on_cuda(choice: str, yes: str, device) -> bool:
    """Whether an option of a config is on: `auto` means on CUDA."""
    return choice == yes or (choice == "auto" and device.type == "cuda")


def on_host(array, device):
    """A numpy array as a tensor in memory from which a torch device fetches it by itself."""
    import torch

    tensor = torch.from_numpy(array)
    return tensor.pin_memory() if device.type == "cuda" else tensor


def to_device(array, device):
    """A numpy array as a tensor on a torch device; a GPU fetches it while the CPU goes on."""
    return on_host(array, device).to(device, non_blocking=True)

"""The library on a CUDA device that computes nothing, in a build of PyTorch for CPUs."""

import ctypes
import importlib.util
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_device.cpp")


def load(folder: Path) -> None:
    """Give this process the fake device, whose library is built in `folder`.

    To be called before torch is imported, which asks for CUDA's hooks once; needs g++.
    """
    torch = Path(importlib.util.find_spec("torch").origin).parent
    library = folder / "fake_device.so"
    options = ["-std=c++20", "-fPIC", "-shared", "-isystem", torch / "include"]
    libraries = [f"-L{torch / 'lib'}", "-lc10", "-ltorch_cpu"]
    subprocess.run(["g++", *options, SOURCE, "-o", library, *libraries], check=True)
    for path in (torch / "lib/libtorch_cpu.so", library):
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)

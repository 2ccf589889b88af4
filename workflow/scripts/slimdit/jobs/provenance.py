"""Where a number comes from."""

import contextlib
import functools
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from safetensors import SafetensorError

from slimdit.compute.environment import thread_limit
from slimdit.core.errors import InputError
from slimdit.storage.files import load_npz, read_header, read_json

COMPUTE = ("torch", "torchao", "diffusers", "numpy")
TENSORFLOW = ("tensorflow", "tensorflow-cpu")
PACKAGES = (*COMPUTE, *TENSORFLOW, "fvcore", "scikit-learn", "snakemake")
ROOT = Path(__file__).parents[4]  # of the checkout, where this is one
OWN = "workflow/scripts/slimdit/__init__.py"  # a file that its commits have
GIT_S = 60  # a disk that answers later is no reason to wait


def origin(**extra) -> dict:
    """Where and when a result was made: its conditions and the time."""
    return timed(conditions(**extra))


def arithmetic(*others: str) -> list:
    """What equal work gives equal bits with: the device and the libraries that compute, with those
    that this work takes besides. Where a device does not repeat its bits, another GPU will do."""
    on = device_name() if _is_deterministic() else "gpu"
    return [on, {name: _versions().get(name) for name in (*COMPUTE, *others)}]


def timed(conditions: dict) -> dict:
    return conditions | {"time": datetime.now(UTC).isoformat(timespec="seconds")}


def conditions(
    at: str | Path | None = None,
    recipe: dict | None = None,
    inputs: Mapping[str | Path, str] | None = None,
    outputs: Mapping[str | Path, str] | None = None,
    **extra,
) -> dict:
    """Commit, machine and library versions, what a result is made by and from, plus `extra`.

    at: the file that will hold this. recipe: of the step (`study.jobs.recipe`). inputs, outputs:
    files with their sha256; they are named from the folder of `at`, so that a study can be moved.
    Without the time: files that others are made from have equal bytes when they hold the same.
    """
    made = {"recipe": recipe}
    for kind, digests in {"inputs": inputs, "outputs": outputs}.items():
        if digests:
            folder = Path(at).parent
            made[kind] = {
                Path(os.path.relpath(path, folder)).as_posix(): sha256
                for path, sha256 in digests.items()
            }
    return {
        **surroundings(),
        "device": device_name(),
        "deterministic": _is_deterministic(),
        "threads": thread_limit() or os.cpu_count(),
        **{name: value for name, value in made.items() if value is not None},
        **extra,
    }


def read_origin(path: str | Path) -> dict:
    """What `conditions` gave to a result: a JSON file, a checkpoint or an .npz file.

    Raises InputError where it is none or has no origin.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            content = read_header(path)
        elif path.suffix == ".npz":
            content = json.loads(str(load_npz(path)["meta"]))
        else:
            content = read_json(path)
        origin = content["origin"]
        recipe = origin.get("recipe", {"settings": {}, "definitions": {}})
        files = (origin.get(kind, {}) for kind in ("inputs", "outputs"))
        for mapping in (recipe["settings"], recipe["definitions"], *files):
            mapping.items()
        return origin
    except InputError:
        raise
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} does not say where it comes from ({error!r}); delete it to make it anew."
        ) from None


@functools.cache
def surroundings() -> dict:
    """Commit, versions and machine, as the first call finds them: before the work, since they are
    of the code that does it, and what it took days to make is not lost for want of them."""
    return {
        **commit(ROOT),
        "python": platform.python_version(),
        "versions": _versions(),
        "machine": platform.machine(),
        "processor": _processor(),
    }


def commit(root: Path) -> dict:
    """The checkout's, and whether its files are others than that; None each where `root` is none,
    such as a copy inside another project's repository."""
    # Git gives its hooks a repository that need not be the one of the folder.
    others = {name for name in os.environ if re.match("GIT_(?!CONFIG)", name)}

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            timeout=GIT_S,
            env={name: value for name, value in os.environ.items() if name not in others},
        ).stdout

    try:
        inside, head, _ = git("rev-parse", "--show-prefix", "HEAD", f"HEAD:{OWN}").split("\n", 2)
        if inside:
            return {"commit": None, "dirty": None}
        dirty = git("status", "--porcelain", "--untracked-files=no", "--", ":/")
        return {"commit": head, "dirty": bool(dirty)}
    except (OSError, ValueError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


@functools.cache
def _versions() -> dict[str, str]:
    installed = {}
    for package in PACKAGES:
        # Of what an installation that was stopped leaves, there is no version either.
        with contextlib.suppress(metadata.PackageNotFoundError, KeyError, OSError):
            installed[package] = metadata.version(package)
    return installed


def _processor() -> str:
    with contextlib.suppress(OSError):
        if model := re.search(
            r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8", "replace")
        ):
            return model[1]
    return platform.processor() or platform.machine()


def _is_deterministic() -> bool:
    """Whether the same job gives the same bits again."""
    torch = sys.modules.get("torch")
    return device_name() == "cpu" or bool(torch and torch.are_deterministic_algorithms_enabled())


def device_name() -> str:
    """Of the GPU that this process computes on; of a CPU just cpu."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    tensorflow = sys.modules.get("tensorflow")
    for gpu in tensorflow.config.list_physical_devices("GPU") if tensorflow else ():
        return tensorflow.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
    return "cpu"

"""The tensors of a file that someone else wrote; nothing in it is executed."""

import argparse
import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from slimdit.core.errors import InputError
from slimdit.core.text import shortened

PICKLED = (".pt", ".pth", ".bin", ".ckpt")
FORBIDDEN = re.compile(r"(?:GLOBAL|[Uu]nsupported class) (\S+)")
AVERAGE, MODEL = "ema", "model"  # of a training checkpoint of DiT's; the average is sampled


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Of a .safetensors file, or of a pickled state dict or training checkpoint, by name.

    Raises InputError for a file that is missing, cut short or holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is no file here; it should be a file of weights.")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(
                f"{path} is cut short or no safetensors file ({error}); download it again."
            ) from None
    if path.suffix not in PICKLED:
        known = ", ".join((".safetensors", *PICKLED))
        raise InputError(f"{path} should be a file of weights, which end in one of {known}.")
    return _state_dict(_unpickled(path), path)


def _unpickled(path: Path):
    """With tensors, plain values and the options of a command line allowed in it."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if found := FORBIDDEN.search(str(error)):
            raise InputError(
                f"{path} holds an object of {found[1]}, which could run any code; it should hold "
                "tensors alone: save a state dict, or as safetensors."
            ) from None
        raise InputError(
            f"{path} is damaged or no file of torch.save; download it again."
        ) from None
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        what = shortened(str(error).strip().split("\n")[0])
        raise InputError(f"{path} is cut short or damaged ({what}); download it again.") from None


def _state_dict(content, path: Path) -> dict[str, Tensor]:
    if isinstance(content, dict):
        content = content.get(AVERAGE, content.get(MODEL, content))
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path} is a {type(content).__name__}; it should be a state dict.")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"{path}: {name} is a {type(value).__name__}; it should be a tensor of a state "
                f"dict, or {MODEL} and {AVERAGE} the state dicts of a training checkpoint."
            )
    return {str(name): value for name, value in content.items()}

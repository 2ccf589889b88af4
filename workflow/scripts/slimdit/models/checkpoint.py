"""Models to checkpoints and back."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from slimdit.core.canonical import canonical_json
from slimdit.core.errors import InputError
from slimdit.models.build import compress, empty_model
from slimdit.models.compression import COMPRESSION
from slimdit.models.dit import DiT
from slimdit.storage.files import HEADER, atomic_path, read_header

KEYS = ("structure", "operations", "origin", "tensors_sha256")


def is_plain(tensor: Tensor) -> bool:
    """Whether it is torch's own, not a quantized weight of several tensors."""
    return type(tensor) in (Tensor, nn.Parameter)


def flat_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The state as plain tensors; a quantized weight gives one for each of its parts."""
    flat = {}
    for name, tensor in module.state_dict().items():
        if is_plain(tensor):
            flat[name] = tensor.detach()
        else:
            for part in tensor.__tensor_flatten__()[0]:
                flat[f"{name}.{part}"] = getattr(tensor, part).detach()
    return flat


def save_variant(
    path: str | Path, model: DiT, structure: dict, operations: list[dict], origin: dict
) -> None:
    """Write weights, what they are weights of, and where they come from, as safetensors."""
    tensors = {name: t.contiguous().cpu() for name, t in flat_tensors(model).items()}
    metadata = {"structure": structure, "operations": operations, "origin": origin}
    metadata["tensors_sha256"] = digest_of(tensors)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {HEADER: canonical_json(metadata)})


def read_metadata(path: str | Path) -> dict:
    """{"structure", "operations", "origin", "tensors_sha256"} of a checkpoint; raises InputError if
    it is none."""
    try:
        metadata = read_header(path)
        return {key: metadata[key] for key in KEYS}
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; it should be a checkpoint.") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a SlimDiT checkpoint ({error!r}); delete it to make it anew."
        ) from None


def load_variant(path: str | Path, device: torch.device | None = None) -> DiT:
    """The model of a checkpoint, ready for inference, on the CPU or a device; needs no config.

    Raises InputError for a device that cannot run it.
    """
    metadata = read_metadata(path)
    for options in metadata["operations"] if device else ():
        if need := COMPRESSION.build(options).unsupported(device):
            raise InputError(
                f"{path} cannot run here: {options['name']} {need}; "
                "run its jobs where there is one, or leave its row out of the config."
            )
    try:
        model = compress(empty_model(metadata["structure"]), metadata["operations"])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path} has no structure of SlimDiT's ({error!r}); delete it to make it anew."
        ) from None
    own = flat_tensors(model)
    with safe_open(path, "pt") as file, torch.no_grad():
        stored = set(file.keys())
        if stored != set(own):
            raise InputError(
                f"{path} holds other tensors than its structure has "
                f"(first difference: {min(stored ^ set(own))}); delete it to make it anew."
            )
        tensors = {name: file.get_tensor(name) for name in stored}
        if digest_of(tensors) != metadata["tensors_sha256"]:
            raise InputError(
                f"{path} is damaged (the sha256 of its tensors differs); delete it to make it anew."
            )
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
    return model.to(device).eval()


def digest_of(tensors: dict[str, Tensor]) -> str:
    """sha256 of names and contents."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()

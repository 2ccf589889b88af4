"""The files of an autoencoder: a folder in diffusers' layout, or the hub's by name; torch-free."""

import json
import math
from pathlib import Path

from safetensors import SafetensorError, safe_open

from slimdit.core.errors import InputError
from slimdit.storage.hub import check_sha256, downloaded, refuse_pointer

CLASSES = ("AutoencoderKL", "AutoencoderTiny")
CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
LAYOUT = (
    f"an autoencoder in diffusers' layout; it needs a {CONFIG} with _class_name and a {WEIGHTS}"
)
ADVICE = "of a whole pipeline, download its folder vae and name it"


def autoencoder_folder(source: str | Path, revision: str | None) -> Path:
    """The folder on this machine: a local one, or the hub's, downloaded once.

    Raises InputError when it holds no known autoencoder, a hub name has no revision, or its
    weights are not those of the hub.
    """
    folder = Path(source)
    if not folder.is_dir():
        if not revision:
            raise InputError(
                f"autoencoder.revision is missing; pin the commit of {source} on the hub."
            )
        _downloaded(source, revision, CONFIG)
        folder = weights_file(source, revision).parent
    check_autoencoder(folder)
    return folder


def weights_file(source: str | Path, revision: str | None) -> Path:
    """The weights on this machine; raises InputError where they are not those of the hub."""
    if Path(source).is_dir():
        return Path(source) / WEIGHTS
    return check_sha256(_downloaded(source, revision, WEIGHTS), source, revision)


def check_autoencoder(folder: Path, options: dict | None = None) -> None:
    """Raises InputError, naming the file, where a folder's files cannot be loaded.

    options: the config's `autoencoder`, whose latent channels and downsampling the files should
    have, and the scale of the latents where it does not name one and takes the files' own.
    """
    config = _config(folder)
    if (name := config["_class_name"]) not in CLASSES:
        raise InputError(f"autoencoder {folder} is a {name}; known: {', '.join(CLASSES)}.")
    _check_weights(folder / WEIGHTS)
    found = {"latent_channels": config.get("latent_channels")}
    if blocks := config.get("block_out_channels"):
        found["downsample_factor"] = 2 ** (len(blocks) - 1)
    if options is None:
        return
    for key, value in found.items():
        if value not in (None, options[key]):
            raise InputError(
                f"autoencoder.{key} is {options[key]}, but {folder / CONFIG} says {value}; "
                f"write {value}."
            )
    if options["normalize"] == "config" and options["scaling_factor"] is None:
        _check_scale(config.get("scaling_factor"), folder / CONFIG)


def _check_scale(factor: object, path: Path) -> None:
    if not isinstance(factor, int | float) or not 0 < factor < math.inf:
        what = "no scaling_factor" if factor is None else f"a scaling_factor of {factor!r}"
        raise InputError(
            f"{path} has {what}; name as autoencoder.scaling_factor what diffusion models "
            "multiply its latents by (of DiT, SiT and Stable Diffusion 1 and 2: 0.18215)."
        )


def _config(folder: Path) -> dict:
    if not (folder / CONFIG).exists() and (folder / "vae" / CONFIG).exists():
        raise InputError(f"{folder} is a whole pipeline; name its autoencoder, {folder / 'vae'}.")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return config if config["_class_name"] else {}["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        refuse_pointer(folder / CONFIG)
        raise InputError(f"{folder} is not {LAYOUT}.") from None


def _check_weights(weights: Path) -> None:
    if not weights.exists():
        others = sorted(weights.parent.glob("diffusion_pytorch_model*"))
        halves = [path.name for path in others if path.name.endswith("16.safetensors")]
        if halves:
            how = f"copy or link {halves[0]} to that name"
        elif others:
            how = f"{others[0].name} is not read; save it by diffusers' save_pretrained"
        else:
            how = "download it"
        raise InputError(f"{weights.parent} has no {WEIGHTS}; {how}.")
    refuse_pointer(weights)
    try:
        with safe_open(weights, "np"):
            pass
    except SafetensorError as error:
        raise InputError(
            f"{weights} is cut short or no safetensors file ({error}); download it again."
        ) from None
    except OSError as error:
        raise InputError(f"{weights} cannot be read ({error}); make it readable.") from None


def _downloaded(source: str | Path, revision: str | None, name: str) -> Path:
    return downloaded(source, revision, (name,), "autoencoder", ADVICE)

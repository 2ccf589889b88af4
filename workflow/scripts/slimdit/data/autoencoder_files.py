"""The files of an autoencoder: a folder in diffusers' layout, or the hub's by name; torch-free."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from slimdit.core.errors import InputError
from slimdit.storage.files import sha256_of

CLASSES = ("AutoencoderKL", "AutoencoderTiny")
CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
LAYOUT = (
    f"an autoencoder in diffusers' layout; it needs a {CONFIG} with _class_name and a {WEIGHTS}"
)
LFS_POINTER = b"version https://git-lfs"
SHA256_DIGITS = 64


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
    """The weights on this machine.

    The hub's cache names a large file by the sha256 that the hub has of it. Raises InputError where
    the file has another.
    """
    if Path(source).is_dir():
        return Path(source) / WEIGHTS
    path = _downloaded(source, revision, WEIGHTS)
    blob = path.resolve()
    if len(blob.name) == SHA256_DIGITS and sha256_of(blob) != blob.name:
        raise InputError(
            f"{blob} is not what {source} has at {revision} (its sha256 should be its name); "
            "delete it to download it again."
        )
    return path


def check_autoencoder(folder: Path, sizes: dict | None = None) -> None:
    """Raises InputError, naming the file, where a folder's files cannot be loaded.

    sizes: the config's `autoencoder`, whose latent channels and downsampling the files should have.
    """
    config = _config(folder)
    if (name := config["_class_name"]) not in CLASSES:
        raise InputError(f"autoencoder {folder} is a {name}; known: {', '.join(CLASSES)}.")
    _check_weights(folder / WEIGHTS)
    found = {"latent_channels": config.get("latent_channels")}
    if blocks := config.get("block_out_channels"):
        found["downsample_factor"] = 2 ** (len(blocks) - 1)
    for key, value in found.items() if sizes else ():
        if value not in (None, sizes[key]):
            raise InputError(
                f"autoencoder.{key} is {sizes[key]}, but {folder / CONFIG} says {value}; "
                f"write {value}."
            )


def _config(folder: Path) -> dict:
    if not (folder / CONFIG).exists() and (folder / "vae" / CONFIG).exists():
        raise InputError(f"{folder} is a whole pipeline; name its autoencoder, {folder / 'vae'}.")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return config if config["_class_name"] else {}["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        _refuse_pointer(folder / CONFIG)
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
    _refuse_pointer(weights)
    try:
        with safe_open(weights, "np"):
            pass
    except SafetensorError as error:
        raise InputError(
            f"{weights} is cut short or no safetensors file ({error}); download it again."
        ) from None
    except OSError as error:
        raise InputError(f"{weights} cannot be read ({error}); make it readable.") from None


def _refuse_pointer(path: Path) -> None:
    if path.is_file():
        with open(path, "rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                raise InputError(
                    f"{path} is a pointer of Git LFS, not the file itself; "
                    f"run git lfs pull in {path.parent}."
                )


def _downloaded(source: str | Path, revision: str | None, name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(str(source), name, revision=revision))
    except (LocalEntryNotFoundError, ConnectionError):
        raise InputError(
            f"{source} is not in this machine's cache and the hub cannot be reached; where it can, "
            f"run: hf download {source} {CONFIG} {WEIGHTS} --revision {revision}"
        ) from None
    except EntryNotFoundError:
        raise InputError(
            f"{source} has no {name} at {revision}; of a whole pipeline, download its folder vae "
            "and name it."
        ) from None
    except HfHubHTTPError as error:
        raise InputError(
            f"{source} at {revision} cannot be downloaded ({' '.join(str(error).split())}); mend "
            "autoencoder.source or autoencoder.revision, or log in by hf auth login."
        ) from None
    except OSError as error:
        raise InputError(
            f"{source} cannot be written to this machine's cache ({error}); set HF_HOME to a "
            "folder of yours with room for it."
        ) from None

"""Where a published checkpoint lies: a file, a folder, or on the hub; torch-free."""

import json
from pathlib import Path

from slimdit.core.errors import InputError
from slimdit.storage.hub import check_sha256, downloaded, refuse_pointer

CONFIG = "config.json"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
PART = "transformer"  # of a whole pipeline
PIPELINE = "model_index.json"
NEEDS = f"a DiT in diffusers' layout, a folder with {CONFIG} and {WEIGHTS[0]} or {WEIGHTS[1]}"


def source_files(source: str | Path, revision: str | None, key: str) -> list[Path]:
    """The files of a source on this machine, those of the hub downloaded once: one file, or the
    config and the weights of a model in diffusers' layout.

    key: of the config, that names the source. Raises InputError where they are not there.
    """
    if Path(source).exists():
        return local_files(source)
    files = []
    for names in ((CONFIG,), WEIGHTS):
        places = tuple(f"{folder}{name}" for folder in (f"{PART}/", "") for name in names)
        path = downloaded(source, revision, places, key, f"it should be {NEEDS}")
        files.append(check_sha256(path, source, revision))
    return files


def local_files(source: str | Path) -> list[Path]:
    """Of a file, or of a model's folder, or of a whole pipeline's; raises InputError where they are
    not there."""
    folder = Path(source)
    if folder.is_file():
        refuse_pointer(folder)
        return [folder]
    if not (folder / CONFIG).is_file() and (folder / PART / CONFIG).is_file():
        folder /= PART
    weights = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not (folder / CONFIG).is_file() or not weights:
        raise InputError(f"{source} should be {NEEDS}.")
    refuse_pointer(weights[0])
    return [folder / CONFIG, weights[0]]


def files_to_come(source: str) -> list[Path]:
    """Those that a step of the study writes."""
    return (
        [Path(source)] if Path(source).suffix else [Path(source, CONFIG), Path(source, WEIGHTS[0])]
    )


def label_names(source: str | Path, revision: str | None) -> dict[str, str]:
    """What a whole pipeline in diffusers' layout calls each label, by label; none of anything else,
    nor where the hub cannot be asked. Of several names of a label it is the first.

    Raises InputError for a pipeline whose names are no names.
    """
    path = Path(source, PIPELINE)
    if not Path(source).exists():
        try:
            path = downloaded(source, revision, (PIPELINE,), "variants", "")
        except InputError:
            return {}
    if not path.is_file():
        return {}
    try:
        names = json.loads(path.read_text(encoding="utf-8")).get("id2label") or {}
        return {label: names[label].partition(",")[0].strip() for label in names}
    except (ValueError, TypeError, AttributeError):
        raise InputError(
            f"{path}: id2label should give each label a name; download the file again."
        ) from None

"""What a study's evaluation reads: samples, and the features of the reference."""

import json
from pathlib import Path

import numpy as np

from slimdit.core.errors import InputError
from slimdit.evaluation.image_sets import checked_images
from slimdit.storage.files import load_npz, read_json, sha256_of


def report_of(samples, samples_json) -> tuple[dict, str]:
    """What `samples_json` says of how `samples` were made, and their sha256; raises InputError
    where it is about others."""
    made, sha256 = read_json(samples_json), sha256_of(samples)
    if made["origin"]["outputs"][Path(samples).name] != sha256:
        raise InputError(f"{samples_json} is about other samples than {samples}; sample anew.")
    return made, sha256


def read_samples(path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, H, W, 3) and prompted labels (N,) of an .npz that OpenAI's evaluator reads, and
    further sets of them (K, N, H, W, 3)."""
    arrays = load_npz(path)
    if not {"arr_0", "arr_1"} <= arrays.keys():
        raise InputError(f"{path} has no arr_0 or arr_1; they should be the images and labels.")
    images = checked_images(arrays["arr_0"], path)
    return images, arrays["arr_1"], arrays.get("other_sets", ())


def read_reference(path, extractor: dict) -> dict[str, np.ndarray]:
    """Features that make_reference wrote; raises InputError for another extractor."""
    arrays = load_npz(path)
    if "meta" not in arrays:
        raise InputError(f"{path} has no meta; it should be made by the rule make_reference.")
    meta = json.loads(str(arrays["meta"]))
    if meta["extractor"] != extractor:
        raise InputError(
            f"{path} has features of {_named(meta['extractor'])} but samples are to be evaluated "
            f"by {_named(extractor)}; make the reference anew."
        )
    return arrays


def check_image_size(reference: dict[str, np.ndarray], samples: np.ndarray, path) -> None:
    """Raise InputError for samples (N, H, W, 3) of another size than the reference of `path`."""
    (height, width), size = samples.shape[1:3], json.loads(str(reference["meta"]))["image_size"]
    if (height, width) != (size, size):
        raise InputError(
            f"samples are of {height}x{width} pixels and the reference of {path} "
            f"is of {size}x{size}; both should have the study's image size."
        )


def _named(extractor: dict) -> str:
    options = ", ".join(f"{name} {value}" for name, value in sorted(extractor["options"].items()))
    return f"{extractor['name']} ({options}; weights {extractor['weights_sha256'][:8]})"

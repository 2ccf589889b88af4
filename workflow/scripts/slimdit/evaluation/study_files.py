"""What a study's evaluation reads: samples, and the features of the reference."""

import json

import numpy as np

from slimdit.core.errors import InputError
from slimdit.evaluation.image_sets import checked_images
from slimdit.storage.files import load_npz


def read_samples(path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, H, W, 3) and prompted labels (N,) of an .npz that OpenAI's evaluator reads, and
    further sets of them (K, N, H, W, 3)."""
    arrays = load_npz(path)
    if not {"arr_0", "arr_1"} <= arrays.keys():
        raise InputError(f"{path} has no arr_0 or arr_1; they should be the images and labels.")
    images = checked_images(arrays["arr_0"], path)
    return images, arrays["arr_1"], arrays.get("other_sets", ())


def read_reference(path, extractor: dict, sample_size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Features that make_reference wrote; raises InputError for another extractor or image size."""
    arrays = load_npz(path)
    if "meta" not in arrays:
        raise InputError(f"{path} has no meta; it should be made by the rule make_reference.")
    meta = json.loads(str(arrays["meta"]))
    if meta["extractor"] != extractor:
        raise InputError(
            f"{path} has features of {_named(meta['extractor'])} but samples are to be evaluated "
            f"by {_named(extractor)}; make the reference anew."
        )
    size = meta["image_size"]
    if sample_size != (size, size):
        raise InputError(
            f"samples are of {sample_size[0]}x{sample_size[1]} pixels and the reference of {path} "
            f"is of {size}x{size}; both should have the study's image size."
        )
    return arrays


def _named(extractor: dict) -> str:
    options = ", ".join(f"{name} {value}" for name, value in sorted(extractor["options"].items()))
    return f"{extractor['name']} ({options}; weights {extractor['weights_sha256'][:8]})"

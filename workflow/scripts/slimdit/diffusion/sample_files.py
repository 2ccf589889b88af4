"""What sampling writes and puts together: shards, and a grid to look at."""

import numpy as np
from PIL import Image

from slimdit.core.errors import InputError
from slimdit.storage.courtesies import read_array
from slimdit.storage.files import atomic_path, sha256_of

GRID_ROWS = 8
GRID_COLUMNS = 13


def joined(shards, reports, precision_name):
    """The shards' images, one after the other; raises InputError for one that is damaged, or was
    made in another precision than this job would make it in."""
    for path, report in zip(shards, reports, strict=True):
        if report["dtype"] != precision_name:
            raise InputError(
                f"{path} was made in {report['dtype']}, but here sampling.precision is "
                f"{precision_name}: the machines differ; name one there, not auto."
            )
        if sha256_of(path) != report["images_sha256"]:
            raise InputError(f"{path} is damaged (its sha256 differs); delete it to make it anew.")
    return np.concatenate([read_array(path) for path in shards])


def write_grid(path, images, labels):
    """One column a class, for the first classes; rows are different images of it."""
    columns = [images[labels == label][:GRID_ROWS] for label in np.unique(labels)[:GRID_COLUMNS]]
    rows = min(len(column) for column in columns)
    picture = np.concatenate([np.concatenate(column[:rows], axis=0) for column in columns], axis=1)
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary)

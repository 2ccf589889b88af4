"""The published file of the Inception-2015 graph: what it is called and how it is told."""

import hashlib
from pathlib import Path

from slimdit.core.errors import InputError

GRAPH_NAME = "classify_image_graph_def.pb"
GRAPH_MD5 = "e6bb154e85f5d4331c22abcddb5dcf31"
GRAPH_SIZE_BYTES = 95_673_916


def check_graph(path: str | Path, md5: str = GRAPH_MD5) -> None:
    """Raises InputError where `path` is not the file with that md5."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path} does not exist; the extractor's option graph should be your {GRAPH_NAME}, "
            "or set inception_graph_url, and the rule fetch_inception_graph downloads it."
        )
    found = md5_of(path)
    if found != md5:
        size_bytes = f" and {GRAPH_SIZE_BYTES} bytes" if md5 == GRAPH_MD5 else ""
        raise InputError(
            f"{path} has the md5 {found} and {path.stat().st_size} bytes; "
            f"{GRAPH_NAME} should have the md5 {md5}{size_bytes}."
        )


def md5_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()

"""The frozen Inception-2015 graph, downloaded once and checked."""

import hashlib
import http.client
import logging
import urllib.request

from slimdit.errors import InputError
from slimdit.faults import sentence
from slimdit.features.published_graph import GRAPH_MD5, GRAPH_SIZE_BYTES
from slimdit.files import atomic_path
from slimdit.progress import Progress

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60
INSTEAD = "try again, or set extractors.inception-2015.graph to a file that you have"

log = logging.getLogger(__name__)


def fetch_inception_graph(graph, url, code, md5=GRAPH_MD5, size=GRAPH_SIZE_BYTES):
    """Download `url` to `graph`; raises InputError unless it has that md5 and `size` in bytes."""
    with atomic_path(graph) as temporary:
        found_md5, found_size = download(url, temporary, size)
        if (found_md5, found_size) != (md5, size):
            raise InputError(
                f"{url} gave {found_size} bytes with the md5 {found_md5}; it should give "
                f"{size} bytes with the md5 {md5}: {INSTEAD}."
            )
    log.info("%s has the md5 %s", graph, md5)


def download(url: str, path, size: int) -> tuple[str, int]:
    """Write what `url` gives to `path`, little more than `size` bytes of it: its md5 and bytes."""
    digest, num_bytes = hashlib.md5(), 0
    try:
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT_S) as response,
            open(path, "wb") as file,
            Progress(size, "download the Inception graph", unit="bytes") as progress,
        ):
            while num_bytes <= size and (chunk := response.read(CHUNK_BYTES)):
                file.write(chunk)
                digest.update(chunk)
                num_bytes += len(chunk)
                progress.update(len(chunk))
    except (OSError, ValueError, http.client.HTTPException) as error:
        if sentence(error):
            raise
        raise InputError(f"{url} cannot be downloaded ({error}): {INSTEAD}.") from None
    return digest.hexdigest(), num_bytes


if __name__ == "__main__":
    from slimdit.job import job

    with job(snakemake):
        fetch_inception_graph(**snakemake.params, **snakemake.output)

"""A file of the web, with a progress bar."""

import hashlib
import http.client
import urllib.request

from slimdit.core.errors import InputError
from slimdit.jobs.failures import explain
from slimdit.jobs.progress import Progress

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60
INSTEAD = "try again, or set extractors.inception-2015.graph to a file that you have"


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
        if explain(error):
            raise
        raise InputError(f"{url} cannot be downloaded ({error}): {INSTEAD}.") from None
    return digest.hexdigest(), num_bytes

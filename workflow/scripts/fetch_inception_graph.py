"""The frozen Inception-2015 graph, downloaded once and checked."""

import http.client
import logging
import urllib.request

from slimdit.core.errors import InputError
from slimdit.evaluation.features.published_graph import GRAPH_MD5, GRAPH_SIZE_BYTES, md5_of
from slimdit.jobs.failures import explain
from slimdit.storage.files import atomic_path

TIMEOUT_S = 60
INSTEAD = "try again, or set extractors.inception-2015.graph to a file that you have"

log = logging.getLogger(__name__)


def fetch_inception_graph(graph, url, recipe, md5=GRAPH_MD5, size=GRAPH_SIZE_BYTES):
    """Download `url` to `graph`; raises InputError unless it has that md5 and `size` in bytes."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            content = response.read(size + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        if explain(error):
            raise
        raise InputError(f"{url} cannot be downloaded ({error}): {INSTEAD}.") from None
    with atomic_path(graph) as temporary:
        temporary.write_bytes(content)
        found_md5 = md5_of(temporary)
        if (found_md5, len(content)) != (md5, size):
            raise InputError(
                f"{url} gave {len(content)} bytes with the md5 {found_md5}; it should give "
                f"{size} bytes with the md5 {md5}: {INSTEAD}."
            )
    log.info("%s has the md5 %s", graph, md5)


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        fetch_inception_graph(**snakemake.params, **snakemake.output)

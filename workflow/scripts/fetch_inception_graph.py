"""The frozen Inception-2015 graph, downloaded once and checked."""

import logging

from slimdit.core.errors import InputError
from slimdit.data.download import INSTEAD, download
from slimdit.evaluation.features.published_graph import GRAPH_MD5, GRAPH_SIZE_BYTES
from slimdit.storage.files import atomic_path

log = logging.getLogger(__name__)


def fetch_inception_graph(graph, url, recipe, md5=GRAPH_MD5, size=GRAPH_SIZE_BYTES):
    """Download `url` to `graph`; raises InputError unless it has that md5 and `size` in bytes."""
    with atomic_path(graph) as temporary:
        found_md5, found_size = download(url, temporary, size)
        if (found_md5, found_size) != (md5, size):
            raise InputError(
                f"{url} gave {found_size} bytes with the md5 {found_md5}; it should give "
                f"{size} bytes with the md5 {md5}: {INSTEAD}."
            )
    log.info("%s has the md5 %s", graph, md5)


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        fetch_inception_graph(**snakemake.params, **snakemake.output)

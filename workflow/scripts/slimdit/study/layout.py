"""Where every file of a study lies: the rules, the plan, the status and the reports ask here.

A variant or a seed that is not given is Snakemake's wildcard, so that one call serves a rule and a
job.
"""

from pathlib import PurePosixPath

RESULTS = PurePosixPath("results")
VARIANT, SEED, SHARD = "{variant}", "{seed}", "{scatteritem}"


class Layout:
    """Paths of a study's files, as text relative to the folder that Snakemake runs in."""

    def __init__(self, study: str):
        self.root = RESULTS / study

    def data(self, name: str) -> str:
        """Of all rows: the subset, latents, the reference."""
        return f"{self.root}/data/{name}"

    def variant(self, name: str, variant: str = VARIANT) -> str:
        """Of a row whatever its seed."""
        return f"{self.root}/variants/{variant}/{name}"

    def run(self, name: str, variant: str = VARIANT, seed: int | str = SEED) -> str:
        """Of a row with one seed."""
        return f"{self.root}/variants/{variant}/seed-{seed}/{name}"

    def table(self, name: str) -> str:
        return f"{self.root}/tables/{name}"

    def figure(self, name: str) -> str:
        return f"{self.root}/figures/{name}"

    def page(self, name: str) -> str:
        return f"{self.root}/{name}"

    def state(self, job: str) -> str:
        """The folder of what a job has done so far, and of its heartbeat."""
        return f"{self.root}/state/{job}"

    def log(self, job: str) -> str:
        return f"{self.root}/logs/{job}.log"

    def tensorboard(self, job: str) -> str:
        return f"{self.root}/tensorboard/{job}"

"""Every job of a study: what it makes, where it keeps what is half done, and its recipe."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from slimdit.core.canonical import canonical, fingerprint
from slimdit.core.code_digest import definition_digests
from slimdit.storage.files import read_json
from slimdit.study.layout import SEED, SHARD, VARIANT
from slimdit.study.steps import STEPS
from slimdit.study.study import Study


class Recipe(dict):
    """What a step's result is a function of, besides its input files and the seed: settings, and
    the definitions of its code by their digests.

    Shown by a digest of it, which is what Snakemake compares and prints of a param.
    """

    def __repr__(self) -> str:
        return f"recipe {fingerprint(self)}"

    def __reduce__(self):
        return dict, (dict(self),)  # scripts get plain JSON values


@dataclass(frozen=True)
class Job:
    """A step's job for one variant and one seed, where it has them; a step's rule without.

    part: of a step whose jobs are parts of another's, such as "2-of-8". Paths have Snakemake's
    wildcards for what is not given.
    """

    study: Study
    step: str
    variant: str | None = None
    seed: int | None = None
    part: str | None = None

    @property
    def outputs(self) -> dict[str, str]:
        patterns = STEPS[self.step].outputs(self.study)
        return {name: self._filled(pattern) for name, pattern in patterns.items()}

    @property
    def record(self) -> str | None:
        """The path of the output that holds where the result comes from, if one does."""
        name = STEPS[self.step].record
        return self.outputs[name] if name else None

    @property
    def state(self) -> str | None:
        """The folder of what is half done; None for a step that keeps nothing."""
        pattern = STEPS[self.step].state_folder(self.study)
        return pattern and self._filled(pattern)

    @property
    def log(self) -> str:
        step = STEPS[self.step]
        return self._filled(self.study.layout.log((step.part_of or self.step) + step.place))

    @property
    def settings(self) -> dict:
        """The params that its result depends on, by name."""
        return _settings(self.study, self.step, self.variant)

    @property
    def recipe(self) -> Recipe:
        used = STEPS[self.step].components(self.study, self.variant)
        used = frozenset((kind, frozenset(names)) for kind, names in used.items())
        definitions = _definitions(self.step, used)
        return Recipe(definitions=definitions, settings=self.settings, step=self.step)

    @property
    def name(self) -> str:
        """As people read it: "train S2-base, seed 0"."""
        step = STEPS[self.step].part_of or self.step
        words = f"{step.replace('_', ' ')} {self.variant or ''}".strip()
        words += "" if self.seed is None else f", seed {self.seed}"
        return words if self.part is None else f"{words}, part {self.part}"

    def _filled(self, pattern: str) -> str:
        for wildcard, value in ((VARIANT, self.variant), (SEED, self.seed), (SHARD, self.part)):
            pattern = pattern if value is None else pattern.replace(wildcard, str(value))
        return pattern

    def parts_begun(self) -> Iterator["Job"]:
        """The jobs that share its work, as far as each has a log."""
        for name, step in STEPS.items():
            if step.part_of == self.step:
                logs = Path(replace(self, step=name, part="").log).parent.glob("*.log")
                for log in sorted(logs, key=lambda path: (len(path.name), path)):
                    yield replace(self, step=name, part=log.stem)


def jobs_of(study: Study) -> Iterator[Job]:
    """Every job of a finished study, in the order in which a study comes to them."""
    for name, step in STEPS.items():
        if step.is_optional or not step.needed(study):
            continue
        for variant in step.rows(study) if step.rows else [None]:
            for seed in study.seeds if step.seeds else [None]:
                yield Job(study, name, variant, seed)


@functools.cache
def _settings(study: Study, step: str, variant: str | None) -> dict:
    return canonical({name: of(study, variant) for name, of in STEPS[step].settings.items()})


@functools.cache
def _definitions(step: str, used: frozenset) -> dict[str, str]:
    return definition_digests(step, step, dict(used))


def shard_names(study: Study, variant: str, seed: int | str, wanted: int) -> list[str]:
    """The shards that a run's samples are put together from: none where one job makes them all.

    wanted: how many there should be. Samples that are there keep the number that they were made
    in: another one is no reason to rerun. Raises InputError where their report is damaged.
    """
    made = Path(study.layout.run("samples.json", variant, seed))
    count = read_json(made).get("num_shards", 1) if made.exists() else wanted
    num_batches = -(-study.num_sampled(variant) // study.sampling(variant)["batch_size"])
    count = min(count, num_batches)
    return [f"{position}-of-{count}" for position in range(1, count + 1)] if count > 1 else []


def rows_of_shard(shard: str, num_images: int, batch_size: int) -> range:
    """The images of a shard: whole batches, so that each image is made beside the same ones as
    where there are no shards, and comes out to the same bits."""
    position, count = map(int, shard.split("-of-"))
    num_batches = -(-num_images // batch_size)
    first, end = (num_batches * part // count * batch_size for part in (position - 1, position))
    return range(first, min(end, num_images))

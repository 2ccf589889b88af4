"""What a step of a study is, and what the list of them in `steps` is written with."""

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from slimdit.diffusion.loss_terms import objective_name
from slimdit.study.layout import SEED, SHARD, VARIANT, Layout
from slimdit.study.paper_values import paper_values
from slimdit.study.study import Study

Setting = Callable[[Study, str | None], object]  # of a row; None for a step of the whole study
Used = dict[str, set[str]]  # kind of registry -> names of components


@dataclass(frozen=True)
class Step:
    """A rule and its script, which have its name.

    outputs: of a study, the script's name of each file -> its path. settings: params that the
    result depends on. options: params that say how it is computed, which is no reason to rerun.
    components: those in use. rows: the variants that have a job, None where there is one for all;
    seeds: whether each of their seeds has its own. state: name of the folder of what is half done.
    record: the output that holds where the result comes from. needed: whether the study has it.
    part_of: the step of whose job one of this step does a part. takes_gpu: whether it computes on a
    GPU where there is one; is_parallel: whether it has work for all cores without; is_alone:
    whether it has all cores, as nothing should run beside it, or nothing can; compiles: whether its
    models are compiled where the config says so. is_optional: whether a finished study may be
    without it: counts before anything is trained, and parts.
    """

    outputs: Callable[[Study], dict[str, str]]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    options: Mapping[str, Setting] = field(default_factory=dict)
    components: Callable[[Study, str | None], Used] = lambda study, variant: {}
    rows: Callable[[Study], list[str]] | None = None
    seeds: bool = False
    state: str | None = None
    record: str | None = None
    needed: Callable[[Study], bool] = lambda study: True
    part_of: str | None = None
    takes_gpu: bool = False
    is_parallel: bool = False
    is_alone: bool = False
    compiles: bool = False
    is_optional: bool = False

    def threads(self, cores: int, gpus: int | None, own_gpus: int | None) -> int:
        """Of a job on a machine of so many cores, `gpus` of which jobs share, this one `own_gpus`
        (None: not said, which is 1): one, or all, or the part that its GPUs are of all of them."""
        own = 1 if own_gpus is None else own_gpus
        if self.takes_gpu and not self.is_alone and gpus and 0 < own < gpus:
            return max(1, cores * own // gpus)
        return cores if self.takes_gpu or self.is_parallel else 1

    @property
    def place(self) -> str:
        """What a job's state and log have behind the step's name, with wildcards."""
        seed = f"-seed-{SEED}" if self.seeds else ""
        part = f"/{SHARD}" if self.part_of else ""
        return f"/{VARIANT}{seed}{part}" if self.rows else ""

    def state_folder(self, study: Study) -> str | None:
        """Of a job, with wildcards; None for a step that keeps none."""
        return self.state and study.layout.state(self.state + self.place)


# Components in use.


def of_models(study: Study, *variants: str | None) -> Used:
    used: Used = {}
    for variant in filter(None, variants):
        for kind, names in study.components(variant).items():
            used.setdefault(kind, set()).update(names)
    return used


def of_sampler(study: Study, *variants: str) -> Used:
    samplers = {study.sampling(variant)["sampler"] for variant in variants}
    return of_passes(study, *variants) | {"sampler": samplers}


def of_training(study: Study, variant: str) -> Used:
    objective = objective_name(study.distillation(variant))
    return of_models(study, variant, study.teacher(variant)) | {"objective": {objective}}


def of_passes(study: Study, *variants: str) -> Used:
    """Models, what guides them, and the caches of their passes."""
    caches = [study.sampling(variant)["cache"] for variant in variants]
    models = of_models(study, *variants, *map(study.guide, variants))
    return models | {"cache": {cache["name"] for cache in caches if cache}}


def of_extractor(study: Study, variant: str | None) -> Used:
    return {"extractor": {study.evaluation["extractor"]["name"]}}


# Rows.


def every_row(study: Study) -> list[str]:
    return list(study.variants)


def of_images(rows: Callable[[Study], list[str]]) -> Callable[[Study], list[str]]:
    """The rows, in a study that has images; of another one none."""
    return lambda study: rows(study) if study.has_images else []


# Settings and outputs.


def own_operations(study: Study, variant: str) -> list[dict]:
    """What is done to the parent's weights."""
    return study.block(variant).get("apply", [])


def evaluation(study: Study, variant: str | None) -> dict:
    return study.evaluation


def rows(study: Study, variant: str | None) -> list[dict]:
    return study.rows()


def paper(study: Study, variant: str | None) -> dict:
    path = study.config["paper_values"]
    return paper_values(path) if path else {}


def prompts(study: Study, variant: str | None) -> list[str]:
    """Of every row: they are checked as soon as the classes are known."""
    return sorted({name for row in study.variants for name in study.sampling(row)["prompts"] or ()})


def pipelines(study: Study, variant: str | None) -> list[dict]:
    """Where checkpoints come from that may name the labels, in a study that does not."""
    if study.config["data"]["classes"]:
        return []
    sources = map(study.source, study.pretrained)
    return [{key: each[key] for key in ("source", "revision")} for each in sources]


def config_value(*keys: str) -> Setting:
    return lambda study, _: functools.reduce(operator.getitem, keys, study.config)


def of_autoencoder(*keys: str) -> dict[str, Setting]:
    return {key: config_value("autoencoder", key) for key in keys}


# Of `data`: they do not say which images are drawn.
NO_SUBSET = ("images", "reference_statistics", "photos", "image_size")
IMAGES = {
    "images_root": config_value("data", "images"),
    "image_size": config_value("data", "image_size"),
}
SAMPLING = {
    "sampling": Study.sampling,
    "num_timesteps": Study.num_timesteps,
    **of_autoencoder("source", "revision"),
}
TABLE_BATCH_SIZE = {"speed_batch_size": config_value("speed", "table_batch_size")}


def subset_data(study: Study, variant: str | None) -> dict:
    """Of `data`, what says which images are drawn."""
    return {key: value for key, value in study.config["data"].items() if key not in NO_SUBSET}


def autoencoder_files(study: Study) -> dict[str, str]:
    """In diffusers' layout, and what its training says."""
    names = {
        "weights": "diffusion_pytorch_model.safetensors",
        "model_config": "config.json",
        "report": "autoencoder.json",
    }
    folder = PurePosixPath(study.config["autoencoder"]["source"])
    return {key: str(folder / name) for key, name in names.items()}


def files(folder: Callable[[Layout, str], str], **names: str) -> Callable[[Study], dict[str, str]]:
    """Of a study's folder, such as Layout.data."""
    return lambda study: {key: folder(study.layout, name) for key, name in names.items()}


def table_files(*names: str, beside_paper: tuple[str, ...]) -> Callable[[Study], dict[str, str]]:
    """Tables by their names; beside_paper: those of a study with a paper's values."""

    def outputs(study: Study) -> dict[str, str]:
        own = (*names, *beside_paper) if study.config["paper_values"] else names
        return {name.replace(".", "_"): study.layout.table(name) for name in own}

    return outputs

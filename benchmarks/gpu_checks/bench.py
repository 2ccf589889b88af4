"""What is checked: rows of the paper's study, on one device."""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import torch
from models import made_model
from ratios import tolerance_of
from subjects import load_config

from gpu_checks.check import SkippedError
from slimdit.models.compression import COMPRESSION
from slimdit.models.dit import DiT
from slimdit.study.study import Study

PAPER = "configs/imagenet200.yaml"
CPU = torch.device("cpu")
FEW_LAYERS = 2
TINY_HEAD_DIM, TINY_IMAGE_SIZE = 16, 64  # such that every kernel takes them
ROUNDS_INPUTS = {"int8_dynamic", "fp8_dynamic"}  # compressions, in whatever type the inputs are
INT8_OR_FP8 = 1e-2  # of their outputs, in parts of the largest


@dataclasses.dataclass(frozen=True)
class Bench:
    """is_tiny: all sizes are such that a CPU needs seconds for everything."""

    is_tiny: bool
    on: torch.device

    def either(self, full, tiny):
        return tiny if self.is_tiny else full

    @functools.cached_property
    def study(self) -> Study:
        study = Study(load_config(PAPER))
        return tiny(study) if self.is_tiny else study

    @functools.cached_property
    def shallow(self) -> Study:
        """The study with models of full width and few layers."""
        return resized(self.study, lambda sizes: {"depth": FEW_LAYERS})

    def model(self, study: Study, variant: str) -> DiT:
        """The row's model, in float32, on the device; raises SkippedError for one that the device
        does not support."""
        for options in study.operations(variant):
            operation = COMPRESSION.build(options)
            if reason := operation.unsupported(self.on):
                raise SkippedError(reason)
        return made_model(study, variant, self.on)


def resized(study: Study, change: Callable[[dict], dict]) -> Study:
    """With backbones of other sizes."""
    backbones = study.config["backbones"].items()
    changed = {name: sizes | change(sizes) for name, sizes in backbones}
    return Study(study.config | {"backbones": changed})


def tiny(study: Study) -> Study:
    data = study.config["data"] | {"image_size": TINY_IMAGE_SIZE}

    def sizes(backbone: dict) -> dict:
        return {"depth": FEW_LAYERS, "hidden_size": TINY_HEAD_DIM * backbone["num_heads"]}

    return resized(Study(study.config | {"data": data}), sizes)


def distinct(study: Study) -> list[str]:
    """The rows, without those whose models are an earlier one's; `kinds` come first."""
    found = {}
    for variant in [*kinds(study), *study.variants]:
        made_from = str((study.structure(variant), study.operations(variant)))
        found.setdefault(made_from, variant)
    return list(found.values())


def kinds(study: Study) -> list[str]:
    """The first row of each set of components: they differ in more than sizes."""
    found = {}
    for variant in study.variants:
        components = study.components(variant).values()
        found.setdefault(tuple(map(frozenset, components)), variant)
    return list(found.values())


def trained_kinds(study: Study) -> list[str]:
    return [variant for variant in kinds(study) if variant in study.trained]


def mixtures(study: Study) -> list[str]:
    """The kinds that route tokens."""
    return [variant for variant in kinds(study) if "moe" in study.components(variant)["mlp"]]


def rounds_inputs(study: Study, variant: str) -> bool:
    return not ROUNDS_INPUTS.isdisjoint(study.components(variant)["compression"])


def tolerance(study: Study, variant: str, dtype: torch.dtype) -> float:
    """Of the row's outputs in `dtype`, in parts of the largest one."""
    is_rounded = dtype == torch.float32 and rounds_inputs(study, variant)
    return INT8_OR_FP8 if is_rounded else tolerance_of(dtype)


def distilled(study: Study) -> Iterator[str]:
    return filter(study.teacher, study.trained)

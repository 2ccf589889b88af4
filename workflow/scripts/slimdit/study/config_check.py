"""All that is wrong with a config, found before anything runs: torch-free, used by the Snakefile.

The schema says what each key may hold, `variant_check` how variants fit together, and the checks
here how the other keys do.
"""

import copy
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from slimdit.core.errors import InputError
from slimdit.core.options import AtLeast, AtMost, MultipleOf, limit_problems
from slimdit.data.class_names import find_class
from slimdit.study.component_options import components
from slimdit.study.paper_values import paper_values
from slimdit.study.schema_errors import Fault, faults, hint, unknown
from slimdit.study.study import Study, StudyError
from slimdit.study.variant_check import until_missing

SCHEMA = Path(__file__).with_name("config.schema.yaml")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
MOST_OF_CLASS = "data.max_images_per_class + data.held_out_per_class,"
LEAST_OF_CLASS = (
    "data.held_out_per_class + the larger of data.min_images_per_class and "
    "data.reference_per_class,"
)
PHOTOS = "the number of data.photos.names,"
LIMITS = {  # of numbers by others of the config
    "data.min_images_per_class": [AtMost(MOST_OF_CLASS)],
    "data.reference_per_class": [AtMost("data.max_images_per_class")],
    "data.num_classes": [AtMost(PHOTOS)],  # each is a class
    "data.image_size": [
        MultipleOf("autoencoder.downsample_factor"),
        AtMost("data.photos.crop_size"),  # crops are not enlarged
    ],
    "data.photos.min_side": [AtMost("data.photos.max_side")],
    "data.photos.crops_per_photo": [AtLeast(LEAST_OF_CLASS)],
    "autoencoder.train.crop_size": [
        MultipleOf("autoencoder.downsample_factor"),
        AtMost("data.image_size"),
    ],
}


def config_problems(config) -> list[str]:
    """One sentence for each problem of a config, whatever it holds; none for a good one."""
    found = faults(config, config_schema())
    sound = _without(config, found)
    problems = [fault.sentence for fault in found]
    for check in CHECKS:
        problems += until_missing(check(sound))
    try:
        Study(sound)
    except StudyError as error:
        problems += error.problems
    return problems


def listed(problems: list[str]) -> str:
    """The problems as they are shown, a line each."""
    number = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return "\n  ".join([f"config: {number}", *problems])


@functools.cache
def config_schema() -> dict:
    """The schema of a config, with the extractors and their options as the library has them."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    schema["properties"]["extractors"] |= {
        "properties": {name: each.schema for name, each in components("extractor").items()},
        "additionalProperties": False,
    }
    return schema


def _without(config, found: list[Fault]) -> dict:
    """The config without what was found at fault; a variant with a refused value is empty."""
    sound = copy.deepcopy(config) if isinstance(config, dict) else {}
    for fault in found:
        is_of_variant = fault.path[:1] == ("variants",) and len(fault.path) > 1
        if is_of_variant and fault.kind in ("value", "name") and "variants" in sound:
            sound["variants"][fault.path[1]] = {}
        elif fault.kind in ("value", "unknown"):
            _remove(sound, fault.path)
    return sound


def _remove(node, path: tuple) -> None:
    """Delete the innermost key of a mapping on the path, if it is still there."""
    owner = key = None
    for part in path:
        if isinstance(node, list):
            break
        if part not in node:
            return
        owner, key, node = node, part, node[part]
    if owner is not None:
        del owner[key]


def _size_problems(config: dict) -> Iterator[str]:
    sizes = dict(_flat(config)) | dict(until_missing(_derived_sizes(config)))
    yield from (f"{problem}." for problem in limit_problems(LIMITS, sizes))


def _flat(node: dict, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a config by its dotted path."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{key}.")
        elif isinstance(value, int | float):
            yield f"{path}{key}", value


def _derived_sizes(config: dict) -> Iterator[tuple[str, int]]:
    """Those of LIMITS that no key holds."""
    data = config["data"]
    held_out, photos = data["held_out_per_class"], data["photos"]
    yield MOST_OF_CLASS, data["max_images_per_class"] + held_out
    if photos:
        yield PHOTOS, len(photos["names"])
        needed = max(data["min_images_per_class"], data["reference_per_class"])
        yield LEAST_OF_CLASS, needed + held_out


def _class_problems(config: dict) -> Iterator[str]:
    data = config["data"]
    classes, number = data["classes"] or (), data["num_classes"]
    if classes and len(classes) != number:
        yield f"data.classes lists {len(classes)} classes, but data.num_classes is {number}."
    for name in classes if data["photos"] else ():
        if name not in data["photos"]["names"]:
            yield unknown("data.classes", name, data["photos"]["names"])


def _prompt_problems(config: dict) -> Iterator[str]:
    data, prompts = config["data"], config["sampling"]["prompts"]
    known = data["classes"] or (data["photos"] and data["photos"]["names"])
    wrong = [name for name in prompts or () if known and not find_class(name, known)]
    if wrong:
        names = ", ".join(map(repr, wrong))
        yield f"sampling.prompts: no class of the study is {names}; {hint(wrong[0], known)}"


def _folder_problems(config: dict) -> Iterator[str]:
    """What a study makes is its own: the rule that makes a folder empties it first."""
    for section, key, made_by in (
        ("data", "images", "photos"),
        ("autoencoder", "source", "train"),
    ):
        options = config.get(section, {})
        if not options.get(made_by) or key not in options:
            continue
        own = Path("results", config["study"])
        if own not in Path(os.path.normpath(options[key])).parents:
            yield (
                f"{section}.{key} {options[key]!r} is made by this study ({section}.{made_by}) and "
                f"should lie in {own}/; with {section}.{made_by}: null it is yours and only read."
            )


def _channel_problems(config: dict) -> Iterator[str]:
    factor, training = config["autoencoder"]["downsample_factor"], config["autoencoder"]["train"]
    levels = len(training["channels"]) if training else 0
    if training and 2 ** (levels - 1) != factor:
        yield (
            f"autoencoder.train.channels lists {levels} levels, which makes the factor "
            f"{2 ** (levels - 1)}, but autoencoder.downsample_factor is {factor}."
        )


def _hub_problems(config: dict) -> Iterator[str]:
    autoencoder = config["autoencoder"]
    source, revision = autoencoder["source"], autoencoder["revision"]
    if autoencoder["train"] or Path(source).is_dir():
        return
    if not HUB_NAME.fullmatch(source):
        yield (
            f"autoencoder.source {source!r} is no folder here and no name on the hub; it should be "
            "an autoencoder's folder or owner/name."
        )
    elif revision is None or not COMMIT.fullmatch(revision):
        found = "null" if revision is None else repr(revision)
        yield (
            f"autoencoder.revision is {found}; {source} is no folder here but a name on the hub, "
            "and needs the 40 hexadecimal digits of its commit."
        )


def _speed_problems(config: dict) -> Iterator[str]:
    speed = config["speed"]
    shown, timed = speed["table_batch_size"], speed["eager_batch_sizes"]
    if shown not in timed:
        yield (
            f"speed.table_batch_size {shown} is none of speed.eager_batch_sizes "
            f"({', '.join(map(str, timed))})."
        )


def _neighbour_problems(config: dict) -> Iterator[str]:
    data, neighbours = config["data"], config["evaluation"]["neighbours"]
    reference = data["num_classes"] * data["reference_per_class"]
    fewest = min(reference, config["sampling"]["num_samples"])
    if neighbours >= fewest:
        yield (
            f"evaluation.neighbours {neighbours} is not less than the {fewest} images of the "
            "samples (sampling.num_samples) or of the reference."
        )


def _paper_problems(config: dict) -> Iterator[str]:
    path = config["paper_values"]
    try:
        if path:
            paper_values(path)
    except InputError as error:
        yield f"paper_values: {error}"
    except OSError as error:
        yield f"paper_values {path!r} cannot be read ({error.strerror}); it should be a CSV file."


CHECKS = (
    _size_problems,
    _class_problems,
    _prompt_problems,
    _folder_problems,
    _channel_problems,
    _hub_problems,
    _speed_problems,
    _neighbour_problems,
    _paper_problems,
)

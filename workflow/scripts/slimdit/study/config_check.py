"""All that is wrong with a config, found before anything runs: torch-free, used by the Snakefile.

The schema says what each key may hold, `variant_check` how variants fit together, and the checks
here how the other keys do.
"""

import copy
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from slimdit.core.errors import InputError
from slimdit.core.options import AtLeast, AtMost, MultipleOf, OneOf, limit_problems
from slimdit.data.autoencoder_files import check_autoencoder
from slimdit.data.class_names import find_class, named_classes
from slimdit.storage.hub import HUB_NAME
from slimdit.study.component_options import REGISTRIES, ComponentSource, components
from slimdit.study.paper_values import paper_values
from slimdit.study.schema_errors import Fault, faults, hint, unknown
from slimdit.study.study import Study
from slimdit.study.variant_check import until_missing, variant_problems

SCHEMA = Path(__file__).with_name("config.schema.yaml")
CALLED = "SLIMDIT_STUDY"  # of the environment: how make was told to call the study
LIMITS = {  # of numbers by others of the config
    "data.min_images_per_class": [AtMost("data.max_images_per_class + data.held_out_per_class")],
    "data.reference_per_class": [AtMost("data.max_images_per_class")],
    "data.num_classes": [
        AtMost("len(data.photos.names)"),  # each is a class
        AtMost("len(data.classes)"),
        AtLeast("len(data.classes)"),
    ],
    # For errors over other images: two groups of two.
    "data.num_classes * data.held_out_per_class": [AtLeast(4)],
    "data.num_classes * min(data.min_images_per_class, data.reference_per_class)": [AtLeast(4)],
    "data.image_size": [
        MultipleOf("autoencoder.downsample_factor"),
        AtMost("data.photos.crop_size"),  # crops are not enlarged
    ],
    "data.photos.min_side": [AtMost("data.photos.max_side")],
    "data.photos.crops_per_photo": [
        AtLeast("data.held_out_per_class + data.min_images_per_class"),
        AtLeast("data.held_out_per_class + data.reference_per_class"),
    ],
    "autoencoder.downsample_factor": [
        AtLeast("2 ** (len(autoencoder.train.channels) - 1)"),
        AtMost("2 ** (len(autoencoder.train.channels) - 1)"),
    ],
    "autoencoder.train.crop_size": [
        MultipleOf("autoencoder.downsample_factor"),
        AtMost("data.image_size"),
    ],
    "evaluation.neighbours": [
        AtMost("sampling.num_samples - 1"),
        AtMost("data.num_classes * min(data.min_images_per_class, data.reference_per_class) - 1"),
        AtMost("data.num_classes * data.held_out_per_class - 1"),
    ],
    "speed.table_batch_size": [OneOf("speed.eager_batch_sizes")],
}


def config_problems(config) -> list[str]:
    """One sentence for each problem of a config, whatever it holds; none for a good one."""
    sections = config if isinstance(config, dict) else {}
    own = {kind: sections.get(f"{kind}s") for kind in ("backbone", "variant", "extractor")}
    names = {kind: components(kind) for kind in REGISTRIES} | own
    found = faults(config, config_schema(), names=names)
    sound = _without(sections, found)
    problems = [fault.sentence for fault in found]
    problems += (f"{problem}." for problem in limit_problems(LIMITS, sound))
    for check in CHECKS:
        problems += until_missing(check(sound))
    return list(dict.fromkeys(problems))


def check_config(config) -> None:
    """Raises InputError with the problems, a line each."""
    if problems := config_problems(config):
        number = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise InputError("\n  ".join([f"config: {number}", *problems]))


@functools.cache
def config_schema() -> dict:
    """The schema of a config, with the components and their options as the library has them."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    schema["properties"]["extractors"] |= {
        "properties": {name: each.schema for name, each in components("extractor").items()},
        "additionalProperties": False,
    }
    block = schema["properties"]["variants"]["additionalProperties"]["properties"]
    for place, kind in (
        (block["attention"], "attention"),
        (block["mlp"], "mlp"),
        (block["apply"]["items"], "compression"),
        (schema["properties"]["sampling"]["properties"]["cache"], "cache"),  # of all variants too
    ):
        place["allOf"] = [_options_schema(name, each) for name, each in components(kind).items()]
    return schema


def _options_schema(name: str, component: ComponentSource) -> dict:
    """Of {"name": ..., **options} where that is its name."""
    named = {"type": "object", "required": ["name"], "properties": {"name": {"const": name}}}
    properties = {"name": {}, **component.schema["properties"]}
    return {"if": named, "then": component.schema | {"properties": properties}}


def _without(config: dict, found: list[Fault]) -> dict:
    """The config without what was found at fault; with a value that is refused goes its variant."""
    sound = copy.deepcopy(config)
    for fault in found:
        is_of_variant = fault.path[:1] == ("variants",) and fault.kind == "value"
        if fault.path and fault.kind != "missing":
            _remove(sound, fault.path[:2] if is_of_variant else fault.path)
    return sound


def _remove(node: dict, path: tuple) -> None:
    """Delete the last key of the path, or the one of a list that it leads through."""
    *outer, last = path
    for key in outer:
        if not isinstance(node.get(key), dict):
            last = key
            break
        node = node[key]
    node.pop(last, None)


def _class_problems(config: dict) -> Iterator[str]:
    data, prompts = config["data"], config["sampling"]["prompts"]
    photos = data["photos"] and data["photos"]["names"]
    for name in data["classes"] or () if photos else ():
        if name not in photos:
            yield unknown("data.classes", name, photos)
    known = data["classes"] or photos or (named_classes(data) if data["images"] is None else None)
    wrong = [name for name in prompts or () if known and not find_class(name, known)]
    if wrong:
        names = ", ".join(map(repr, wrong))
        yield f"sampling.prompts: no class of the study is {names}; {hint(wrong[0], known)}"


def _name_problems(config: dict) -> Iterator[str]:
    """Where two places name the study, or names are one where file names have no case."""
    study, called = config["study"], os.environ.get(CALLED)
    if called and called != study:
        yield (
            f"study is {study!r}, but make was called with STUDY={called}; write study: {called} "
            f"in {'config.yaml' if called == 'photos' else f'configs/{called}.yaml'}."
        )
    for what, name, others in (
        ("study", study, os.listdir("results") if Path("results").is_dir() else ()),
        *(("variants", name, config["variants"]) for name in config["variants"]),
    ):
        for other in others:
            if other != name and other.casefold() == name.casefold():
                pair = " and ".join(sorted((name, other)))
                yield f"{what}: {pair} differ by case alone, which many disks do not; rename one."


def _folder_problems(config: dict) -> Iterator[str]:
    """What a study makes is its own: the rule that makes a folder empties it first."""
    for section, key, made_by in (
        ("data", "images", "photos"),
        ("autoencoder", "source", "train"),
    ):
        options = config.get(section, {})
        if not options.get(made_by) or options.get(key) is None:
            continue
        own = Path("results", config["study"])
        if own not in Path(os.path.normpath(options[key])).parents:
            yield (
                f"{section}.{key} {options[key]!r} is made by this study ({section}.{made_by}) and "
                f"should lie in {own}/; with {section}.{made_by}: null it is yours and only read."
            )


def _image_problems(config: dict) -> Iterator[str]:
    """Of a study without images, and of what only images tell."""
    data, autoencoder, study = config["data"], config["autoencoder"], Study(config)
    if study.has_images:
        if data["reference_statistics"]:
            yield "data.reference_statistics has no effect beside data.images; leave one out."
        return
    if not data["reference_statistics"]:
        yield (
            "data.images is null; name a folder, or in data.reference_statistics an .npz with mu "
            "and sigma of a reference's features."
        )
    if data["photos"]:
        yield "data.photos are cut into data.images, which is null; write null for both or none."
    if autoencoder["train"]:
        yield "autoencoder.train needs images, and data.images is null; write null."
    if autoencoder["normalize"] == "measured":
        yield "autoencoder.normalize is measured of images, and data.images is null; write config."
    for variant in study.trained:
        yield f"variants.{variant} is trained on images, and data.images is null; leave it out."
    for variant in study.compressed:
        if study.calibrates(variant):
            yield (
                f"variants.{variant}.apply measures the loss on images, and data.images is null; "
                "choose another criterion."
            )
        if study.is_measured(variant):
            yield (
                f"variants.{variant}.apply measures layers on images, and data.images is null; "
                "name float_layers in the place of keep_float."
            )


def _autoencoder_problems(config: dict) -> Iterator[str]:
    """Of one that is not trained here: its folder's files, or its name on the hub."""
    autoencoder = config["autoencoder"]
    source, revision = autoencoder["source"], autoencoder["revision"]
    is_on_hub = revision is not None and HUB_NAME.fullmatch(source)
    if autoencoder["train"]:
        return
    if Path(source).is_dir():
        try:
            check_autoencoder(Path(source), autoencoder)
        except InputError as error:
            yield f"autoencoder.source: {error}"
        except OSError as error:
            yield (
                f"autoencoder.source: {error.filename} cannot be read ({error.strerror}); "
                "mend its permissions."
            )
    elif not is_on_hub:
        yield (
            f"autoencoder.source {source!r} is no folder here; a name on the hub, owner/name, "
            "needs the 40 hexadecimal digits of its commit as autoencoder.revision."
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
    _name_problems,
    _class_problems,
    _folder_problems,
    _image_problems,
    _autoencoder_problems,
    _paper_problems,
    variant_problems,
)

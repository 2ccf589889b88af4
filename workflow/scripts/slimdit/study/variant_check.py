"""What does not fit together in the variants of a study, one sentence each.

Values are taken to be of the types that the config's schema asks for. What is wrong is left out of
the config, and a check ends in silence at a key that is missing: that is said elsewhere.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from slimdit.core.errors import InputError
from slimdit.core.options import AtLeast, AtMost, Divides, MultipleOf, either, limit_problems
from slimdit.diffusion.guides import INPUT
from slimdit.models.mlp import mlp_of_layer
from slimdit.models.published.source import local_files
from slimdit.storage.hub import HUB_NAME
from slimdit.study.component_options import ComponentSource, components, default_of
from slimdit.study.rows import cycle_of
from slimdit.study.schema_errors import dotted, faults, shown
from slimdit.study.study import Study

LIMITS = {  # of a variant's settings
    "sampling.steps": [AtMost("training.num_timesteps")],
    "sampling.guided_channels": [AtMost("autoencoder.latent_channels")],
    "sampling.num_samples": [AtLeast("data.num_classes * (sampling.labels == 'balanced')")],
}
TRAINED_LIMITS = {"patch_size": [Divides("data.image_size // autoencoder.downsample_factor")]}


def until_missing(problems: Iterator[str]) -> Iterator[str]:
    """What a check finds before it comes to a key that is missing."""
    with contextlib.suppress(KeyError):
        yield from problems


def variant_problems(config: dict) -> Iterator[str]:
    """Sentences about the backbones and the variants; those of all variants come repeatedly."""
    backbones, variants = dict(config["backbones"]), dict(config["variants"])
    for name, sizes in config["backbones"].items():
        for problem in limit_problems({"hidden_size": [MultipleOf("num_heads")]}, sizes):
            yield f"{dotted(('backbones', name))}.{problem}."
            del backbones[name]
    whole = Study(config)
    for variant, block in config["variants"].items():
        if cycle := cycle_of(whole.depends_on, variant, whole.variants):
            key = "from" if cycle[1] == block.get("from") else "distill.teacher"
            yield f"variants.{variant}.{key} closes a cycle ({' -> '.join(cycle)}); name another."
            del variants[variant]
    study = Study(config | {"backbones": backbones, "variants": variants})
    for variant, block in variants.items():
        own = _derivation_problems if "from" in block else _structure_problems
        others = (_training_problems, _pretrained_problems, _sampling_problems)
        for check in (own, *others, _comparison_problems):
            yield from until_missing(check(study, variant))


def _structure_problems(study: Study, variant: str) -> Iterator[str]:
    """Of the sizes that the patches, the attention and the MLP have limits for."""
    where, structure = f"variants.{variant}", study.structure(variant)
    sizes = _sizes(structure)
    for problem in limit_problems(TRAINED_LIMITS, study.config | sizes):
        yield f"{where}.{problem}."
    for kind in ("attention", "mlp"):
        component = components(kind)[structure[kind]["name"]]
        yield from _limit_problems(component, structure[kind], sizes, f"{where}.{kind}")


def _training_problems(study: Study, variant: str) -> Iterator[str]:
    """Of what the weights of a trained variant begin with, and the teacher."""
    where, block = f"variants.{variant}", study.block(variant)
    if variant not in study.trained:
        if "distill" in block:
            yield f"{where}.distill is of a training; {where} should have training, with its steps."
        return
    if "velocity" in study.structure(variant):
        yield f"{where} is trained to predict noise; its backbone should be one without velocity."
    if "from" in block:
        yield from _further_training_problems(study, variant)
    if block.get("distill", {}).get("features"):
        yield from _feature_problems(study, variant)
    if teacher := study.teacher(variant):
        own, its = map(study.num_timesteps, (variant, teacher))
        if own != its:
            yield (
                f"{where}.distill.teacher {teacher} was trained with {its} timesteps and its "
                f"student with {own}; training.num_timesteps should be the same."
            )


def _feature_problems(study: Study, variant: str) -> Iterator[str]:
    """Of features that are of another shape than the teacher's."""
    teacher = study.teacher(variant)
    own, its = map(study.structure, (variant, teacher))
    for key in ("hidden_size", "patch_size"):
        if own[key] != its[key]:
            yield (
                f"variants.{variant}.distill.features are compared one by one, and {key} is "
                f"{own[key]}, of {teacher} {its[key]}; leave it out."
            )


def _further_training_problems(study: Study, variant: str) -> Iterator[str]:
    """Of a training that goes on from a parent's weights."""
    block, where = study.block(variant), f"variants.{variant}.training"
    if "steps" not in block["training"]:
        yield f"{where} has no steps; it should say how many follow those of {block['from']}."
    own, its = study.num_timesteps(variant), study.num_timesteps(block["from"])
    if own != its:
        yield f"{where}.num_timesteps is {own}, and {block['from']} has {its}; leave it out."
    if study.calibrates(variant):
        yield (
            f"variants.{variant}.apply measures the loss on latents, beside training; make that a "
            "row of its own, and train on from it."
        )
    for options in study.operations(variant):
        outline = components("compression")[options["name"]].outline
        if outline.followers == ():
            yield f"{where}: what {options['name']} made is not trained; it should follow training."
        for key, value in outline.untrainable.items():
            if options.get(key) == value:
                yield f"{where}: what {options['name']} made is not trained with {key} {value}."


def _pretrained_problems(study: Study, variant: str) -> Iterator[str]:
    """Of where the weights of a pretrained variant are, and what they do not tell."""
    if "pretrained" not in study.block(variant):
        return
    config, where = study.config, f"variants.{variant}.pretrained"
    pretrained, backbone = study.source(variant), study.block(variant)["backbone"]
    source, revision = pretrained["source"], pretrained["revision"]
    is_made_here = study.layout.root in PurePosixPath(source).parents
    format = components("format")[pretrained["format"]]
    if not (format.outline.is_folder or is_made_here or Path(source).is_file()):
        yield (
            f"{where}.source {source!r} is no file here, and the format {format.name} is one file "
            "of weights; download it and name it."
        )
    elif Path(source).is_file() and format.outline.is_folder:
        yield (
            f"{where}.source {source!r} is a file, and the format {format.name} is a folder; name "
            "that, or another format."
        )
    elif Path(source).exists():
        try:
            local_files(source)
        except InputError as error:
            yield f"{where}.source: {error}"
    elif not is_made_here and not (revision and HUB_NAME.fullmatch(source)):
        yield (
            f"{where}.source {source!r} is no file or folder here; a name on the hub, owner/name, "
            "needs the 40 hexadecimal digits of its commit as revision."
        )
    for key in format.outline.must_name:
        if key not in config["backbones"][backbone]:
            yield (
                f"backbones.{backbone}.{key} is missing; {where} does not tell which it was "
                "trained with (docs/checkpoints.md)."
            )
    if "velocity" in config["backbones"][backbone] and study.has_images:
        yield (
            f"{where} predicts velocities (backbones.{backbone}.velocity), of which the held-out "
            "loss on images is none; write data.images: null, with data.reference_statistics."
        )
    if config["autoencoder"]["normalize"] == "measured" and not is_made_here:
        yield (
            f"autoencoder.normalize is measured, by this study's images, and {where} was trained "
            "on latents of another scale; write config, the autoencoder's own."
        )
    if len(study.seeds) > 1:
        yield (
            f"seeds are {len(study.seeds)} and {where} is one training; write one seed, and "
            "sampling.num_sets for a spread."
        )


def _sizes(structure: dict) -> dict:
    """What limits may name: the structure, how many tokens a latent has, and how many channels the
    narrowest MLP, where the options of MLPs say it."""
    mlp = structure["mlp"]
    of_kinds = [mlp_of_layer(mlp, layer) for layer in (0, mlp.get("every", 1) - 1)]
    ratios = [
        each.get("mlp_ratio", default_of("mlp", each["name"], "mlp_ratio")) for each in of_kinds
    ]
    return structure | {
        "num_tokens": (structure["input_size"] // structure["patch_size"]) ** 2,
        "num_channels": structure["hidden_size"] * min(filter(None, ratios), default=0) or None,
    }


def _limit_problems(
    component: ComponentSource, options: dict, sizes: dict, where: str
) -> Iterator[str]:
    """Of options, named by their key; of the backbone's sizes, named with the component."""
    own = {key: value for key, value in options.items() if key != "name"}
    for problem in component.limit_problems(own, sizes):
        is_option = problem.partition(" ")[0] in component.schema["properties"]
        yield f"{where}.{problem}." if is_option else f"{where} is {component.name}: {problem}."


def _derivation_problems(study: Study, variant: str) -> Iterator[str]:
    """Of a row that would be its parent, and of the first compression that does not fit, where it
    is the variant's own."""
    block, sizes, before = study.block(variant), _sizes(study.structure(variant)), None
    if not {"apply", "training", "sampling"} & block.keys():
        yield (
            f"variants.{variant} is {block['from']} unchanged; it should have apply, a list of "
            "what is done to it, training, how it is trained on, or sampling, how it is sampled "
            "otherwise."
        )
    inherited = study.operations(block["from"])
    own = block.get("apply", [])
    for position, options in enumerate([*inherited, *own], -len(inherited)):
        compression = components("compression")[options["name"]]
        where = f"variants.{variant}.apply[{position}]"
        if problem := next(_misfits(compression, before, options, sizes, where), None):
            if position >= 0:
                yield problem
            return
        for size, option in compression.outline.leaves.items():
            sizes[size] = options[option]
        before = compression.name


def _misfits(
    compression: ComponentSource, before: str | None, options: dict, sizes: dict, where: str
) -> Iterator[str]:
    """before: the compression that was applied before this one, if one was."""
    known, asked = components("compression"), compression.outline
    where_it_is = f"{where} is {compression.name}"
    followers = known[before].outline.followers if before else None
    if followers is not None and compression.name not in followers:
        rightly = f"be followed by {either(followers)}" if followers else "come last"
        yield f"{where_it_is} of what {before} made; {before} should {rightly}."
    for kind, attribute in asked.needs.items():
        known_ones = components(kind).items()
        able = [name for name, each in known_ones if getattr(each.outline, attribute, None)]
        if (name := sizes[kind]["name"]) not in able:
            yield f"{where_it_is} of {name} {kind}; it needs {either(able)}."
    hidden_size, multiple = sizes["hidden_size"], asked.multiple_of
    if hidden_size % multiple:
        yield f"{where_it_is}: hidden_size {hidden_size} is not a multiple of {multiple}."
    for problem in _limit_problems(compression, options, sizes, where):
        yield f"{problem.removesuffix('.')}, after {before}." if before else problem


def _sampling_problems(study: Study, variant: str) -> Iterator[str]:
    """Those of what all variants share are told without the variant; of a parent's, with it."""
    config, sampling, block = study.config, study.sampling(variant), study.block(variant)
    if "from" in block and "sampling" not in block:
        return
    training = {"num_timesteps": study.num_timesteps(variant)}
    own = limit_problems(LIMITS, config | {"sampling": sampling, "training": training})
    shared = list(limit_problems(LIMITS, config))
    yield from (f"{'' if each in shared else f'variants.{variant}.'}{each}." for each in own)

    def path(*keys: str) -> tuple:
        is_shared = all(sampling[key] == config["sampling"][key] for key in keys)
        return ("sampling",) if is_shared else ("variants", variant, "sampling")

    yield from _guidance_problems(study, variant)
    sampler = components("sampler")[sampling["sampler"]].outline
    if "velocity" in study.structure(variant) and sampler.needs_variance:
        yield (
            f"{dotted(path('sampler'))}.sampler {sampling['sampler']} takes a learned variance, "
            f"which {variant}, a model of velocities, has not; name ddim, dpmpp_2m or unipc."
        )
    schema = components("sampler")[sampling["sampler"]].schema
    for fault in faults(sampling["options"], schema, (*path("sampler", "options"), "options")):
        yield fault.sentence
    if cache := sampling["cache"]:
        where = f"{dotted(path('cache', 'steps'))}.cache"
        yield from _limit_problems(components("cache")[cache["name"]], cache, sampling, where)


def _guidance_problems(study: Study, variant: str) -> Iterator[str]:
    """Of an interval that holds nothing, a guide that cannot guide, and what has no effect."""
    sampling, where = study.sampling(variant), f"variants.{variant}.sampling"
    interval, guide = sampling["guidance_interval"], sampling["guide"]
    if interval and interval[0] >= interval[1]:
        yield (
            f"{where}.guidance_interval ends at {interval[1]:g} and begins at {interval[0]:g}; it "
            "should be [low, high], the lower noise level first."
        )
    if study.takes_few_steps(variant):
        yield from _few_steps_problems(study, variant)
    if guide == INPUT:
        yield from _guidance_input_problems(study, variant)
        return
    if sampling["guidance_scale"] == 1.0 and (interval or guide):
        what = "guide" if guide else "guidance_interval"
        yield f"{where}.{what} has no effect with guidance_scale 1.0; leave it out or raise that."
    if guide is None:
        return
    if study.weights_row(guide) == study.weights_row(variant):
        yield f"{where}.guide {guide} has the row's own weights; name a row of a worse model."
    own, its = map(study.num_timesteps, (variant, guide))
    if own != its:
        yield (
            f"{where}.guide {guide} was trained with {its} timesteps and the row with {own}; "
            "training.num_timesteps should be the same."
        )


def _few_steps_problems(study: Study, variant: str) -> Iterator[str]:
    """Of a way of sampling that a student of few steps was not trained for."""
    sampling, student = study.sampling(variant), study.trained_ancestor(variant)
    trained_for = {
        "sampler": "ddim",
        "options": {},
        "timesteps": "trailing",
        "steps": study.sampling(student)["steps"],
        "guidance_scale": 1.0,
        "cache": None,
    }
    for key, value in trained_for.items():
        if sampling[key] != value:
            yield (
                f"variants.{variant}.sampling.{key} is {shown(sampling[key])}, and {student} was "
                f"trained for steps of its own with {shown(value)}; write that, or sample its "
                f"teacher {study.teacher(student)} so."
            )


def _guidance_input_problems(study: Study, variant: str) -> Iterator[str]:
    """Of a model that is told the scale of its guidance."""
    sampling, where = study.sampling(variant), f"variants.{variant}.sampling"
    if not study.takes_guidance(variant):
        yield (
            f"{where}.guide is {INPUT}, which {study.trained_ancestor(variant)} was not trained "
            "with; name a row, or null, or train one with apply: [{name: guidance_input}]."
        )
    if sampling["guidance_scale"] < 1.0:
        yield f"{where}.guidance_scale is {sampling['guidance_scale']}; beside an input it is >= 1."
    if sampling["guided_channels"] != "all":
        yield f"{where}.guided_channels has no effect beside the guide {INPUT}; write all."


def _comparison_problems(study: Study, variant: str) -> Iterator[str]:
    """Of the row that it names for its comparison, by chains in which others name none."""
    is_named = "compare_with" in study.block(variant)

    def parents(row: str) -> list[str]:
        return list(filter(None, [study.parent(row)]))

    if is_named and (cycle := cycle_of(parents, variant, study.variants)):
        chain = " -> ".join(cycle)
        yield f"variants.{variant}.compare_with closes a cycle ({chain}); name another."

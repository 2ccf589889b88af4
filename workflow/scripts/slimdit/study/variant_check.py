"""What does not fit together in the variants of a study, one sentence each.

Values are taken to be of the types that the config's schema asks for. A check ends in silence at a
key that is missing, or at another variant or a backbone that is wrong: that is said elsewhere.
"""

import contextlib
from collections.abc import Callable, Iterator

from slimdit.core.options import AtLeast, AtMost, Divides, either, limit_problems
from slimdit.study.component_options import ComponentSource, components
from slimdit.study.schema_errors import dotted, faults, unknown

COMPONENTS = ("attention", "mlp")
DERIVED_KEYS = ("from", "apply", "sampling", "group")
SAMPLING_SIZES = ("steps", "guided_channels")
SIDE = "the latent's side (data.image_size / autoencoder.downsample_factor)"
CHANNELS = "autoencoder.latent_channels"
SAMPLES = "sampling.num_samples"
CLASSES = "data.num_classes, which balanced labels have all,"
SHARED_SAMPLING = ("num_samples", "prompts")  # rows are compared only with these in common


def study_problems(study) -> list[str]:
    """Sentences about a `Study`, each once."""
    return list(dict.fromkeys(until_missing(_problems(study))))


def until_missing(problems: Iterator[str]) -> Iterator[str]:
    """What a check finds before it comes to a key that is missing."""
    with contextlib.suppress(KeyError):
        yield from problems


def _problems(study) -> Iterator[str]:
    yield from until_missing(_extractor_problems(study))
    wrong_backbones = {}
    for name in study.config.get("backbones", {}):
        wrong_backbones[name] = list(until_missing(_backbone_problems(study, name)))
        yield from wrong_backbones[name]
    wrong = {
        variant
        for variant, block in study.variants.items()
        if not block or wrong_backbones.get(block.get("backbone"))
    }
    for variant in study.variants:
        for check in (_key_problems, _edge_problems, _option_problems):
            try:
                for problem in check(study, variant):
                    wrong.add(variant)
                    yield problem
            except KeyError:
                wrong.add(variant)
    for variant in study.variants:
        if not _rests_on(wrong, study, variant):
            is_derived = "from" in study.block(variant)
            for check in OF_DERIVED if is_derived else OF_TRAINED:
                yield from until_missing(check(study, variant))


def _rests_on(wrong: set[str], study, variant: str) -> bool:
    """Every cycle has a wrong variant in it, so that this ends."""
    while variant is not None and variant not in wrong:
        variant = study.depends_on(variant)
    return variant is not None


def _extractor_problems(study) -> Iterator[str]:
    name, known = study.config["evaluation"]["extractor"], study.config["extractors"]
    if name not in known:
        yield unknown("evaluation.extractor", name, known)


def _backbone_problems(study, name: str) -> Iterator[str]:
    backbone = study.config["backbones"][name]
    hidden_size, num_heads = backbone["hidden_size"], backbone["num_heads"]
    if hidden_size % num_heads or hidden_size % 4:
        yield (
            f"{dotted(('backbones', name))}.hidden_size {hidden_size} must be a multiple of 4 and "
            f"of num_heads {num_heads}."
        )


# What must be right before a variant can be resolved.


def _key_problems(study, variant: str) -> Iterator[str]:
    block, where = study.block(variant), f"variants.{variant}"
    for key in SHARED_SAMPLING:
        if key in block.get("sampling", {}):
            yield (
                f"{where}.sampling.{key} would make a row that cannot be compared; "
                f"set sampling.{key}, which all variants share."
            )
    if "from" in block:
        for key in block:
            if key not in DERIVED_KEYS:
                yield (
                    f"{where}.{key} cannot stand beside from; "
                    f"known there: {', '.join(DERIVED_KEYS)}."
                )
        if not block.get("apply"):
            yield f"{where}.apply is missing; list what is done to {block['from']}."
        return
    if "apply" in block:
        yield f"{where}.apply needs {where}.from, the variant that it is done to."
        return
    for key in ("backbone", "patch_size"):
        if block and key not in block:
            yield f"{where}.{key} is missing; a variant without from needs it."
    name, backbones = block["backbone"], study.config["backbones"]
    if name not in backbones:
        yield unknown(f"{where}.backbone", name, backbones)


def _edge_problems(study, variant: str) -> Iterator[str]:
    """Of the variant's own edge, and of a cycle that it is in."""
    key = "from" if "from" in study.block(variant) else "distill.teacher"
    where, chain = f"variants.{variant}.{key}", [variant]
    while (target := study.depends_on(chain[-1])) is not None:
        if target not in study.variants:
            if len(chain) == 1:
                yield unknown(where, target, study.variants)
            return
        if target in chain:
            if target == variant:
                yield f"{where} closes a cycle ({' -> '.join([*chain, target])}); name another."
            return
        chain.append(target)


def _option_problems(study, variant: str) -> Iterator[str]:
    block, where = study.block(variant), ("variants", variant)
    named = [(kind, block[kind], (*where, kind)) for kind in COMPONENTS if kind in block]
    for index, options in enumerate(block.get("apply", [])):
        named.append(("compression", options, (*where, "apply", index)))
    for kind, options, path in named:
        name, own = options["name"], _without_name(options)
        yield from _component_problems(kind, name, own, f"{dotted(path)}.name", path)


def _component_problems(
    kind: str, name: str, options: dict, name_at: str, options_at: tuple
) -> Iterator[str]:
    """Of a component's name, and of the types of its options."""
    if name not in components(kind):
        yield unknown(name_at, name, components(kind))
        return
    for fault in faults(options, components(kind)[name].schema, options_at):
        yield fault.sentence


# What must be right of a trained variant.


def _size_problems(study, variant: str) -> Iterator[str]:
    """Of the sizes that attention and MLP have limits for."""
    structure, sizes = study.structure(variant), _sizes(study, variant)
    for kind in COMPONENTS:
        component = components(kind)[structure[kind]["name"]]
        yield from _limit_problems(component, structure[kind], sizes, f"variants.{variant}.{kind}")


def _limit_problems(
    component: ComponentSource, options: dict, sizes: dict, where: str
) -> Iterator[str]:
    """Of options, named by their key; of the backbone's sizes, named with the component."""
    for problem in component.limit_problems(_without_name(options), sizes):
        is_option = problem.partition(" ")[0] in component.schema["properties"]
        yield f"{where}.{problem}." if is_option else f"{where} is {component.name}: {problem}."


def _sizes(study, variant: str) -> dict:
    """What limits may name: the structure, and how many tokens a latent has."""
    structure = study.structure(variant)
    return structure | {"num_tokens": (structure["input_size"] // structure["patch_size"]) ** 2}


def _without_name(options: dict) -> dict:
    return {key: value for key, value in options.items() if key != "name"}


def _teacher_problems(study, variant: str) -> Iterator[str]:
    teacher = study.teacher(variant)
    if teacher is None:
        return
    own = study.training(variant)["num_timesteps"]
    its = study.training(study.trained_ancestor(teacher))["num_timesteps"]
    if own != its:
        yield (
            f"variants.{variant}.distill.teacher {teacher} was trained with {its} timesteps and "
            f"its student with {own}; training.num_timesteps should be the same."
        )


# What must be right of a derived variant.


def _compression_problems(study, variant: str) -> Iterator[str]:
    """Of the first compression that does not fit, where it is the variant's own."""
    block, sizes, before = study.block(variant), _sizes(study, variant), None
    inherited = study.operations(block["from"])
    for position, options in enumerate([*inherited, *block["apply"]], -len(inherited)):
        compression = components("compression")[options["name"]]
        where = f"variants.{variant}.apply[{position}]"
        if problem := next(_misfits(compression, before, options, sizes, where), None):
            if position >= 0:
                yield problem
            return
        for size, option in compression.attributes["leaves"].items():
            sizes[size] = options[option]
        before = compression.name


def _misfits(
    compression: ComponentSource, before: str | None, options: dict, sizes: dict, where: str
) -> Iterator[str]:
    """before: the compression that was applied before this one, if one was."""
    known, asked = components("compression"), compression.attributes
    where_it_is = f"{where} is {compression.name}"
    if before and known[before].attributes["is_last"]:
        yield f"{where_it_is} of what {before} made; {before} should come last."
    if attribute := asked["needs"]:
        attentions = components("attention").items()
        able = [name for name, each in attentions if each.attributes[attribute]]
        if (name := sizes["attention"]["name"]) not in able:
            yield f"{where_it_is} of {name} attention; it needs {either(able)}."
    hidden_size, multiple = sizes["hidden_size"], asked["multiple_of"]
    if hidden_size % multiple:
        yield f"{where_it_is}: hidden_size {hidden_size} is not a multiple of {multiple}."
    for problem in _limit_problems(compression, options, sizes, where):
        yield f"{problem.removesuffix('.')}, after {before}." if before else problem


# What must be right of either.


def _setting_problems(study, variant: str) -> Iterator[str]:
    """Of numbers that others limit, each named where it is set."""
    sampling, root, structure = (
        study.sampling(variant),
        study.trained_ancestor(variant),
        _sizes(study, variant),
    )
    patch_size = f"variants.{root}.patch_size"
    steps, guided = (_place(study, variant, "sampling", key) for key in SAMPLING_SIZES)
    timesteps = _place(study, root, "training", "num_timesteps")
    sizes = {
        patch_size: structure["patch_size"],
        SIDE: structure["input_size"],
        steps: sampling["steps"],
        timesteps: study.training(root)["num_timesteps"],
        guided: None if sampling["guided_channels"] == "all" else sampling["guided_channels"],
        CHANNELS: structure["in_channels"],
        SAMPLES: sampling["num_samples"] if sampling["labels"] == "balanced" else None,
        CLASSES: structure["num_classes"],
    }
    limits = {
        patch_size: [Divides(SIDE)],
        steps: [AtMost(timesteps)],
        guided: [AtMost(CHANNELS)],
        SAMPLES: [AtLeast(CLASSES)],
    }
    yield from (f"{problem}." for problem in limit_problems(limits, sizes))


def _sampler_problems(study, variant: str) -> Iterator[str]:
    sampling = study.sampling(variant)
    is_own = {"sampler", "options"} & study.block(variant).get("sampling", {}).keys()
    path = (*(("variants", variant) if is_own else ()), "sampling", "options")
    name = _place(study, variant, "sampling", "sampler")
    yield from _component_problems("sampler", sampling["sampler"], sampling["options"], name, path)


def _place(study, variant: str, section: str, key: str) -> str:
    """Where a setting of a variant is: in its block, or in what all share."""
    is_own = key in study.block(variant).get(section, {})
    return f"variants.{variant}.{section}.{key}" if is_own else f"{section}.{key}"


Check = Callable[..., Iterator[str]]
OF_BOTH: tuple[Check, ...] = (_setting_problems, _sampler_problems)
OF_TRAINED = (_size_problems, _teacher_problems, *OF_BOTH)
OF_DERIVED = (_compression_problems, *OF_BOTH)

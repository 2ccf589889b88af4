"""What does not fit together in the variants of a study, one sentence each.

Values are taken to be of the types that the config's schema asks for. A check ends in silence at a
key that is missing, or at another variant or a backbone that is wrong: that is said elsewhere.
"""

import contextlib
from collections.abc import Iterator

from slimdit.core.options import AtLeast, AtMost, Divides, MultipleOf, either, limit_problems
from slimdit.study.component_options import ComponentSource, components
from slimdit.study.schema_errors import dotted, faults, unknown

COMPONENTS = ("attention", "mlp")
LIMITS = {  # of a variant's settings
    "sampling.steps": [AtMost("training.num_timesteps")],
    "sampling.guided_channels": [AtMost("autoencoder.latent_channels")],
    "sampling.num_samples": [AtLeast("data.num_classes * (sampling.labels == 'balanced')")],
}
TRAINED_LIMITS = {"patch_size": [Divides("data.image_size // autoencoder.downsample_factor")]}


def study_problems(study) -> list[str]:
    """Sentences about a `Study`, each once."""
    return list(dict.fromkeys(until_missing(_problems(study))))


def until_missing(problems: Iterator[str]) -> Iterator[str]:
    """What a check finds before it comes to a key that is missing."""
    with contextlib.suppress(KeyError):
        yield from problems


def _problems(study) -> Iterator[str]:
    name, known = study.config["evaluation"]["extractor"], study.config["extractors"]
    if name not in known:
        yield unknown("evaluation.extractor", name, known)
    backbones = {}  # name -> problems
    for name, sizes in study.config["backbones"].items():
        where = dotted(("backbones", name))
        found = limit_problems({"hidden_size": [MultipleOf("num_heads")]}, sizes)
        backbones[name] = [f"{where}.{problem}." for problem in found]
        yield from backbones[name]
    wrong = set()
    for variant, block in study.variants.items():
        problems = [
            *_edge_problems(study, variant),
            *until_missing(_option_problems(study, variant)),
        ]
        yield from problems
        is_complete = block.keys() >= ({"apply"} if "from" in block else {"backbone", "patch_size"})
        if problems or not is_complete or backbones.get(block.get("backbone")):
            wrong.add(variant)
    for variant, block in study.variants.items():
        if not _rests_on(wrong, study, variant):
            own = _compression_problems if "from" in block else _training_problems
            for check in (own, _sampling_problems):
                yield from until_missing(check(study, variant))


def _rests_on(wrong: set[str], study, variant: str) -> bool:
    """Every cycle has a wrong variant in it, so that this ends."""
    while variant is not None and variant not in wrong:
        variant = study.depends_on(variant)
    return variant is not None


# What must be right before a variant can be resolved.


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
    if "backbone" in block and block["backbone"] not in study.config["backbones"]:
        yield unknown(f"{dotted(where)}.backbone", block["backbone"], study.config["backbones"])
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


# What must be right of a trained variant, of a derived one, and of both.


def _training_problems(study, variant: str) -> Iterator[str]:
    """Of the sizes that the patches, the attention and the MLP have limits for, and the teacher."""
    where, structure, sizes = (
        f"variants.{variant}",
        study.structure(variant),
        _sizes(study, variant),
    )
    for problem in limit_problems(TRAINED_LIMITS, study.config | sizes):
        yield f"{where}.{problem}."
    for kind in COMPONENTS:
        component = components(kind)[structure[kind]["name"]]
        yield from _limit_problems(component, structure[kind], sizes, f"{where}.{kind}")
    if teacher := study.teacher(variant):
        own, its = (
            study.training(study.trained_ancestor(name))["num_timesteps"]
            for name in (variant, teacher)
        )
        if own != its:
            yield (
                f"{where}.distill.teacher {teacher} was trained with {its} timesteps and its "
                f"student with {own}; training.num_timesteps should be the same."
            )


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
        for size, option in compression.outline.leaves.items():
            sizes[size] = options[option]
        before = compression.name


def _misfits(
    compression: ComponentSource, before: str | None, options: dict, sizes: dict, where: str
) -> Iterator[str]:
    """before: the compression that was applied before this one, if one was."""
    known, asked = components("compression"), compression.outline
    where_it_is = f"{where} is {compression.name}"
    if before and known[before].outline.is_last:
        yield f"{where_it_is} of what {before} made; {before} should come last."
    if attribute := asked.needs:
        attentions = components("attention").items()
        able = [name for name, each in attentions if getattr(each.outline, attribute)]
        if (name := sizes["attention"]["name"]) not in able:
            yield f"{where_it_is} of {name} attention; it needs {either(able)}."
    hidden_size, multiple = sizes["hidden_size"], asked.multiple_of
    if hidden_size % multiple:
        yield f"{where_it_is}: hidden_size {hidden_size} is not a multiple of {multiple}."
    for problem in _limit_problems(compression, options, sizes, where):
        yield f"{problem.removesuffix('.')}, after {before}." if before else problem


def _sampling_problems(study, variant: str) -> Iterator[str]:
    """Those of what all variants share are told without the variant."""
    config, sampling = study.config, study.sampling(variant)
    training = study.training(study.trained_ancestor(variant))
    own = limit_problems(LIMITS, config | {"sampling": sampling, "training": training})
    shared = list(limit_problems(LIMITS, config))
    yield from (f"{'' if each in shared else f'variants.{variant}.'}{each}." for each in own)
    is_shared = all(sampling[key] == config["sampling"][key] for key in ("sampler", "options"))
    path = ("sampling",) if is_shared else ("variants", variant, "sampling")
    yield from _component_problems(
        "sampler",
        sampling["sampler"],
        sampling["options"],
        f"{dotted(path)}.sampler",
        (*path, "options"),
    )

"""What does not fit together in the variants of a study, one sentence each.

Values are taken to be of the types that the config's schema asks for. A check ends in silence at a
key that is missing, or at another variant that is wrong: that is said elsewhere.
"""

import contextlib
import math
from collections.abc import Iterator

from slimdit.study.component_options import option_schemas
from slimdit.study.schema_errors import dotted, faults, unknown

PARTS = ("attention", "mlp")
DERIVED_KEYS = ("from", "apply", "sampling", "group")
SHARED_SAMPLING = ("num_samples", "prompts")  # rows are compared only with these in common
EVERY = {"type": "integer", "minimum": 1}  # option of any mlp, which build_model takes itself
SIZES = ("head_size", "mlp_ratio", "num_experts")  # options that are at least 1
UNPRUNABLE = ("mediated", "focused")
QUANTIZATIONS = {  # and what a backbone's hidden_size must be a multiple of
    "int8_weight_only": 1,
    "int8_dynamic": 8,
    "fp8_dynamic": 16,
    "int4_weight_only": 16,
}


def study_problems(study) -> list[str]:
    """Sentences about a `Study`, each once."""
    return list(dict.fromkeys(until_missing(_problems(study))))


def until_missing(problems: Iterator[str]) -> Iterator[str]:
    """What a check finds before it comes to a key that is missing."""
    with contextlib.suppress(KeyError):
        yield from problems


def _problems(study) -> Iterator[str]:
    for check in (_extractor_problems, _shared_size_problems):
        yield from until_missing(check(study))
    wrong = {variant for variant in study.variants if not study.block(variant)}
    for variant in study.variants:
        for check in (_key_problems, _edge_problems, _part_problems):
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
        variant = study.edge(variant)
    return variant is not None


def _extractor_problems(study) -> Iterator[str]:
    name, known = study.config["evaluation"]["extractor"], study.config["extractors"]
    if name not in known:
        yield unknown("evaluation.extractor", name, known)


def _shared_size_problems(study) -> Iterator[str]:
    for name, size in study.config["backbones"].items():
        width, heads = size["hidden_size"], size["num_heads"]
        if width % heads or width % 4:
            yield (
                f"{dotted(('backbones', name))}.hidden_size {width} must be a multiple of 4 and of "
                f"num_heads {heads}."
            )
    image_size = study.config["data"]["image_size"]
    factor = study.config["autoencoder"]["downsample_factor"]
    if image_size % factor:
        yield (
            f"data.image_size {image_size} is not a multiple of "
            f"autoencoder.downsample_factor {factor}."
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
    while (target := study.edge(chain[-1])) is not None:
        if target not in study.variants:
            if len(chain) == 1:
                yield unknown(where, target, study.variants)
            return
        if target in chain:
            if target == variant:
                yield f"{where} closes a cycle ({' -> '.join([*chain, target])}); name another."
            return
        chain.append(target)


def _part_problems(study, variant: str) -> Iterator[str]:
    block = study.block(variant)
    for part in PARTS:
        if part in block:
            yield from _option_problems(part, block[part], ("variants", variant, part))
    for index, operation in enumerate(block.get("apply", [])):
        yield from _option_problems("compression", operation, ("variants", variant, "apply", index))


def _option_problems(registry: str, options: dict, path: tuple) -> Iterator[str]:
    """Of a part that `options` names: {"name": ..., **its own options}."""
    kinds, name = option_schemas(registry), options["name"]
    if name not in kinds:
        yield unknown(f"{dotted(path)}.name", name, kinds)
        return
    schema = kinds[name]
    if registry == "mlp":
        schema = schema | {"properties": {**schema["properties"], "every": EVERY}}
    own = {key: value for key, value in options.items() if key != "name"}
    for fault in faults(own, schema, path):
        yield fault.sentence


# What must be right of a trained variant.


def _patch_problems(study, variant: str) -> Iterator[str]:
    structure = study.structure(variant)
    side, patch_size = structure["input_size"], structure["patch_size"]
    if side % patch_size:
        yield (
            f"variants.{variant}.patch_size {patch_size} does not divide the latent's side "
            f"{side} (data.image_size / autoencoder.downsample_factor)."
        )


def _attention_problems(study, variant: str) -> Iterator[str]:
    structure, where = study.structure(variant), f"variants.{variant}.attention"
    options, heads = structure["attention"], structure["num_heads"]
    if options["name"] == "shallow" and structure["hidden_size"] % (2 * heads):
        yield (
            f"{where}.name shallow halves the heads: hidden_size {structure['hidden_size']} of "
            f"its backbone must be a multiple of 2 * num_heads, {2 * heads}."
        )
    group_size = options.get("group_size", 1)
    if group_size < 1 or heads % group_size:
        yield f"{where}.group_size {group_size} does not divide num_heads {heads}."
    mediators = options.get("num_mediators", 1)
    side, patch_size = structure["input_size"], structure["patch_size"]
    if mediators < 1 or math.isqrt(mediators) ** 2 != mediators:
        yield f"{where}.num_mediators {mediators} is not a square number (4, 9, 16, ...)."
    elif side % patch_size == 0 and mediators > (side // patch_size) ** 2:
        yield (
            f"{where}.num_mediators {mediators} is more than the {(side // patch_size) ** 2} "
            f"tokens of a latent of side {side} in patches of {patch_size}."
        )


def _mlp_problems(study, variant: str) -> Iterator[str]:
    structure, where = study.structure(variant), f"variants.{variant}.mlp"
    options, depth = structure["mlp"], structure["depth"]
    if options.get("every", 1) > depth:
        yield f"{where}.every {options['every']} is more than the {depth} blocks of its backbone."
    if "top_k" in options and not 1 <= options["top_k"] <= options["num_experts"]:
        yield (
            f"{where}.top_k {options['top_k']} is not between 1 and "
            f"num_experts {options['num_experts']}."
        )


def _option_size_problems(study, variant: str) -> Iterator[str]:
    for part in PARTS:
        options = study.structure(variant)[part]
        for name in SIZES:
            if options.get(name) is not None and options[name] < 1:
                yield (
                    f"variants.{variant}.{part}.{name} is {options[name]}; "
                    "it should be a whole number >= 1."
                )


def _teacher_problems(study, variant: str) -> Iterator[str]:
    teacher = study.teacher(variant)
    if teacher is None:
        return
    own = study.training(variant)["num_timesteps"]
    its = study.training(study.root(teacher))["num_timesteps"]
    if own != its:
        yield (
            f"variants.{variant}.distill.teacher {teacher} was trained with {its} timesteps and "
            f"its student with {own}; training.num_timesteps should be the same."
        )


# What must be right of a derived variant.


def _operation_problems(study, variant: str) -> Iterator[str]:
    structure, block = study.structure(variant), study.block(variant)
    attention, heads = structure["attention"]["name"], structure["num_heads"]
    inherited = study.operations(block["from"])
    quantization, width = None, structure["hidden_size"]
    for position, operation in enumerate([*inherited, *block["apply"]], -len(inherited)):
        where, name = f"variants.{variant}.apply[{position}]", operation["name"]
        problem = None
        if quantization:
            problem = f"{where} is {name} of quantized weights; {quantization} should come last."
        elif name == "prune_heads" and attention in UNPRUNABLE:
            problem = f"{where} is prune_heads of {attention} attention; it needs full or shallow."
        elif name == "prune_heads" and not 1 <= operation["keep_heads"] <= heads:
            problem = (
                f"{where}.keep_heads {operation['keep_heads']} is not between 1 and the "
                f"{heads} heads that are left."
            )
        elif width % (multiple := QUANTIZATIONS.get(name, 1)):
            problem = (
                f"{where} is {name}: hidden_size {width} of its backbone must be a multiple of "
                f"{multiple}."
            )
        if problem:
            if position >= 0:
                yield problem
            return
        quantization = name if name in QUANTIZATIONS else None
        if name == "prune_heads" and operation.get("mode") != "masked":
            heads = operation["keep_heads"]


# What must be right of either.


def _sampling_problems(study, variant: str) -> Iterator[str]:
    sampling, root = study.sampling(variant), study.root(variant)
    timesteps = study.training(root)["num_timesteps"]
    if sampling["steps"] > timesteps:
        yield (
            f"{_place(study, variant, 'sampling', 'steps')} {sampling['steps']} is more than "
            f"{_place(study, root, 'training', 'num_timesteps')} {timesteps}."
        )
    guided, channels = sampling["guided_channels"], study.config["autoencoder"]["latent_channels"]
    if guided != "all" and guided > channels:
        yield (
            f"{_place(study, variant, 'sampling', 'guided_channels')} {guided} is more than "
            f"autoencoder.latent_channels {channels}; it should be all or at most that."
        )
    samples, classes = sampling["num_samples"], study.config["data"]["num_classes"]
    if sampling["labels"] == "balanced" and samples < classes:
        yield (
            f"sampling.num_samples {samples} is less than data.num_classes {classes}; "
            "balanced labels should have each class at least once."
        )


def _sampler_problems(study, variant: str) -> Iterator[str]:
    sampling, samplers = study.sampling(variant), option_schemas("sampler")
    name, options = sampling["sampler"], sampling["options"]
    if name not in samplers:
        yield unknown(_place(study, variant, "sampling", "sampler"), name, samplers)
        return
    is_own = {"sampler", "options"} & study.block(variant).get("sampling", {}).keys()
    path = ("variants", variant) if is_own else ()
    found = faults(options, samplers[name], (*path, "sampling", "options"))
    yield from (fault.sentence for fault in found)
    if not found and not 0 <= options.get("eta", 0) <= 1:
        where = dotted((*path, "sampling", "options", "eta"))
        yield f"{where} is {options['eta']}; it should be a number >= 0 and <= 1."


def _place(study, variant: str, section: str, key: str) -> str:
    """Where a setting of a variant is: in its block, or in what all share."""
    is_own = key in study.block(variant).get(section, {})
    return f"variants.{variant}.{section}.{key}" if is_own else f"{section}.{key}"


OF_BOTH = (_sampling_problems, _sampler_problems)
OF_TRAINED = (
    _patch_problems,
    _attention_problems,
    _mlp_problems,
    _option_size_problems,
    _teacher_problems,
    *OF_BOTH,
)
OF_DERIVED = (_operation_problems, *OF_BOTH)

"""Overlays on config.yaml as a researcher may write them, drawn at random.

Each adds a trained row `own` and a chain of rows derived from it, and now and then a teacher with
a chain of its own; the row that is asked about is the last. All sizes are small.
"""

from typing import NamedTuple

from hypothesis import strategies as st
from subjects import load_config, merged

from slimdit.study.study import Study

CONFIG = load_config()
IMAGE_SIZES = (16, 24)  # latents of 8 and 12, which config.yaml's own patches and mediators fit
ATTENTIONS = ("full", "shallow", "mediated", "focused", "full_local")
PRUNABLE = {"full", "shallow"}

TRAINING = {
    "steps": st.integers(1, 10_000),
    "batch_size": st.integers(1, 5),
    "learning_rate": st.floats(1e-6, 1e-1),
    "cooldown_fraction": st.floats(0, 1),
    "adam_betas": st.lists(st.floats(0, 0.9999), min_size=2, max_size=2),
    "weight_decay": st.floats(0, 1),
    "ema_decay": st.floats(0, 1),
    "label_dropout": st.floats(0, 1),
    "horizontal_flip": st.booleans(),
    "balance_weight": st.floats(0, 1),
    "precision": st.sampled_from(["auto", "float32", "bfloat16"]),
    "compile": st.sampled_from(["auto", "off"]),  # compiling takes a minute
    "log_every_steps": st.integers(1, 100),
    "micro_batch_size": st.none() | st.integers(1, 5),
    "save_every_steps": st.integers(1, 100),
}

NUM_TIMESTEPS = st.integers(21, 2000)

SAMPLERS = st.one_of(
    st.just({"sampler": "ddim", "options": {}}),
    st.builds(lambda eta: {"sampler": "ddim", "options": {"eta": eta}}, st.floats(0, 1)),
    st.sampled_from(["ddpm", "dpmpp_2m", "unipc"]).map(
        lambda name: {"sampler": name, "options": {}}
    ),
)
SPACINGS = ("linspace", "trailing", "uniform_lambda", "optimised")
FEWEST_CACHED = 5  # steps of a sampling with a cache
CACHED = {"every": st.integers(2, FEWEST_CACHED - 1), "of": st.sampled_from(["blocks", "stack"])}
CACHES = st.one_of(
    st.fixed_dictionaries({"name": st.just("reuse")}, optional=CACHED),
    st.fixed_dictionaries(
        {"name": st.just("extrapolate")},
        optional=CACHED | {"along": st.sampled_from(["steps", "lambda"])},
    ),
    st.fixed_dictionaries(
        {
            "name": st.just("listed"),
            "full_steps": st.lists(st.integers(0, FEWEST_CACHED - 1)),
        },
        optional={"of": CACHED["of"]},
    ),
)


@st.composite
def backbones(draw, attention: str) -> dict:
    """Sizes that fit together: heads are at least 4 wide, and even where attention halves them."""
    num_heads = draw(st.sampled_from([1, 2, 3, 4, 6, 8]))
    multiple = 2 * num_heads if attention == "shallow" else num_heads
    hidden_sizes = [size for size in range(max(8, 4 * num_heads), 49, 4) if size % multiple == 0]
    return {
        "depth": draw(st.integers(1, 3)),
        "hidden_size": draw(st.sampled_from(hidden_sizes)),
        "num_heads": num_heads,
    }


def trainings(num_timesteps: int | None) -> st.SearchStrategy[dict]:
    """`training`, with so many timesteps unless None."""
    fixed = {"num_timesteps": st.just(num_timesteps)} if num_timesteps else {}
    return st.fixed_dictionaries(fixed, optional=TRAINING)


def samplings(channels: int) -> st.SearchStrategy[dict]:
    """`sampling` of a latent of so many channels; a sampler comes with its options."""
    optional = {
        "num_sets": st.integers(1, 3),
        "labels": st.sampled_from(["balanced", "random"]),
        "timesteps": st.sampled_from(SPACINGS),
        "guidance_scale": st.just(1.0) | st.floats(0, 4),
        "guided_channels": st.just("all") | st.integers(0, channels),
        "seed": st.integers(0, 2**32),
        "batch_size": st.integers(1, 64),
    }
    others = st.fixed_dictionaries({}, optional=optional)
    steps = st.fixed_dictionaries({"steps": st.integers(FEWEST_CACHED, 12), "cache": CACHES})
    steps |= st.fixed_dictionaries({"steps": st.integers(1, 12), "cache": st.none()})
    parts = st.just({}) | SAMPLERS, others, st.just({}) | steps
    return st.builds(lambda sampler, other, steps: sampler | other | steps, *parts)


def attentions(kind: str, num_heads: int, grid_size: int) -> st.SearchStrategy[dict | None]:
    """`attention` of a kind; None: the block leaves it out."""
    squares = [side**2 for side in range(1, grid_size + 1)]
    local = {"local": st.booleans()}
    options = {
        "full": st.just({}) | st.builds(dict, head_dim=st.integers(1, 12)),
        "shallow": st.just({}),
        "mediated": st.fixed_dictionaries(
            {"num_mediators": st.sampled_from(squares)}, optional=local
        ),
        "focused": st.fixed_dictionaries(
            {"group_size": st.sampled_from(divisors(num_heads))}, optional=local
        ),
        "full_local": st.just({}),
    }
    named = st.builds(lambda own: {"name": kind, **own}, options[kind])
    return st.none() | named if kind == "full" else named


def mlps(depth: int) -> st.SearchStrategy[dict | None]:
    """`mlp`, dense or a mixture in some of the blocks; None: the block leaves it out."""
    optional = {"mlp_ratio": st.integers(1, 4), "every": st.integers(1, depth)}
    dense = st.fixed_dictionaries({"name": st.just("dense")}, optional=optional)
    counts = st.tuples(st.integers(1, 5), st.integers(1, 5)).map(sorted)
    mixture = counts.flatmap(
        lambda count: st.fixed_dictionaries(
            {"name": st.just("moe"), "top_k": st.just(count[0]), "num_experts": st.just(count[1])},
            optional=optional,
        )
    )
    return st.sampled_from([st.none(), dense, mixture, mixture]).flatmap(lambda mlp: mlp)


@st.composite
def compressions(draw, heads: int, channels: int, quantizations: list[str]) -> list[dict]:
    """Prunings of what attention of so many heads and MLPs of so many channels have left (none: it
    has none to prune), then perhaps one of the quantizations: their weights are not pruned or
    quantized again.
    """
    chain = []
    for _ in range(draw(st.integers(0, 3)) if heads else 0):
        pruning = {"name": "prune_heads", "keep_heads": draw(st.integers(1, heads))}
        pruning |= draw(st.sampled_from([{}, {"mode": "structural"}, {"mode": "masked"}]))
        criteria = ("random", "taylor", "least_damage")
        pruning |= draw(st.sampled_from([{}, *({"criterion": each} for each in criteria)]))
        chain.append(pruning)
        heads = pruning["keep_heads"]
    for _ in range(draw(st.integers(0, 2)) if channels else 0):
        # Sizes that the quantizations take.
        channels = draw(st.sampled_from([*range(16, channels, 16), channels]))
        pruning = {"name": "prune_mlp", "keep_channels": channels}
        chain.append(pruning | draw(st.sampled_from([{}, {"criterion": "taylor"}])))
    if name := draw(st.sampled_from([None, *quantizations])):
        floats = draw(st.sampled_from([{}, {"float_layers": ["modulation.1", "blocks.0.mlp.fc2"]}]))
        chain.append({"name": name, **(floats if channels else {})})
    return chain


def num_channels(hidden_size: int, mlp: dict | None) -> int:
    """Of the narrowest MLP; 0 where some are mixtures."""
    own = {"mlp_ratio": 4, "every": 1, **(mlp or {"name": "dense"})}
    ratio = own["mlp_ratio"] if own["every"] == 1 else min(4, own["mlp_ratio"])
    return hidden_size * ratio * (own["name"] == "dense")


def quantizations(hidden_size: int, mlp: dict | None) -> list[str]:
    """Those that find a layer of their sizes on a CPU: one of a dense MLP, where others depend."""
    is_dense = mlp is None or mlp["name"] == "dense" or mlp.get("every", 1) > 1
    sizes = {"int8_dynamic": 8, "fp8_dynamic": 16} if is_dense else {}
    fitting = [name for name, multiple in sizes.items() if hidden_size % multiple == 0]
    return ["int8_weight_only", *fitting]


def divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


class Common(NamedTuple):
    """What the rows of one overlay share."""

    side: int  # of the latent
    channels: int
    num_timesteps: int | None  # of student and teacher, where not the study's


@st.composite
def chains(draw, name: str, attention: str, common: Common, teacher: str | None = None) -> dict:
    """The overlay of the trained row `name`, and of rows derived each from the one before."""
    backbone = draw(backbones(attention))
    heads = backbone["num_heads"]
    patch_size = draw(
        st.sampled_from([p for p in range(1, common.side + 1) if not common.side % p])
    )
    block = {"group": "Drawn", "backbone": name, "patch_size": patch_size}
    if own_attention := draw(attentions(attention, heads, common.side // patch_size)):
        block["attention"] = own_attention
    if mlp := draw(mlps(backbone["depth"])):
        block["mlp"] = mlp
    if common.num_timesteps or draw(st.booleans()):
        block["training"] = draw(trainings(common.num_timesteps))
    if draw(st.booleans()):
        block["sampling"] = draw(samplings(common.channels))
    if teacher:
        block["distill"] = {"teacher": teacher, "alpha": draw(st.floats(0, 1))}

    variants = {name: block}
    fitting = quantizations(backbone["hidden_size"], mlp)
    prunable = heads if attention in PRUNABLE else 0, num_channels(backbone["hidden_size"], mlp)
    for operation in draw(compressions(*prunable, fitting)):
        last = list(variants)[-1]
        if "apply" in variants[last] and draw(st.booleans()):
            variants[last]["apply"].append(operation)
        else:
            derived = {"group": "Drawn", "from": last, "apply": [operation]}
            if draw(st.booleans()):
                derived["sampling"] = draw(samplings(common.channels))
            variants[f"{name}-{len(variants)}"] = derived
    return {"backbones": {name: backbone}, "variants": variants}


@st.composite
def overlays(draw, attention: str) -> dict:
    """An overlay whose row `own` has this kind of attention."""
    image_size, channels = draw(st.sampled_from(IMAGE_SIZES)), draw(st.integers(1, 4))
    overlay = {
        "data": {"image_size": image_size, "num_classes": draw(st.integers(2, 6))},
        "autoencoder": {"latent_channels": channels, "train": {"crop_size": 16}},
        "training": draw(trainings(draw(st.none() | NUM_TIMESTEPS))),
        "sampling": draw(samplings(channels)) | {"prompts": None},
    }
    side = image_size // CONFIG["autoencoder"]["downsample_factor"]
    common = Common(side, channels, draw(st.none() | NUM_TIMESTEPS))
    teacher = None
    if draw(st.booleans()):
        kind = draw(st.sampled_from(ATTENTIONS))
        overlay = merged(overlay, draw(chains("teacher", kind, common)))
        teacher = last_row(overlay)
    return merged(overlay, draw(chains("own", attention, common, teacher)))


def study_of(overlay: dict) -> Study:
    return Study(merged(CONFIG, overlay))


def last_row(overlay: dict) -> str:
    return list(overlay["variants"])[-1]

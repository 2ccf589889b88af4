"""A study's config resolved into what each of its rows is: torch-free, used by the Snakefile.

A variant is the base except for a component (`attention`, `mlp`), a distillation (`distill`),
compressions of a parent (`from`, `apply`), a training that goes on from the parent's weights
(`from`, `training`), or a way of sampling (`sampling`), which alone makes a row of a parent's
weights; `training` overrides the study's. Or its weights are a published checkpoint's
(`pretrained`).
"""

import functools

from slimdit.models import attention, mlp
from slimdit.profiling.modes import MODES
from slimdit.study.component_options import components
from slimdit.study.layout import Layout

BASE_COMPONENTS = {"attention": attention.BASE, "mlp": mlp.BASE}
# Of a sampling: what its time depends on.
TIMED_SAMPLING = (
    "sampler",
    "steps",
    "timesteps",
    "options",
    "guidance_scale",
    "guided_channels",
    "guidance_interval",
    "guide",
    "cache",
    "precision",
    "compile",
)
GIVEN = ("from", "pretrained")  # of a variant: weights that it begins with
CHANGED = ("apply", "training")  # of a variant: what makes other weights of them
HOW = ("save_every_steps", "micro_batch_size")  # of a training: they say nothing of what comes out


def identity(options: dict) -> dict:
    """Of a training's options those that its result depends on, but for rounding."""
    return {key: value for key, value in options.items() if key not in HOW}


class Study:
    """The variants of one config, in which `config_check` finds no problem."""

    def __init__(self, config: dict):
        self.config = config

    @property
    def name(self) -> str:
        return self.config["study"]

    @property
    def layout(self) -> Layout:
        return Layout(self.name)

    @property
    def seeds(self) -> list[int]:
        return self.config["seeds"]

    @property
    def variants(self) -> dict[str, dict]:
        return self.config["variants"]

    @property
    def has_images(self) -> bool:
        """Whether it has real images, not a reference's statistics alone."""
        return self.config["data"]["images"] is not None

    @property
    def trained(self) -> list[str]:
        """The variants with a training of their own, from nothing or from a parent's weights."""
        return list(filter(self._is_trained, self.variants))

    @property
    def trained_on(self) -> list[str]:
        """Those whose training goes on from a parent's weights."""
        return [name for name in self.trained if "from" in self.block(name)]

    @property
    def pretrained(self) -> list[str]:
        """The variants whose weights are a published checkpoint's."""
        return [name for name, block in self.variants.items() if "pretrained" in block]

    @property
    def compressed(self) -> list[str]:
        """The variants that are compressed and not trained behind that."""
        return [
            name
            for name, block in self.variants.items()
            if "apply" in block and not self._is_trained(name)
        ]

    @property
    def with_weights(self) -> list[str]:
        """The variants that do not only sample another's weights otherwise."""
        return [name for name in self.variants if self.weights_row(name) == name]

    def block(self, variant: str) -> dict:
        return self.variants[variant]

    def weights_row(self, variant: str) -> str:
        """The variant whose weights this one samples: itself, or one that it is derived from."""
        while "from" in (block := self.block(variant)) and block.keys().isdisjoint(CHANGED):
            variant = block["from"]
        return variant

    def trained_ancestor(self, variant: str) -> str:
        """The trained or pretrained variant that `variant` is, or whose training its weights are
        of."""
        while "from" in self.block(variant) and not self._is_trained(variant):
            variant = self.block(variant)["from"]
        return variant

    def root(self, variant: str) -> str:
        """The variant with a backbone that `variant` is, or is derived from."""
        while "from" in self.block(variant):
            variant = self.block(variant)["from"]
        return variant

    def teacher(self, variant: str) -> str | None:
        return self.block(variant).get("distill", {}).get("teacher")

    def depends_on(self, variant: str) -> list[str]:
        """The variants that this one is made from, by what is done to one or learned from it."""
        return list(filter(None, (self.block(variant).get("from"), self.teacher(variant))))

    def operations(self, variant: str) -> list[dict]:
        """What is applied to the root's weights to get `variant`, in order."""
        block = self.block(variant)
        if "from" not in block:
            return []
        return self.operations(block["from"]) + block.get("apply", [])

    def calibrates(self, variant: str) -> bool:
        """Whether a compression of the row's own measures the loss on training latents."""
        known = components("compression")
        return any(
            options.get(key) in values
            for options in self.block(variant).get("apply", ())
            for key, values in known[options["name"]].outline.calibrates.items()
        )

    def is_measured(self, variant: str) -> bool:
        """Whether a step measures for a compression of the row's own what it leaves as it is."""
        known = components("compression")
        applied = self.block(variant).get("apply", ())
        return any(options.get(known[options["name"]].outline.measured) for options in applied)

    def calibrates_cache(self, variant: str) -> bool:
        """Whether its model tells at which steps of its sampling the blocks change little."""
        cache = self.sampling(variant)["cache"]
        return bool(cache) and components("cache")[cache["name"]].outline.is_calibrated

    def structure(self, variant: str) -> dict:
        """The root's architecture: what a model is built from, and then compressed."""
        block = self.block(self.root(variant))
        data, autoencoder = self.config["data"], self.config["autoencoder"]
        return {
            **self.config["backbones"][block["backbone"]],
            "patch_size": block["patch_size"],
            **{kind: block.get(kind, base) for kind, base in BASE_COMPONENTS.items()},
            "num_classes": data["num_classes"],
            "in_channels": autoencoder["latent_channels"],
            "input_size": self.latent_size,
        }

    def training(self, variant: str) -> dict:
        """The study's, or that of the row that it is derived from, with its own settings."""
        block = self.block(variant)
        inherited = self.training(block["from"]) if "from" in block else self.config["training"]
        if "pretrained" in block:
            inherited = inherited | {"num_timesteps": block["pretrained"]["num_timesteps"]}
        return inherited | block.get("training", {})

    def num_timesteps(self, variant: str) -> int:
        """Of the training of the row's weights."""
        return self.training(variant)["num_timesteps"]

    def source(self, variant: str) -> dict:
        """Where a pretrained variant's weights come from: {"source", "revision", "format"}."""
        pretrained = self.block(variant)["pretrained"]
        return {key: pretrained.get(key) for key in ("source", "revision", "format")}

    def sampling(self, variant: str) -> dict:
        """The study's, or that of the row that it is derived from, with its own settings; its
        interval of guidance in noise levels of the latents' scale."""
        sampling = self._sampling(variant)
        if sampling["guidance_interval"]:
            autoencoder = self.config["autoencoder"]
            is_measured = autoencoder["normalize"] == "measured"
            scale = autoencoder["latent_std"] if is_measured else 1.0
            sampling["guidance_interval"] = [scale * end for end in sampling["guidance_interval"]]
        return sampling

    def _sampling(self, variant: str) -> dict:
        block = self.block(variant)
        inherited = self._sampling(block["from"]) if "from" in block else self.config["sampling"]
        return inherited | block.get("sampling", {})

    def guide(self, variant: str) -> str | None:
        """The row whose model guides the sampling of this one."""
        return self.sampling(variant)["guide"]

    @property
    def compile_choices(self) -> set[str]:
        """The options `compile` of all rows."""
        of_trainings = {self.training(row)["compile"] for row in self.trained}
        return of_trainings | {self.sampling(row)["compile"] for row in self.variants}

    def num_sampled(self, variant: str) -> int:
        """Images of all sets of a run."""
        sampling = self.sampling(variant)
        return sampling["num_samples"] * sampling["num_sets"]

    @property
    def latent_size(self) -> int:
        """Pixels of a side of a latent."""
        config = self.config
        return config["data"]["image_size"] // config["autoencoder"]["downsample_factor"]

    @property
    def evaluation(self) -> dict:
        """How samples are evaluated, with the options of the chosen extractor."""
        evaluation = self.config["evaluation"]
        name = evaluation["extractor"]
        return evaluation | {"extractor": {"name": name, **self.config["extractors"][name]}}

    def parent(self, variant: str) -> str | None:
        """The row that this one's changes are measured against: the one that it names, or what it
        is made from, or the plain row of its size; None for a base row."""
        block = self.block(variant)
        if named := block.get("compare_with") or block.get("from"):
            return named
        if self._is_plain(variant):
            return None
        for name in filter(self._is_plain, self.variants):
            other = self.block(name)
            if all(other[key] == block[key] for key in ("backbone", "patch_size")):
                return name
        return None

    def guide_spec(self, variant: str) -> dict | None:
        """What the guide's model is built from, where the row has a guide."""
        guide = self.guide(variant)
        if guide is None:
            return None
        return {"structure": self.structure(guide), "operations": self.operations(guide)}

    def timed_against(self, variant: str) -> str | None:
        """The row that this one's latency is compared with, both timed interleaved: its parent, or
        the first row without one; None for that row.

        So the latency of every row is that of one row times ratios.
        """
        return self.parent(variant) or (self._anchor if variant != self._anchor else None)

    @functools.cached_property
    def _anchor(self) -> str:
        """The first variant without a parent."""
        return next(name for name in self.variants if self.parent(name) is None)

    def timed_rows(self, variant: str) -> list[str]:
        """Those that one job times: the row, and what it is timed against if there is one."""
        return list(filter(None, (variant, self.timed_against(variant))))

    def timed_sampling(self, variant: str) -> dict:
        """What of a row's sampling its cost depends on."""
        return {key: self.sampling(variant)[key] for key in TIMED_SAMPLING}

    def timed_samplings(self, variant: str) -> list[dict]:
        """How these rows are sampled, as far as that takes time."""
        shared = {"seed": 0, "batch_size": self.config["speed"]["table_batch_size"]}
        return [
            {
                "sampling": self.timed_sampling(row) | shared,
                "num_timesteps": self.num_timesteps(row),
            }
            for row in self.timed_rows(variant)
        ]

    def speed(self, variant: str) -> dict:
        """What is timed: of a row that only samples otherwise no passes, which are its parent's."""
        has_passes = self.weights_row(variant) == variant
        no_passes = {f"{mode}_batch_sizes": [] for mode in MODES}
        return self.config["speed"] | ({} if has_passes else no_passes)

    def shares_weights(self, variant: str) -> bool:
        """Whether the row and the one that it is measured against come from the same training."""
        parent = self.parent(variant)
        return parent is not None and (
            self.trained_ancestor(variant) == self.trained_ancestor(parent)
        )

    def rows(self) -> list[dict]:
        """The rows of the results table by group, in the order in which these are declared; that
        of the first row without a parent comes first, which Snakemake puts behind an overlay's.

        `derived_from` is what a row is made from, where it is measured against a row of the same
        weights; `weights` the row whose weights it samples; `family`, if it has one, the curve that
        it is a point of.
        """
        groups = dict.fromkeys(self.block(name)["group"] for name in [self._anchor, *self.variants])
        return [
            {
                "variant": name,
                "group": block["group"],
                "parent": self.parent(name),
                "derived_from": block.get("from") if self.shares_weights(name) else None,
                "weights": self.weights_row(name),
                "family": block.get("family"),
            }
            for group in groups
            for name, block in self.variants.items()
            if block["group"] == group
        ]

    def components(self, variant: str) -> dict[str, set[str]]:
        """What `variant` uses of each registry: {"attention": {"mediated"}, ...}."""
        structure = self.structure(variant)
        layers = range(structure["depth"])
        return {
            "attention": {structure["attention"]["name"]},
            "mlp": {mlp.mlp_of_layer(structure["mlp"], layer)["name"] for layer in layers},
            "compression": {options["name"] for options in self.operations(variant)},
        }

    def _is_trained(self, variant: str) -> bool:
        block = self.block(variant)
        return "training" in block if "from" in block else "pretrained" not in block

    def _is_plain(self, variant: str) -> bool:
        block = self.block(variant)
        is_base = all(block.get(kind, base) == base for kind, base in BASE_COMPONENTS.items())
        return is_base and not {*GIVEN, "distill", "training", "sampling"} & block.keys()

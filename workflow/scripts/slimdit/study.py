"""A study's config resolved into what each of its rows is: torch-free, used by the Snakefile.

A variant is the base except for a part (`attention`, `mlp`), a lesson (`distill`), operations on a
trained parent (`from`, `apply`), or a way of sampling; `training` overrides the study's.
"""

import difflib

from slimdit.errors import InputError

PLAIN_PARTS = {"attention": {"name": "full"}, "mlp": {"name": "dense"}}
VARIANT_KEYS = {
    "backbone",
    "patch_size",
    "attention",
    "mlp",
    "distill",
    "training",
    "from",
    "apply",
    "sampling",
    "group",
}
DERIVED_KEYS = {"from", "apply", "sampling", "group"}
SHARED_SAMPLING = ("num_samples", "prompts")  # rows are compared only with these in common


class Study:
    """The variants of one config, checked against each other.

    Raises InputError, naming the key, for unknown names, cycles and options that do not fit.
    """

    def __init__(self, config: dict):
        self.config = config
        self.name = config["study"]
        self.variants: dict[str, dict] = config["variants"]
        self.seeds: list[int] = config["seeds"]
        _known("evaluation.extractor", [config["evaluation"]["extractor"]], config["extractors"])
        for variant in self.variants:
            self._check(variant)

    @property
    def trained(self) -> list[str]:
        return [name for name, block in self.variants.items() if "from" not in block]

    @property
    def derived(self) -> list[str]:
        return [name for name, block in self.variants.items() if "from" in block]

    @property
    def compared(self) -> list[str]:
        return [name for name in self.variants if self.parent(name)]

    def block(self, variant: str) -> dict:
        return self.variants[variant]

    def root(self, variant: str) -> str:
        """The trained variant that `variant` is, or is derived from."""
        while "from" in self.block(variant):
            variant = self.block(variant)["from"]
        return variant

    def teacher(self, variant: str) -> str | None:
        return self.block(variant).get("distill", {}).get("teacher")

    def operations(self, variant: str) -> list[dict]:
        """What is applied to the root's weights to get `variant`, in order."""
        block = self.block(variant)
        if "from" not in block:
            return []
        return self.operations(block["from"]) + block["apply"]

    def structure(self, variant: str) -> dict:
        """The architecture that is trained: what a model is built from."""
        block = self.block(self.root(variant))
        data, autoencoder = self.config["data"], self.config["autoencoder"]
        return {
            **self.config["backbones"][block["backbone"]],
            "patch_size": block["patch_size"],
            **{part: block.get(part, plain) for part, plain in PLAIN_PARTS.items()},
            "num_classes": data["num_classes"],
            "in_channels": autoencoder["latent_channels"],
            "input_size": data["image_size"] // autoencoder["downsample_factor"],
        }

    def training(self, variant: str) -> dict:
        return self.config["training"] | self.block(variant).get("training", {})

    def sampling(self, variant: str) -> dict:
        return self.config["sampling"] | self.block(variant).get("sampling", {})

    @property
    def evaluation(self) -> dict:
        """How samples are evaluated, with the options of the chosen extractor."""
        evaluation = self.config["evaluation"]
        name = evaluation["extractor"]
        return evaluation | {"extractor": {"name": name, **self.config["extractors"][name]}}

    def parent(self, variant: str) -> str | None:
        """The row that this one's changes are measured against; None for a base row."""
        block = self.block(variant)
        if "from" in block:
            return block["from"]
        for name in self.trained:
            other = self.block(name)
            if (
                name != variant
                and (other["backbone"], other["patch_size"])
                == (block["backbone"], block["patch_size"])
                and self._is_plain(name)
                and not self._is_plain(variant)
            ):
                return name
        return None

    def rows(self) -> list[dict]:
        """The rows of the results table in order, grouped as declared."""
        groups = list(dict.fromkeys(block["group"] for block in self.variants.values()))
        return [
            {
                "variant": name,
                "label": name,
                "group": block["group"],
                "parent": self.parent(name),
                "derived_from": block.get("from"),
            }
            for group in groups
            for name, block in self.variants.items()
            if block["group"] == group
        ]

    def parts(self, variant: str) -> dict[str, set[str]]:
        """Which kinds of each registry `variant` uses: {"attention": {"mediated"}, ...}."""
        structure = self.structure(variant)
        used = {part: {structure[part]["name"]} for part in PLAIN_PARTS}
        if structure["mlp"].get("every", 1) > 1:
            used["mlp"].add("dense")  # of the blocks between
        used["surgery"] = {operation["name"] for operation in self.operations(variant)}
        return used

    def _is_plain(self, variant: str) -> bool:
        block = self.block(variant)
        plain = all(block.get(part, default) == default for part, default in PLAIN_PARTS.items())
        return plain and not {"from", "distill", "training", "sampling"} & block.keys()

    def _check(self, variant: str) -> None:
        block, where = self.block(variant), f"variants.{variant}"
        _known(f"key of {where}", block.keys(), VARIANT_KEYS)
        for key in ("training", "sampling"):
            _known(f"key of {where}.{key}", block.get(key, {}), self.config[key])
        for key in SHARED_SAMPLING:
            if key in block.get("sampling", {}):
                raise InputError(
                    f"{where}.sampling.{key} would make a row that cannot be compared; "
                    f"set sampling.{key}, which all variants share."
                )
        if "group" not in block:
            raise InputError(f"{where}.group is missing; name its heading in the table.")
        if "from" in block:
            _known(f"key of {where} (it has `from`)", block.keys(), DERIVED_KEYS)
            self._check_edge(variant, f"{where}.from", "from")
            if not block.get("apply"):
                raise InputError(f"{where}.apply is missing; list what is done to {block['from']}.")
            return
        if "apply" in block:
            raise InputError(f"{where}.apply needs {where}.from, the variant that it is done to.")
        for key in ("backbone", "patch_size"):
            if key not in block:
                raise InputError(f"{where}.{key} is missing; a variant without `from` needs it.")
        _known(f"{where}.backbone", [block["backbone"]], self.config["backbones"])
        if "distill" in block:
            self._check_edge(variant, f"{where}.distill.teacher", "teacher")
        self._check_sizes(variant)

    def _check_edge(self, variant: str, where: str, kind: str) -> None:
        seen = [variant]
        while (target := self._edge(seen[-1])) is not None:
            _known(where, [target], self.variants)
            if target in seen:
                cycle = " -> ".join([*seen, target])
                raise InputError(f"{where} closes a cycle ({cycle}); {kind} must lead to another.")
            seen.append(target)

    def _edge(self, variant: str) -> str | None:
        return self.block(variant).get("from") or self.teacher(variant)

    def _check_sizes(self, variant: str) -> None:
        structure, where = self.structure(variant), f"variants.{variant}"
        factor = self.config["autoencoder"]["downsample_factor"]
        if self.config["data"]["image_size"] % factor:
            raise InputError(
                f"data.image_size {self.config['data']['image_size']} is not a multiple of "
                f"autoencoder.downsample_factor {factor}."
            )
        if structure["input_size"] % structure["patch_size"]:
            raise InputError(
                f"{where}.patch_size {structure['patch_size']} does not divide the latent's side "
                f"{structure['input_size']} (data.image_size / autoencoder.downsample_factor)."
            )
        if structure["hidden_size"] % structure["num_heads"] or structure["hidden_size"] % 4:
            raise InputError(
                f"backbones.{self.block(variant)['backbone']}.hidden_size "
                f"{structure['hidden_size']} must be a multiple of 4 and of num_heads "
                f"{structure['num_heads']}."
            )
        options = structure["attention"]
        group_size = options.get("group_size", 1)
        if structure["num_heads"] % group_size:
            raise InputError(
                f"{where}.attention.group_size {group_size} does not divide num_heads "
                f"{structure['num_heads']}."
            )
        mlp = structure["mlp"]
        if mlp.get("top_k", 0) > mlp.get("num_experts", 0):
            raise InputError(
                f"{where}.mlp.top_k {mlp['top_k']} is more than num_experts {mlp['num_experts']}."
            )


def _known(what: str, names, known) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), list(known), n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}."
            raise InputError(f"{what}: {name!r} is unknown; {hint}")

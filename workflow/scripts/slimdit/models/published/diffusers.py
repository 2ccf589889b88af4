"""The layout of diffusers: a folder with config.json and weights, DiTTransformer2DModel's."""

import json
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from slimdit.core.errors import InputError
from slimdit.models.published.files import read_tensors
from slimdit.models.published.format import Format, Published, positions_of
from slimdit.models.published.source import CONFIG, NEEDS, WEIGHTS, local_files
from slimdit.storage.files import atomic_path

CLASSES = ("DiTTransformer2DModel", "Transformer2DModel")  # the latter: before diffusers 0.28
EMBEDDERS = "norm1.emb."  # of timestep and class; every block has a copy
DEFAULTS = {"norm_eps": 1e-5, "norm_type": "ada_norm_zero", "activation_fn": "gelu-approximate"}
FIRST = "transformer_blocks.0"


class DiffusersFormat(Format):
    """A folder as `save_pretrained` writes it, or a whole pipeline's."""

    is_folder = True
    must_name = ("frequency_shift", "mlp_norm_eps")
    block = "transformer_blocks"
    modules = {  # noqa: RUF012
        "patch_embedder": "pos_embed.proj",
        "timestep_embedder.mlp.0": f"{FIRST}.{EMBEDDERS}timestep_embedder.linear_1",
        "timestep_embedder.mlp.2": f"{FIRST}.{EMBEDDERS}timestep_embedder.linear_2",
        "final_layer.linear": "proj_out_2",
    }
    of_block = {  # noqa: RUF012
        "attention.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
        "attention.proj": ("attn1.to_out.0",),
        "mlp.fc1": ("ff.net.0.proj",),
        "mlp.fc2": ("ff.net.2",),
    }
    modulations = ("norm1.linear", "proj_out_1")
    labels = f"{FIRST}.{EMBEDDERS}class_embedder.embedding_table.weight"
    positions = "pos_embed.pos_embed"  # a buffer, which the files leave out

    def read(self, source: str | Path, num_heads: int | None = None) -> Published:
        """num_heads is in the folder's config, and another one is refused."""
        if Path(source).is_file():
            raise InputError(f"{source} should be {NEEDS}; name the folder, or another format.")
        config_file, weights = local_files(source)
        config = _config(config_file)
        tensors = _without_copies(read_tensors(weights), weights)
        heads, head_dim = config["num_attention_heads"], config["attention_head_dim"]
        if num_heads not in (None, heads):
            raise InputError(f"{config_file} has {heads} heads of attention; name {heads}.")
        patch_size = config["patch_size"]
        positions = positions_of(heads * head_dim, config["sample_size"] // patch_size)
        tensors.setdefault(self.positions, positions)
        options = {"frequency_shift": 1, "mlp_norm_eps": config["norm_eps"]}
        published = self.imported(tensors, weights, num_heads=heads, **options)
        _check_config(config, published.structure, config_file)
        return published

    def write(self, target: str | Path, published: Published) -> str:
        """Write the folder `target` by diffusers' own class; a sentence says how it is used.

        Raises InputError for another table of positions than the one that diffusers computes.
        """
        from diffusers import DiTTransformer2DModel

        structure = published.structure
        tensors = self.exported(published)
        grid_size = structure["input_size"] // structure["patch_size"]
        computed = positions_of(structure["hidden_size"], grid_size)
        if not torch.allclose(tensors.pop(self.positions), computed, rtol=0, atol=1e-5):
            raise InputError(
                f"{target} cannot be written: the model's position_embedding is not the sine and "
                "cosine table, which diffusers computes anew; export it as dit."
            )
        for name in [each for each in tensors if EMBEDDERS in each]:
            for layer in range(1, structure["depth"]):
                copy_of = name.replace(FIRST, f"{self.block}.{layer}")
                tensors[copy_of] = tensors[name].clone()
        with torch.device("meta"):
            model = DiTTransformer2DModel(**_config_of(structure))
        model.load_state_dict(tensors, assign=True)
        with tempfile.TemporaryDirectory(dir=_made(target)) as folder:
            model.save_pretrained(folder)
            for name in (CONFIG, WEIGHTS[0]):
                with atomic_path(Path(target, name)) as temporary:
                    temporary.write_bytes(Path(folder, name).read_bytes())
        if structure.get("frequency_shift", 0) == 1:
            return "Load it by DiTTransformer2DModel.from_pretrained, for a DiTPipeline."
        return (
            "Load it by DiTTransformer2DModel.from_pretrained, for a DiTPipeline, and set "
            "block.norm1.emb.time_proj.downscale_freq_shift = 0 of every block of its "
            "transformer_blocks: no key of config.json says it, and 1 is not what this model was "
            "trained with."
        )


def _made(folder: str | Path) -> str | Path:
    Path(folder).mkdir(parents=True, exist_ok=True)
    return folder


def _config(path: Path) -> dict:
    """Raises InputError for one of another class."""
    try:
        config = DEFAULTS | json.loads(path.read_text(encoding="utf-8"))
        name = config["_class_name"]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} is no config of a model of diffusers' ({error!r}); download it again."
        ) from None
    if name not in CLASSES or config["norm_type"] != DEFAULTS["norm_type"]:
        raise InputError(
            f"{path} is of a {name} with norm_type {config['norm_type']}; a DiT is a {CLASSES[0]} "
            f"with {DEFAULTS['norm_type']}."
        )
    for key in ("num_attention_heads", "attention_head_dim", "sample_size", "patch_size"):
        if not isinstance(value := config.get(key), int) or value < 1:
            raise InputError(f"{path}: {key} is {value!r}; it should be a whole number above 0.")
    return config


def _check_config(config: dict, structure: dict, path: Path) -> None:
    """Raises InputError where a config is not of the weights beside it."""
    stated = {
        "activation_fn": DEFAULTS["activation_fn"],
        "num_layers": structure["depth"],
        "num_embeds_ada_norm": structure["num_classes"],
        "in_channels": structure["in_channels"],
        "patch_size": structure["patch_size"],
        "sample_size": structure["input_size"],
    }
    for key, value in stated.items():
        if config.get(key, value) != value:
            raise InputError(
                f"{path}: {key} is {config[key]!r}, and by the weights beside it would be "
                f"{value!r}; download both again."
            )


def _config_of(structure: dict) -> dict:
    return {
        "num_attention_heads": structure["num_heads"],
        "attention_head_dim": structure["hidden_size"] // structure["num_heads"],
        "in_channels": structure["in_channels"],
        "out_channels": 2 * structure["in_channels"],
        "num_layers": structure["depth"],
        "sample_size": structure["input_size"],
        "patch_size": structure["patch_size"],
        "num_embeds_ada_norm": structure["num_classes"],
        "norm_eps": structure.get("mlp_norm_eps", 1e-6),
    }


def _without_copies(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The embedders of the first block alone; raises InputError where a copy differs."""
    kept = {}
    for name, tensor in tensors.items():
        block, found, rest = name.partition(f".{EMBEDDERS}")
        if not found or block == FIRST:
            kept[name] = tensor
            continue
        first = f"{FIRST}.{EMBEDDERS}{rest}"
        if first not in tensors or not torch.equal(tensor, tensors[first]):
            raise InputError(
                f"{path}: {name} differs from {first}; the embedders of all blocks should be "
                "copies of one, as a DiT has one."
            )
    return kept

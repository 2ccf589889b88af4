"""What the layouts have in common: their tensors are SlimDiT's, under other names and in pieces.

Peebles & Xie, "Scalable Diffusion Models with Transformers", arXiv:2212.09748, Table 1.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from slimdit.core.errors import InputError
from slimdit.models.attention import BASE as ATTENTION_BASE
from slimdit.models.build import build_model
from slimdit.models.checkpoint import is_plain
from slimdit.models.dit import DiTBlock, FinalLayer, position_table
from slimdit.models.mlp import BASE as MLP_BASE

OTHER_FAMILIES = {  # part of a tensor's name -> whose it is
    "adaln_single": "PixArt's",
    "cross_attn": "a model with cross-attention",
    "attn2": "a model with cross-attention",
    "feat_rope": "LightningDiT's",
    "mlp.w12": "LightningDiT's",
    "down_blocks": "a U-Net's",
    "input_blocks": "a U-Net's",
    "projectors": "REPA's, which is the format sit",
    "decoder_blocks": "REPA's, which is the format sit",
    "patch_embedder": "SlimDiT's own",
}
NUM_HEADS = {384: 6, 768: 12, 1024: 16, 1152: 16}  # of S, B, L and XL, by hidden size: Table 1
PLACES = {  # of a structure's sizes in a config
    "depth": "its backbone",
    "hidden_size": "its backbone",
    "num_heads": "its backbone",
    "patch_size": "the variant's patch_size",
    "num_classes": "data.num_classes",
    "in_channels": "autoencoder.latent_channels",
    "input_size": "data.image_size or autoencoder.downsample_factor",
}
Pieces = dict[str, list[str]]  # a tensor of SlimDiT's -> those that lie in it one below the other


class Published(NamedTuple):
    """A structure as `build_model` takes it, and the state dict of such a model, float32."""

    structure: dict
    state: dict[str, Tensor]


class Format:
    """Names and pieces of a DiT's tensors; a layout of its own overrides the names.

    must_name: what a backbone has to name, since the layout's own code and DiT's differ in it, and
    the weights do not tell which they were trained with. is_folder: whether it is a folder of
    files, which the hub may have, or one file.
    """

    is_folder: ClassVar[bool] = False
    must_name: ClassVar[tuple[str, ...]] = ()
    block: ClassVar[str]  # what the names of a block's tensors begin with, before its number
    modules: ClassVar[dict[str, str]]  # a module of SlimDiT's -> its name
    of_block: ClassVar[dict[str, tuple[str, ...]]]  # the same of a block, or its pieces
    modulations: ClassVar[tuple[str, str]]  # of a block, of the final layer
    labels: ClassVar[str]
    positions: ClassVar[str]

    def pieces(self, depth: int) -> Pieces:
        """Of all of SlimDiT's tensors."""
        blocks = [f"{self.block}.{layer}" for layer in range(depth)]
        found = {"label_embedder.weight": [self.labels], "position_embedding": [self.positions]}
        modules = {ours: [theirs] for ours, theirs in self.modules.items()}
        for layer, block in enumerate(blocks):
            for ours, theirs in self.of_block.items():
                modules[f"blocks.{layer}.{ours}"] = [f"{block}.{each}" for each in theirs]
        of_blocks, of_last = self.modulations
        modules["modulation.1"] = [*(f"{block}.{of_blocks}" for block in blocks), of_last]
        for kind in ("weight", "bias"):
            for ours, theirs in modules.items():
                found[f"{ours}.{kind}"] = [f"{each}.{kind}" for each in theirs]
        return found

    def depth(self, names: Iterable[str]) -> int:
        """How many blocks tensors of these names have."""
        return len({name.split(".")[1] for name in names if name.startswith(f"{self.block}.")})

    def imported(self, tensors: dict[str, Tensor], path: str | Path, **known) -> Published:
        """What `tensors`, read from `path`, are in SlimDiT.

        known: of the structure, what the tensors do not tell; without `num_heads` those of the
        published sizes. Raises InputError for missing and unknown tensors, and for shapes of
        another structure.
        """
        depth = self.depth(tensors)
        pieces = self.pieces(depth)
        _check_names(tensors, [each for theirs in pieces.values() for each in theirs], path)
        state = {}
        for ours, theirs in pieces.items():
            try:
                state[ours] = torch.cat([tensors[each].float() for each in theirs])
            except RuntimeError:
                shapes = {each: tuple(tensors[each].shape) for each in theirs}
                raise InputError(
                    f"{path}: {shapes} should be of one width, as they are of one DiT."
                ) from None
        structure = {"depth": depth, **_sizes(state, pieces, path), **known}
        if structure.setdefault("num_heads", NUM_HEADS.get(structure["hidden_size"])) is None:
            raise InputError(
                f"{path} does not say how many heads it has, and a hidden size of "
                f"{structure['hidden_size']} is none of the published ones; name num_heads."
            )
        published = Published(structure, state)
        _check_shapes(published, pieces, path)
        return published

    def exported(self, published: Published) -> dict[str, Tensor]:
        """The layout's tensors, by name."""
        (structure, state), tensors = published, {}
        hidden_size, depth = structure["hidden_size"], structure["depth"]
        modulated = [*depth * [DiTBlock.num_modulations], FinalLayer.num_modulations]
        for ours, theirs in self.pieces(depth).items():
            rows: int | list[int] = len(state[ours]) // len(theirs)
            if ours.startswith("modulation."):
                rows = [number * hidden_size for number in modulated]
            pieces = state[ours].split(rows)
            tensors |= {name: piece.clone() for name, piece in zip(theirs, pieces, strict=True)}
        return tensors


def exportable(model: nn.Module, structure: dict, path: str | Path) -> Published:
    """The plain model of a checkpoint; raises InputError where a published DiT is no such model."""
    if "velocity" in structure:
        raise InputError(f"{path} cannot be exported: it predicts velocities, and a DiT noise.")
    for kind, base in (("attention", ATTENTION_BASE), ("mlp", MLP_BASE)):
        if structure[kind] != base:
            raise InputError(
                f"{path} cannot be exported: its {kind} is {shown(structure[kind])}; a published "
                f"DiT's is {shown(base)}."
            )
    structure = structure | {"depth": len(model.blocks)}
    state, plain = model.state_dict(), shapes_of(structure)
    for name, tensor in state.items():
        if not is_plain(tensor) or name not in plain:
            what = "is quantized" if name in plain else "is in no published DiT"
            raise InputError(f"{path} cannot be exported: {name} {what}; take its parent.")
        if tuple(tensor.shape) != plain[name]:
            raise InputError(
                f"{path} cannot be exported: {name} is {tuple(tensor.shape)}, as of pruned heads "
                f"or another MLP, and in a published DiT {plain[name]}; take its parent."
            )
    return Published(structure, {name: tensor.float() for name, tensor in state.items()})


def check_structure(found: dict, wanted: dict, source: str | Path) -> None:
    """Raises InputError where a checkpoint of the structure `found` is not of that of the config.

    What the weights do not tell (how frequencies and norms are computed) is the config's to say.
    """
    for key, place in PLACES.items():
        if found[key] != wanted[key]:
            raise InputError(
                f"{source} has {key} {found[key]}, and by the config it is {wanted[key]}; mend "
                f"{place}, or name another checkpoint."
            )


def shown(component: dict) -> str:
    """An attention or MLP, as "dense" or "dense, mlp_ratio 3"."""
    return ", ".join(
        [component["name"], *(f"{k} {v}" for k, v in component.items() if k != "name")]
    )


def _check_names(tensors: Iterable[str], wanted: list[str], path: str | Path) -> None:
    found, wanted = set(tensors), dict.fromkeys(wanted)
    if not (missing := [name for name in wanted if name not in found]) and found == set(wanted):
        return
    family = next(
        (whose for part, whose in OTHER_FAMILIES.items() if any(part in name for name in found)), ""
    )
    extra = sorted(found - wanted.keys())
    what = f"has no {missing[0]}" if missing else f"has {extra[0]}, which a DiT has not"
    hint = (
        f"its tensors look like {family}" if family else "see docs/checkpoints.md for the formats"
    )
    raise InputError(f"{path} {what}; it should be a DiT in the format that is named ({hint}).")


def _sizes(state: dict[str, Tensor], pieces: Pieces, path: str | Path) -> dict:
    """What the shapes tell of a structure."""
    embedder, labels = state["patch_embedder.weight"], state["label_embedder.weight"]
    positions, last = state["position_embedding"], state["final_layer.linear.weight"]
    if embedder.ndim != 4 or positions.ndim != 3 or labels.ndim != 2:
        name = pieces["patch_embedder.weight" if embedder.ndim != 4 else "position_embedding"][0]
        raise InputError(f"{path}: {name} has not the shape of a DiT's.")
    hidden_size, in_channels, patch_size, _ = embedder.shape
    grid_size = math.isqrt(positions.shape[1])
    if last.shape[0] != 2 * in_channels * patch_size**2:
        raise InputError(
            f"{path}: {pieces['final_layer.linear.weight'][0]} gives {last.shape[0]} values a "
            f"patch; with a learned variance, which SlimDiT's samplers need, it would be "
            f"{2 * in_channels * patch_size**2}."
        )
    return {
        "hidden_size": hidden_size,
        "patch_size": patch_size,
        "attention": {"name": "full"},
        "mlp": {"name": "dense"},
        "num_classes": len(labels) - 1,
        "in_channels": in_channels,
        "input_size": grid_size * patch_size,
    }


def _check_shapes(published: Published, pieces: Pieces, path: str | Path) -> None:
    structure, state = published
    for ours, shape in shapes_of(structure).items():
        if tuple(state[ours].shape) != shape:
            names = pieces[ours]
            which = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}, joined,"
            raise InputError(
                f"{path}: {which} should have the shape {shape} in a DiT of hidden size "
                f"{structure['hidden_size']} and {structure['depth']} blocks, and has "
                f"{tuple(state[ours].shape)}."
            )
        if not state[ours].isfinite().all():
            raise InputError(
                f"{path}: {' or '.join(pieces[ours])} holds what is no finite number; download it "
                "again, or name a checkpoint of a training that did not diverge."
            )


def shapes_of(structure: dict) -> dict[str, tuple[int, ...]]:
    """Of the state dict of a structure's model."""
    with torch.device("meta"):
        state = build_model(structure).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def positions_of(hidden_size: int, grid_size: int) -> Tensor:
    """The frozen table, where a layout leaves it out: (1, grid_size**2, hidden_size)."""
    return torch.from_numpy(position_table(hidden_size, grid_size)[None])

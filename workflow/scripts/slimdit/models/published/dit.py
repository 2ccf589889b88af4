"""The layout of DiT's own training code and of those that follow it: one file of weights."""

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from slimdit.core.errors import InputError
from slimdit.models.published.files import read_tensors
from slimdit.models.published.format import Format, Published
from slimdit.storage.files import atomic_path

OPTIONS = {"frequency_shift": 0, "mlp_norm_eps": 1e-6}  # as DiT's own code computes


class DiTFormat(Format):
    """A state dict, or a training checkpoint, as .pt or .safetensors."""

    block = "blocks"
    modules = {  # noqa: RUF012
        "patch_embedder": "x_embedder.proj",
        "timestep_embedder.mlp.0": "t_embedder.mlp.0",
        "timestep_embedder.mlp.2": "t_embedder.mlp.2",
        "final_layer.linear": "final_layer.linear",
    }
    of_block = {  # noqa: RUF012
        "attention.qkv": ("attn.qkv",),
        "attention.proj": ("attn.proj",),
        "mlp.fc1": ("mlp.fc1",),
        "mlp.fc2": ("mlp.fc2",),
    }
    modulations = ("adaLN_modulation.1", "final_layer.adaLN_modulation.1")
    labels = "y_embedder.embedding_table.weight"
    positions = "pos_embed"

    def read(self, source: str | Path, num_heads: int | None = None) -> Published:
        """num_heads: of a hidden size that is none of the published ones."""
        known = {} if num_heads is None else {"num_heads": num_heads}
        return self.imported(self.tensors(source), source, **known)

    def tensors(self, source: str | Path) -> dict[str, Tensor]:
        """Those of a DiT in the file, by name."""
        return read_tensors(source)

    def write(self, target: str | Path, published: Published) -> str:
        """Write the .safetensors file `target`; a sentence says how it is used.

        Raises InputError for a model that DiT's code computes otherwise.
        """
        for key, value in OPTIONS.items():
            if (own := published.structure.get(key, value)) != value:
                raise InputError(
                    f"{target} cannot be written: the model's {key} is {own}, and DiT's own code "
                    f"computes with {value}; export it to diffusers."
                )
        with atomic_path(target) as temporary:
            save_file(self.exported(published), temporary)
        return "Load it by safetensors.torch.load_file into DiT's own model."

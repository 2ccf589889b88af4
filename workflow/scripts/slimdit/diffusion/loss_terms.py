"""What the loss of a diffusion run is made of, by the names in its files and in the tables."""

from collections.abc import Mapping

TERMS = ("loss", "mse", "vb", "distillation", "balance", "features")  # the first: weighted sum


def objective_name(distillation: Mapping) -> str:
    """Of a row's training, by `Study.distillation`: of noised latents ("noise"), or for a student
    of few steps of its own sampling ("steps")."""
    return "steps" if "substeps" in distillation else "noise"

"""What the tests are about: the two studies, tiny structures, and weights drawn at random."""

from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from slimdit.core.randomness import stream
from slimdit.study.rows import with_rows
from slimdit.study.study import Study

ROOT = Path(__file__).parents[1]


def merged(base: dict, overlay: dict) -> dict:
    """`overlay` over `base`, dictionaries merged key by key, as --configfile does."""
    result = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def load_config(*overlays: str) -> dict:
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for overlay in overlays:
        config = merged(config, yaml.safe_load((ROOT / overlay).read_text()))
    return with_rows(config)


PHOTOS = Study(load_config())
IMAGENET200 = Study(load_config("configs/imagenet200.yaml"))


def tiny(structure: dict) -> dict:
    """`structure` with its parts and patch size, shrunk until a step takes milliseconds."""
    width = 4 * structure["num_heads"]
    sizes = {"depth": 2, "hidden_size": width, "num_classes": 3, "input_size": 8}
    return structure | sizes


def random_tensor(what: str, *shape: int, dtype=torch.float64) -> Tensor:
    return torch.from_numpy(stream(0, what).standard_normal(shape)).to(dtype)


@torch.no_grad()
def randomized(module: nn.Module, dtype=torch.float64, std: float = 0.3) -> nn.Module:
    """The module with every parameter drawn at random: no zero hides a term."""
    module = module.to(dtype)
    for name, parameter in module.named_parameters():
        parameter.copy_(std * random_tensor(f"weights/{name}", *parameter.shape))
    return module

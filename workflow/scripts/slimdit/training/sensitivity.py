"""How far quantized layers change what a model predicts: layer by layer, and by timestep."""

import copy

from torch import Tensor, nn

from slimdit.models.compression.quantization import Quantization
from slimdit.storage.files import read_json
from slimdit.training.calibration import CalibrationLoss

NUM_BINS = 10  # equal parts of the timesteps


def layer_changes(
    model: nn.Module, quantization: Quantization, loss: CalibrationLoss
) -> dict[str, Tensor]:
    """Of each layer that would be quantized, by name: the mean squared change of the noise that the
    model predicts of each image, from the same noise, where no other layer is: (B,)."""
    exact, changes = loss.predictions(model), {}
    for name, layer in quantization.layers(model).items():
        if name not in quantization.float_layers:
            model.set_submodule(name, quantization.quantized(copy.deepcopy(layer)))
            changes[name] = squared_changes(model, exact, loss)
            model.set_submodule(name, layer)
    return changes


def squared_changes(model: nn.Module, exact: Tensor, loss: CalibrationLoss) -> Tensor:
    """Of the noise that it predicts, from `exact`, the mean over each image: (B,)."""
    return (loss.predictions(model) - exact).double().square().flatten(1).mean(1)


def worst(errors: dict[str, float], fraction: float) -> list[str]:
    """The names with the largest errors, the largest first."""
    ordered = sorted(errors, key=errors.__getitem__, reverse=True)
    return ordered[: round(fraction * len(errors))]


def by_timestep(changes: Tensor, timesteps: Tensor, num_timesteps: int) -> list[float | None]:
    """The means of (B,) over those of each of NUM_BINS equal parts of the timesteps, from the least
    noise to the most; None of a part that has none."""
    bins = timesteps * NUM_BINS // num_timesteps
    parts = (changes[bins == number] for number in range(NUM_BINS))
    return [part.mean().item() if len(part) else None for part in parts]


def with_measured(operations: list[dict], path: str | None) -> list[dict]:
    """`operations` with the last as `measure_sensitivity` wrote it to `path`, where it did."""
    return [*operations[:-1], read_json(path)["compression"]] if path else operations

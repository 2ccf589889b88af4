"""From features to Fréchet distance, against the square root of a matrix."""

import torch
from frechet import openai_distance, synthetic_features
from ratios import equal_outputs, speedup

from slimdit.evaluation.metrics.frechet import frechet_distance

MOST_RUNS = 3  # of half a minute


def frechet(num_images: int, num_features: int, num_runs: int, device: torch.device) -> dict:
    """On the CPU, whatever the device."""
    features = [synthetic_features(num_images, num_features, 0, side) for side in range(2)]
    values = [torch.tensor(f(*features)) for f in (openai_distance, frechet_distance)]
    result = speedup(
        lambda: openai_distance(*features),
        lambda: frechet_distance(*features),
        min(num_runs, MOST_RUNS),
        torch.device("cpu"),
    )
    return {
        "what": "Fréchet distance, against SciPy's sqrtm",
        "num_images": num_images,
        "num_features": num_features,
        "largest_difference": equal_outputs(values[:1], values[1:]),
        **result,
    }

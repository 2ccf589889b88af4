"""From features to Fréchet distance, against the square root of a matrix."""

import torch
from frechet import openai_distance, synthetic_features
from ratios import equal_outputs, speedup

from slimdit.evaluation.metrics import frechet_distance

NUM_IMAGES, NUM_FEATURES = 10_000, 2048
MOST_RUNS = 3  # of half a minute


def frechet(num_runs: int, device: torch.device) -> dict:
    """A study's number of samples and the Inception graph's number of features, on the CPU."""
    features = [synthetic_features(NUM_IMAGES, NUM_FEATURES, 0, side) for side in range(2)]
    values = [torch.tensor(f(*features)) for f in (openai_distance, frechet_distance)]
    result = speedup(
        lambda: openai_distance(*features),
        lambda: frechet_distance(*features),
        min(num_runs, MOST_RUNS),
        torch.device("cpu"),
    )
    return {
        "what": "Fréchet distance, against SciPy's sqrtm",
        "num_images": NUM_IMAGES,
        "num_features": NUM_FEATURES,
        "largest_difference": equal_outputs(values[:1], values[1:]),
        **result,
    }

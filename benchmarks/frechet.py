"""Time from features to Fréchet distance, against scipy.linalg.sqrtm as OpenAI's evaluator uses it.

    python benchmarks/frechet.py --out frechet.json
    python benchmarks/frechet.py --num-images 60 --num-features 96 --num-runs 2 --out smoke.json

Features are seeded: rectified random mixtures of normal numbers. The methods are timed interleaved,
so that a change of the machine's load meets all of them. Writes and prints JSON.
"""

import argparse
import functools
import json
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_info

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

from slimdit.core.randomness import stream
from slimdit.evaluation.metrics.frechet import frechet_distance, frechet_distance_from_statistics
from slimdit.jobs.provenance import origin
from slimdit.profiling.latency import interleaved_times_s
from slimdit.storage.files import write_json

NUM_LATENTS = 256
IMAGINARY_TOLERANCE = 1e-3  # of OpenAI's evaluator


def main() -> None:
    arguments = parsed_arguments()
    cases = [
        measure(num_images, arguments.num_features, arguments.num_runs, arguments.seed)
        for num_images in arguments.num_images
    ]
    pools = [{key: pool[key] for key in ("internal_api", "num_threads")} for pool in thread_pools()]
    result = {
        "cases": cases,
        "seed": arguments.seed,
        "thread_pools": pools,
        "origin": origin(scipy=metadata.version("scipy")),
    }
    write_json(arguments.out, result)
    print(json.dumps(result, indent=1, sort_keys=True))


def measure(num_images: int, num_features: int, num_runs: int, seed: int) -> dict:
    """Seconds and value of every method on two sets of features (num_images, num_features)."""
    a, b = (synthetic_features(num_images, num_features, seed, side) for side in range(2))
    calls = {name: functools.partial(method, a, b) for name, method in METHODS.items()}
    values = {name: float(call()) for name, call in calls.items()}
    times_s = interleaved_times_s(list(calls.values()), 0, num_runs, time.perf_counter)
    seconds = dict(zip(calls, times_s, strict=True))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "num_images": num_images,
        "num_features": num_features,
        "num_runs": num_runs,
        "methods": {
            name: {
                "value": values[name],
                "difference_to_openai": values[name] - values["openai"],
                "seconds": seconds[name],
                "median_s": medians[name],
                "openai_seconds_over_these": medians["openai"] / medians[name],
            }
            for name in METHODS
        },
        "to_itself": {
            "openai": float(openai_distance(a, a)),
            "slimdit": frechet_distance(a, a),
        },
    }


def synthetic_features(num_images: int, num_features: int, seed: int, side: int) -> np.ndarray:
    """Features (num_images, num_features) in float32, as an extractor gives them."""
    mixing = stream(seed, "mixing").normal(size=(NUM_LATENTS, num_features)) / NUM_LATENTS**0.5
    latents = stream(seed, "latents", side).normal(size=(num_images, NUM_LATENTS))
    return np.maximum((latents + 0.02 * side) @ mixing, 0).astype(np.float32)


def openai_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Statistics and distance of guided-diffusion's evaluations/evaluator.py."""
    mean_a, covariance_a = a.mean(0), np.cov(a, rowvar=False)
    mean_b, covariance_b = b.mean(0), np.cov(b, rowvar=False)
    root = square_root(covariance_a @ covariance_b)
    if not np.isfinite(root).all():
        offset = 1e-6 * np.eye(len(covariance_a))
        root = square_root((covariance_a + offset) @ (covariance_b + offset))
    if np.iscomplexobj(root):
        if np.abs(np.diagonal(root).imag).max() > IMAGINARY_TOLERANCE:
            raise ValueError(f"Imaginary component {np.abs(root.imag).max()}")
        root = root.real
    difference = mean_a - mean_b
    traces = np.trace(covariance_a) + np.trace(covariance_b)
    return difference.dot(difference) + traces - 2 * np.trace(root)


def square_root(matrix: np.ndarray) -> np.ndarray:
    try:
        return linalg.sqrtm(matrix, disp=False)[0]
    except TypeError:  # SciPy 1.18 has no disp.
        return linalg.sqrtm(matrix)


def distance_by_statistics(a: np.ndarray, b: np.ndarray) -> float:
    return frechet_distance_from_statistics(
        a.mean(0, dtype=np.float64),
        np.cov(a, rowvar=False),
        b.mean(0, dtype=np.float64),
        np.cov(b, rowvar=False),
    )


def thread_pools() -> list[dict]:
    return [pool for pool in threadpool_info() if pool["user_api"] == "blas"]


def parsed_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--num-images", type=int, nargs="+", default=[10_000, 500])
    parser.add_argument("--num-features", type=int, default=2048)
    parser.add_argument("--num-runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


METHODS = {
    "openai": openai_distance,
    "slimdit": frechet_distance,
    "slimdit_float32_mean": lambda a, b: frechet_distance(a, b, mean_dtype="float32"),
    "slimdit_from_statistics": distance_by_statistics,
}


if __name__ == "__main__":
    main()

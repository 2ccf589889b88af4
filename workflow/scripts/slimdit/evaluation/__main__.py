"""The metrics of your own samples: python -m slimdit.evaluation reference.npz samples.npz."""

import argparse
import json
import logging
import sys
from pathlib import Path

from slimdit.compute.environment import settle
from slimdit.core.errors import InputError
from slimdit.core.text import aligned
from slimdit.evaluation.features import EXTRACTORS, build_extractor
from slimdit.evaluation.image_sets import ImageSet, read_image_set
from slimdit.evaluation.metric_names import MetricNames
from slimdit.evaluation.metrics.frechet import (
    feature_statistics,
    frechet_distance_from_statistics,
)
from slimdit.evaluation.quality import DISTANCES, quality
from slimdit.jobs.provenance import origin, surroundings


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1, with one sentence on stderr, for bad input."""
    options = parser().parse_args(arguments)
    settle()
    try:
        result = evaluate(**vars(options))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    json.dump(result, sys.stdout, indent=1, sort_keys=True, allow_nan=False)
    print()
    print(table(result), file=sys.stderr)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line; its options are the arguments of `evaluate`."""
    result = argparse.ArgumentParser(
        prog="python -m slimdit.evaluation",
        description="Distances, fidelity, diversity and classifier score of images, as JSON.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    images = "an .npz with arr_0 uint8 (number, height, width, 3), or a folder of images"
    result.add_argument("reference", help=f"{images}; an .npz with mu, sigma, mu_s, sigma_s too")
    result.add_argument("samples", help=images)
    result.add_argument("--extractor", choices=sorted(EXTRACTORS), default="efficientnet-lite0")
    result.add_argument(
        "--option",
        dest="extractor_options",
        metavar="KEY=VALUE",
        type=_option,
        action="append",
        default=[],
        help="of the extractor, such as graph=classify_image_graph_def.pb; may be repeated",
    )
    result.add_argument("--batch-size", type=_at_least(1), default=64)
    result.add_argument("--neighbours", type=_at_least(1), default=3)
    result.add_argument("--kid-subsets", type=_at_least(1), default=100)
    result.add_argument("--kid-subset-size", type=_at_least(2), default=1000)
    result.add_argument("--score-split-size", type=_at_least(1), default=5000)
    result.add_argument("--seed", type=_at_least(0), default=0)
    result.add_argument(
        "--image-size",
        type=_at_least(1),
        help="crop and resize the images of folders to this many pixels squared",
    )
    result.add_argument(
        "--cache-dir",
        metavar="FOLDER",
        help="keep features in this folder: a reference is computed once, a killed run goes on",
    )
    return result


def evaluate(
    reference: str | Path,
    samples: str | Path,
    extractor: str,
    extractor_options: list[tuple[str, object]],
    batch_size: int,
    image_size: int | None,
    cache_dir: str | Path | None = None,
    **measures: int,
) -> dict:
    """Metrics of two image sets and where they come from, as JSON values.

    `metrics` are named as in a study's tables. Where the reference has statistics of features, the
    distance is of them; all else is of its images, and left out where it has none. cache_dir:
    folder of features that are not computed again. measures: those of `quality`. Raises InputError
    for bad files before the extractor is built.
    """
    surroundings()
    real = read_image_set(reference, image_size, statistics_suffice=True)
    made = read_image_set(samples, image_size)
    built = build_extractor(extractor, **dict(extractor_options))
    _check_statistics(built, real, made)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    of_samples = _features(built, made, batch_size, "samples", cache_dir)
    metrics = {}
    if real.images is not None:
        of_samples["probabilities"] = built.class_probabilities(of_samples["pooled"])
        of_reference = _features(built, real, batch_size, "reference", cache_dir)
        metrics, _ = quality(of_reference, of_samples, **measures)
    for name, (of_real, of_made) in DISTANCES.items():
        if of_real in real.statistics:
            metrics[name] = frechet_distance_from_statistics(
                *real.statistics[of_real], *feature_statistics(of_samples[of_made])
            )
    columns = built.metric_names.quality_columns
    return {
        "metrics": {column: metrics[name] for column, name in columns.items() if name in metrics},
        "extractor": built.describe(),
        "reference": real.describe(),
        "samples": made.describe(),
        "options": {"batch_size": batch_size, "image_size": image_size, **measures},
        "origin": origin(),
    }


def table(result: dict) -> str:
    """Metrics of `evaluate`, a line each."""
    names = MetricNames.of(result["extractor"])
    labels = {
        names.fd_column: names.fd_label,
        names.sfd_column: names.sfd_label,
        names.score_column: names.score_label,
    }
    rows = [(labels.get(name, name), f"{value:.6g}") for name, value in result["metrics"].items()]
    return "\n".join(aligned(rows))


def _features(extractor, images: ImageSet, batch_size: int, description: str, cache_dir) -> dict:
    features = extractor.features(images.images, batch_size, f"{description} features", cache_dir)
    return features if images.labels is None else {**features, "labels": images.labels}


def _check_statistics(extractor, real: ImageSet, made: ImageSet) -> None:
    """Raises InputError where an image of `made` has not as many features as `real` has them of."""
    pooled, spatial = (len(values[0]) for values in extractor.batch_features(made.images[:1]))
    found = {"pooled": pooled, "spatial": spatial}
    for kind, (mean, _) in real.statistics.items():
        if len(mean) != found[kind]:
            raise InputError(
                f"{real.path} has statistics of {len(mean)} {kind} features and {extractor.name} "
                f"has {found[kind]} for {made.path}; they should come from the same extractor."
            )


def _option(text: str) -> tuple[str, object]:
    """KEY=VALUE, the value a JSON scalar (128, 0.5, true, null) or else a string."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} should be KEY=VALUE")
    try:
        parsed = json.loads(value)
    except ValueError:
        return key, value
    return key, value if isinstance(parsed, dict | list) else parsed


def _at_least(least: int):
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} should be a whole number from {least}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(main())

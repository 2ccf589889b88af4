"""The metrics of your own samples: python -m slimdit.evaluation reference.npz samples.npz."""

import argparse
import json
import logging
import sys
from pathlib import Path

import numpy as np

from slimdit.core.errors import InputError
from slimdit.evaluation.features import EXTRACTORS, build_extractor
from slimdit.evaluation.image_sets import ImageSet, read_image_set
from slimdit.evaluation.metric_names import MetricNames
from slimdit.evaluation.metrics import Moments, frechet_distance_from_statistics
from slimdit.evaluation.quality import quality
from slimdit.jobs.provenance import origin
from slimdit.storage.files import write_json

DISTANCES = {"pooled": "fd", "spatial": "sfd"}
MIN_IMAGES = 4  # two groups of two to leave out
OF_STATISTICS, OF_IMAGES, OF_SAMPLES = "file statistics", "images", "samples alone"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 1, with one sentence on stderr, for bad input."""
    options = parser().parse_args(arguments)
    try:
        out = None if options.out is None else _checked_out(options.out)
        if options.cache_dir is not None:
            _make_folder(Path(options.cache_dir), "--cache-dir")
        result = evaluate(**{k: v for k, v in vars(options).items() if k != "out"})
        if out is None:
            json.dump(result, sys.stdout, indent=1, sort_keys=True, allow_nan=False)
            print()
        else:
            write_json(out, result)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(result), file=sys.stderr)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line; its options are the arguments of `evaluate`, and `out`."""
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
    result.add_argument("--out", help="JSON file to write instead of stdout")
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

    `metrics` are named as in a study's tables. `sources` says what of the reference each compares
    the samples with: its statistics, where it has some, for the distance of that kind of features,
    or its images. Without images it gives those distances alone. cache_dir: folder of features that
    are not computed again. measures: those of `quality`. Raises InputError for bad files before
    the extractor is built.
    """
    real = read_image_set(reference, image_size, statistics_suffice=True)
    made = read_image_set(samples, image_size)
    _check_numbers(real, made, measures["neighbours"])
    built = _built(extractor, dict(extractor_options))
    _check_features(built, real, made)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    of_samples = _features(built, made, batch_size, "samples", cache_dir)
    metrics, sources = {}, {}
    if real.images is not None:
        of_samples["probabilities"] = built.class_probabilities(of_samples["pooled"])
        of_reference = _features(built, real, batch_size, "reference", cache_dir)
        metrics = quality(of_reference, of_samples, **measures)
        sources = {
            name: OF_SAMPLES if name.startswith("classifier_score") else OF_IMAGES
            for name in metrics
        }
    for kind, (mean, covariance) in real.statistics.items():
        moments = Moments(len(mean))
        moments.add(of_samples[kind])
        metrics[DISTANCES[kind]] = frechet_distance_from_statistics(
            mean, covariance, moments.mean, moments.covariance
        )
        sources[DISTANCES[kind]] = OF_STATISTICS
    description = built.describe()
    columns = MetricNames.of(description).quality_columns
    columns = {column: name for column, name in columns.items() if name in metrics}
    return {
        "metrics": {column: metrics[name] for column, name in columns.items()},
        "sources": {column: sources[name] for column, name in columns.items()},
        "extractor": description,
        "reference": real.describe(),
        "samples": made.describe(),
        "options": {"batch_size": batch_size, "image_size": image_size, **measures},
        "origin": origin(),
    }


def table(result: dict) -> str:
    """Metrics of `evaluate` a line each, with what of the reference they compare with."""
    extractor, metrics = result["extractor"], result["metrics"]
    kinds = ("fd", "sfd", "score")
    labels = {extractor[f"{kind}_column"]: extractor[f"{kind}_label"] for kind in kinds}
    width = max(len(labels.get(column, column)) for column in metrics)
    return "\n".join(
        f"{labels.get(column, column):{width}}  {value:>12.6g}  {result['sources'][column]}"
        for column, value in metrics.items()
    )


def _features(extractor, images: ImageSet, batch_size: int, description: str, cache_dir) -> dict:
    features = extractor.features(images.images, batch_size, f"{description} features", cache_dir)
    return features if images.labels is None else {**features, "labels": images.labels}


def _built(name: str, options: dict):
    try:
        return build_extractor(name, **options)
    except TypeError as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise InputError(f"extractor {name!r} cannot be built with {given}: {error}.") from None


def _check_numbers(real: ImageSet, made: ImageSet, neighbours: int) -> None:
    if real.images is None:
        return
    needed = max(neighbours + 1, MIN_IMAGES)
    for images in (real, made):
        if len(images.images) < needed:
            raise InputError(
                f"{images.path} has {len(images.images)} images; for {neighbours} neighbours and "
                f"standard errors it should have at least {needed}."
            )


def _check_features(extractor, real: ImageSet, made: ImageSet) -> None:
    """Raises InputError where the features of both sets, by one image each, are not as many."""

    def numbers(images: np.ndarray) -> dict[str, int]:
        features = extractor.batch_features(images[:1])
        return dict(zip(DISTANCES, (values.shape[1] for values in features), strict=True))

    of_samples = numbers(made.images)
    for kind, (mean, _) in real.statistics.items():
        if len(mean) != of_samples[kind]:
            raise InputError(
                f"{real.path} has statistics of {len(mean)} {kind} features and "
                f"{extractor.name} has {of_samples[kind]} for {made.path}; "
                "they should come from the same extractor."
            )
    if real.images is not None and numbers(real.images) != of_samples:
        raise InputError(
            f"{real.path} and {made.path} have other numbers of features under {extractor.name}; "
            "their images should be of one size, or the extractor should resize them."
        )


def _checked_out(path: str) -> Path:
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; --out should be a JSON file.")
    _make_folder(path.parent, "--out")
    return path


def _make_folder(path: Path, option: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be made ({error}); give {option} another place.") from None


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

"""Quality of real images, as they are and through the autoencoder: what samples can reach."""

import logging

from slimdit.evaluation.features import build_extractor
from slimdit.evaluation.metrics.probe import linear_probe
from slimdit.evaluation.quality import study_quality
from slimdit.evaluation.reference_rows import reference_sets
from slimdit.evaluation.study_files import read_reference
from slimdit.jobs.provenance import origin
from slimdit.storage.files import sha256_of, write_json

log = logging.getLogger(__name__)


def evaluate_reference(reference_features, quality, evaluation, num_samples, recipe, graph=None):
    """Write `quality`: of each row of REFERENCE_ROWS the metrics that `evaluate` gives of samples.

    num_samples: images of a row, at most. `graph` is the extractor's, where it has one.
    """
    extractor = build_extractor(**evaluation["extractor"])
    reference = read_reference(reference_features, extractor.describe())
    probe = linear_probe(reference["pooled"], reference["labels"])
    rows = []
    for name, features, labels in reference_sets(reference, num_samples):
        metrics, _ = study_quality(reference, features, labels, extractor, probe, evaluation)
        rows.append({"variant": name, "num_samples": len(labels), "metrics": metrics})
        log.info("%s: %s", name, ", ".join(f"{key} {each:.4g}" for key, each in metrics.items()))
    inputs = {path: sha256_of(path) for path in (reference_features, graph) if path}
    write_json(
        quality,
        {
            "rows": rows,
            "num_reference": len(reference["pooled"]),
            "extractor": extractor.describe(),
            "evaluation": evaluation,
            "origin": origin(at=quality, recipe=recipe, inputs=inputs),
        },
    )


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        evaluate_reference(**snakemake.input, **snakemake.params, **snakemake.output)

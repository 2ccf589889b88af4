"""A row that OpenAI published, by whoever has its files: pytest --published <folder>.

The folder holds the Inception graph, the reference batch and the samples under the names with
which guided-diffusion published them. The numbers are those of its README.
"""

from pathlib import Path

import pytest

from slimdit.evaluation.__main__ import evaluate

GRAPH = "classify_image_graph_def.pb"
REFERENCE = "VIRTUAL_imagenet256_labeled.npz"
SAMPLES = "admnet_guided_upsampled_imagenet256.npz"


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_the_published_row_comes_out(request, backend):
    folder = request.config.getoption("--published")
    if folder is None:
        pytest.skip(f"needs {GRAPH}, {REFERENCE} and {SAMPLES}; run with --published <folder>")
    folder = Path(folder)
    result = evaluate(
        reference=folder / REFERENCE,
        samples=folder / SAMPLES,
        extractor="inception-2015",
        extractor_options=[("graph", str(folder / GRAPH)), ("backend", backend)],
        batch_size=64,
        image_size=None,
        neighbours=3,
        kid_subsets=100,
        kid_subset_size=1000,
        score_split_size=5000,
        seed=0,
    )
    metrics = result["metrics"]
    assert metrics["inception_score"] == pytest.approx(215.8370, rel=1e-3)
    assert metrics["fid"] == pytest.approx(3.94256, rel=4e-4)
    assert metrics["sfid"] == pytest.approx(6.14043, rel=2e-4)
    # The evaluator's distances are float16.
    assert metrics["precision"] == pytest.approx(0.8265, abs=3e-3)
    assert metrics["recall"] == pytest.approx(0.5309, abs=3e-3)

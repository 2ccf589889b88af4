"""The Inception-2015 extractor: TensorFlow and PyTorch agree, and both with OpenAI's evaluator."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tiny_graph import NUM_CLASSES, NUM_POOLED, NUM_SPATIAL, evaluated_images, write_tiny_graph

from fetch_inception_graph import fetch_inception_graph
from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.evaluation.features import build_extractor, inception_2015
from slimdit.evaluation.features.frozen_graph import FrozenGraph
from slimdit.evaluation.features.torch_graph import TorchGraph
from slimdit.evaluation.metrics.frechet import frechet_distance

GOLDEN = json.loads((Path(__file__).parent / "golden/openai_evaluator.json").read_text())
SCRIPTS = Path(inception_2015.__file__).parents[3]

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None,
    reason="needs TensorFlow: pip install -r requirements-inception.txt",
)
each_backend = pytest.mark.parametrize(
    "backend", [pytest.param("tensorflow", marks=needs_tensorflow), "torch"]
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Options that build the extractor from the tiny graph."""
    path = tmp_path_factory.mktemp("graph") / "tiny.pb"
    return {"graph": str(path), "md5": write_tiny_graph(path)}


def build(tiny, **options):
    return build_extractor("inception-2015", **{**tiny, **options})


def noise_images(num_images, height, width):
    shape = (num_images, height, width, 3)
    return stream(0, "noise").integers(0, 256, shape, dtype=np.uint8)


def relative_difference(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@needs_tensorflow
@pytest.mark.parametrize(
    "size", [(64, 64), (256, 256), (299, 299), (75, 75), (74, 76), (48, 200), (300, 33)]
)
def test_backends_agree(tiny, size):
    images = noise_images(3, *size)
    ours = build(tiny, backend="torch").features(images, batch_size=3)
    theirs = build(tiny, backend="tensorflow").features(images, batch_size=3)
    for name in theirs:
        assert relative_difference(ours[name], theirs[name]) < 1e-5


@needs_tensorflow
def test_backends_agree_on_every_operation(tiny):
    from slimdit.evaluation.features.tensorflow_graph import TensorFlowGraph

    images, fetches = noise_images(2, 60, 90).astype(np.float32), ("mixed_6/join:0", "pool_1:0")
    theirs = TensorFlowGraph(tiny["graph"], "ExpandDims:0", fetches)(images)
    ours = TorchGraph(FrozenGraph(tiny["graph"]), "ExpandDims:0", fetches, "cpu")(images)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert relative_difference(a, b) < 1e-5


@each_backend
def test_shapes_and_batches(tiny, backend):
    extractor = build(tiny, backend=backend)
    images = noise_images(5, 64, 64)
    alone = extractor.features(images, batch_size=1)
    assert alone["pooled"].shape == (5, NUM_POOLED)
    assert alone["spatial"].shape == (5, NUM_SPATIAL)
    assert alone["pooled"].dtype == alone["spatial"].dtype == np.float32
    for batch_size in (2, 5):
        together = extractor.features(images, batch_size)
        for name in alone:
            assert relative_difference(together[name], alone[name]) < 1e-6
    other_size = extractor.features(noise_images(2, 33, 47), batch_size=2)
    assert other_size["spatial"].shape == (2, NUM_SPATIAL)


def test_spatial_features_are_the_first_channels_in_height_width_channel_order(tiny):
    images = noise_images(2, 64, 64)
    graph = FrozenGraph(tiny["graph"])
    run = TorchGraph(graph, "ExpandDims:0", ("mixed_6/conv:0",), "cpu")
    (map_of_7,) = (values[..., :7] for values in run(images.astype(np.float32)))
    spatial = build(tiny, backend="torch").features(images, 2)["spatial"]
    np.testing.assert_array_equal(spatial.reshape(2, 5, 5, 7), map_of_7)
    assert (spatial >= 0).all()  # after the ReLU, which has the scope's name


def test_class_probabilities_leave_the_bias_out(tiny):
    extractor = build(tiny, backend="torch")
    pooled = stream(0, "pooled").random((4, NUM_POOLED), dtype=np.float32)
    graph = FrozenGraph(tiny["graph"])
    logits = pooled.astype(np.float64) @ graph.constant("softmax/weights")
    probabilities = extractor.class_probabilities(pooled)
    assert probabilities.shape == (4, NUM_CLASSES)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    differences = np.log(probabilities[:, 1:]) - np.log(probabilities[:, :1])
    np.testing.assert_allclose(differences, logits[:, 1:] - logits[:, :1])


@each_backend
def test_values_of_the_evaluator(tiny, backend):
    from slimdit.evaluation.metrics.inception_score import inception_score

    tolerance = {"tensorflow": 1e-6, "torch": 3e-6}[backend]
    reference, samples = evaluated_images()
    for images, made in ((reference, "reference"), (samples, "samples")):
        found = hashlib.sha256(images.tobytes()).hexdigest()
        assert found == GOLDEN["images"][made]["sha256"], "numpy draws other images"
    extractor = build(tiny, backend=backend)
    assert extractor.weights_sha256 == GOLDEN["graph"]["sha256"]
    of_reference = extractor.features(reference, batch_size=64)
    of_samples = extractor.features(samples, batch_size=64)
    for name, column in (("pooled", "fid"), ("spatial", "sfid")):
        a, b = of_reference[name], of_samples[name]
        golden = GOLDEN["values"][column]
        as_there = frechet_distance(a, b, mean_dtype="float32")
        assert as_there == pytest.approx(golden, rel=tolerance)
        # With means in float64 it is 2e-6 off.
        assert frechet_distance(a, b) == pytest.approx(golden, rel=5e-6)
    probabilities = extractor.class_probabilities(of_samples["pooled"])
    for split_size, column in ((5000, "inception_score"), (250, "inception_score_splits_of_250")):
        score = inception_score(probabilities, split_size=split_size).mean
        assert score == pytest.approx(GOLDEN["values"][column], rel=1e-6)


@needs_tensorflow
def test_fidelity_of_the_evaluator_is_that_of_half_precision(tiny):
    """Its squared distances, in float16, give its precision and recall; in float64 they differ."""
    import tensorflow as tf

    extractor = build(tiny, backend="tensorflow")
    sets = [extractor.features(images, batch_size=64)["pooled"] for images in evaluated_images()]

    def distances(x, y):
        x, y = (tf.constant(features, tf.float16) for features in (x, y))
        squares_x, squares_y = (tf.reduce_sum(tf.square(side), 1) for side in (x, y))
        product = tf.matmul(x, y, transpose_b=True)
        return tf.maximum(squares_x[:, None] - 2 * product + squares_y, 0).numpy()

    def share(points, others):
        """Of `points` in any ball of `others`, of radius to the third of the other images."""
        radii = np.sort(distances(others, others), axis=1)[:, 3].astype(np.float32)
        return (distances(others, points) <= radii[:, None]).any(0).mean()

    reference, samples = sets
    assert share(samples, reference) == pytest.approx(GOLDEN["values"]["precision"], abs=1e-9)
    assert share(reference, samples) == pytest.approx(GOLDEN["values"]["recall"], abs=1e-9)


def test_fid_is_said_of_the_published_graph_alone(tiny, monkeypatch):
    other = build(tiny, backend="torch").describe()
    assert other["fd_label"] == f"FD (graph {tiny['md5'][:8]})"
    assert (other["fd_column"], other["sfd_column"]) == ("fd_graph", "sfd_graph")
    assert "fid" not in json.dumps(other).lower()

    monkeypatch.setattr(inception_2015, "GRAPH_MD5", tiny["md5"])
    published = build(tiny, backend="torch").describe()
    assert (published["fd_label"], published["sfd_label"]) == ("FID", "sFID")
    assert (published["fd_column"], published["sfd_column"]) == ("fid", "sfid")


@each_backend
def test_description_identifies_the_graph_and_not_its_place(tiny, backend):
    description = build(tiny, backend=backend).describe()
    assert description["options"]["graph_md5"] == tiny["md5"]
    assert description["options"]["backend"] == backend
    assert description["weights_sha256"] == GOLDEN["graph"]["sha256"]
    assert tiny["graph"] not in json.dumps(description)


def test_another_file_is_refused_by_its_md5(tiny):
    with pytest.raises(InputError, match=f"has the md5 {tiny['md5']} .* 95673916 bytes"):
        build_extractor("inception-2015", graph=tiny["graph"])


def test_a_missing_graph_and_bad_options_are_refused(tiny, tmp_path):
    with pytest.raises(InputError, match=r"option graph should be your .*fetch_inception_graph"):
        build(tiny, graph=str(tmp_path / "none.pb"))
    with pytest.raises(InputError, match="'jax'; it should be tensorflow or torch"):
        build(tiny, backend="jax")
    with pytest.raises(InputError, match="missing a required argument: 'graph'"):
        build_extractor("inception-2015")


def test_a_graph_that_cannot_be_run_is_refused(tiny, tmp_path):
    path = tmp_path / "other.pb"
    graph = GraphDef.FromString(Path(tiny["graph"]).read_bytes())
    next(node for node in graph.node if node.name == "pool_3").op = "AvgPool3D"
    path.write_bytes(graph.SerializeToString())
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    with pytest.raises(InputError, match="needs the operation 'AvgPool3D'"):
        build(tiny, graph=str(path), md5=md5, backend="torch")
    graph = GraphDef.FromString(Path(tiny["graph"]).read_bytes())
    next(node for node in graph.node if node.op == "Conv2D").attr["dilations"].list.i.extend([1, 2])
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(InputError, match=r"'Conv2D' in a form .* at conv/Conv2D; set backend"):
        TorchGraph(FrozenGraph(path), "ExpandDims:0", ("pool_3:0",), "cpu")
    with pytest.raises(InputError, match="has no tensor 'mixed_99:0'"):
        FrozenGraph(path).order("ExpandDims:0", ("mixed_99:0",))
    path.write_bytes(b"no graph")
    with pytest.raises(InputError, match="is no GraphDef"):
        FrozenGraph(path)


IMPORTED = """
import sys
import numpy as np
from slimdit.core.errors import InputError
from slimdit.evaluation.features import build_extractor

def imported():
    return [name for name in ("torch", "tensorflow", "tensorboard") if name in sys.modules]

graph, md5, backend = sys.argv[1:]
try:
    build_extractor("inception-2015", graph=graph, backend=backend)
except InputError:
    print(*imported())
extractor = build_extractor("inception-2015", graph=graph, md5=md5, backend=backend)
pooled, spatial = extractor.batch_features(np.zeros((1, 16, 16, 3), np.uint8))
extractor.class_probabilities(pooled)
print(*imported())
"""


@each_backend
def test_a_process_has_one_framework_and_none_before_the_graph_is_checked(tiny, backend):
    command = [sys.executable, "-c", IMPORTED, tiny["graph"], tiny["md5"], backend]
    run = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["", f"{backend} tensorboard"]


def test_without_tensorflow_its_backend_says_what_to_install(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow.compat.v1", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(InputError, match=r"pip install -r requirements-inception\.txt"):
        build(tiny)


def test_the_graph_is_fetched_and_checked(tiny, tmp_path):
    source = Path(tiny["graph"])
    good = {
        "recipe": {},
        "url": source.as_uri(),
        "md5": tiny["md5"],
        "size": source.stat().st_size,
    }
    graph = tmp_path / "graph.pb"
    fetch_inception_graph(graph, **good)
    assert graph.read_bytes() == source.read_bytes()

    graph.unlink()
    for wrong, message in (
        ({"md5": "0" * 32}, f"md5 {tiny['md5']}; it should give .* md5 {'0' * 32}"),
        ({"size": 10}, "it should give 10 bytes"),
        ({"url": (tmp_path / "none.pb").as_uri()}, "none.pb cannot be downloaded"),
        ({"url": "nowhere"}, "nowhere cannot be downloaded .* extractors.inception-2015.graph"),
    ):
        with pytest.raises(InputError, match=message):
            fetch_inception_graph(graph, **{**good, **wrong})
        assert list(tmp_path.iterdir()) == []

"""From image files to quality.json, on photographs small enough for seconds."""

import json
import os

import numpy as np
import pytest
import skimage.data
from PIL import Image
from tiny_graph import write_tiny_graph

from evaluate import evaluate
from evaluate_reference import evaluate_reference
from make_reference import make_reference
from slimdit.core.errors import InputError
from slimdit.core.randomness import stream
from slimdit.data.images import load_image
from slimdit.evaluation.reference_rows import REFERENCE_ROWS, first_of_each_class
from slimdit.storage.files import load_npz, read_json, sha256_of, write_csv, write_json, write_npz

CLASSES = ["chelsea", "coffee", "rocket"]
IMAGE_SIZE = 64
NUM_REFERENCE, NUM_HELD_OUT, NUM_SAMPLES = 8, 4, 6  # of each class
EVALUATION = {
    "extractor": {"name": "efficientnet-lite0", "input_size": 128},
    "batch_size": 16,
    "neighbours": 3,
    "kid_subsets": 5,
    "kid_subset_size": 12,
    "score_split_size": 5000,
    "memorization_per_class": 8,
    "loss_draws": 4,
    "seed": 0,
}


def crop(photograph, random):
    side = int(min(photograph.shape[:2]) * random.uniform(0.6, 0.9))
    top = random.integers(photograph.shape[0] - side + 1)
    left = random.integers(photograph.shape[1] - side + 1)
    piece = Image.fromarray(photograph[top : top + side, left : left + side])
    return piece.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS)


def through_a_lossy_map(images, seed):
    """Images (N, H, W, 3) in blocks of 8 pixels, each with noise of its own: an autoencoder."""
    blocks = images.reshape(len(images), IMAGE_SIZE // 8, 8, IMAGE_SIZE // 8, 8, 3).mean((2, 4))
    blurred = blocks.repeat(8, axis=1).repeat(8, axis=2)
    noise = stream(seed, "lossy").normal(0, 2, blurred.shape)
    return np.clip(blurred + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with images, subset.csv, reconstructions, the reference and its features."""
    folder = tmp_path_factory.mktemp("study")
    rows = []
    for label, name in enumerate(CLASSES):
        photograph, random = getattr(skimage.data, name)(), stream(0, name)
        for i in range(NUM_REFERENCE + NUM_HELD_OUT):
            path = f"{name}/{i}.png"
            (folder / "images" / name).mkdir(parents=True, exist_ok=True)
            crop(photograph, random).save(folder / "images" / path)
            rows.append(
                {
                    "path": path,
                    "class": name,
                    "label": label,
                    "split": "train" if i < NUM_REFERENCE else "held_out",
                    "reference": int(i < NUM_REFERENCE),
                    "sha256": sha256_of(folder / "images" / path),
                }
            )
    rows = rows[::-1]
    write_csv(folder / "subset.csv", list(rows[0]), rows)
    sets = {
        name: np.stack(
            [load_image(folder / "images" / row["path"], IMAGE_SIZE) for row in rows if chosen(row)]
        )
        for name, chosen in {
            "reference": lambda row: row["reference"],
            "held_out": lambda row: row["split"] == "held_out",
        }.items()
    }
    reconstructed = {name: through_a_lossy_map(images, 0) for name, images in sets.items()}
    others = np.empty((0, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    write_npz(folder / "reconstructions.npz", **reconstructed, other_train=others)
    run_make_reference(folder, folder / "subset.csv", folder)
    return folder


def run_make_reference(folder, subset, out, evaluation=EVALUATION, graph=None):
    make_reference(
        subset=subset,
        reconstructions=folder / "reconstructions.npz",
        reference=out / "reference.npz",
        features=out / "reference-features.npz",
        images_root=folder / "images",
        image_size=IMAGE_SIZE,
        evaluation=evaluation,
        state=out / "state",
        recipe={"step": "evaluate"},
        graph=graph,
    )


def write_report(path, sha256):
    """What `sample` says of samples.npz."""
    origin = {"outputs": {"samples.npz": sha256}}
    sampling = {"steps": 20, "seed": 5, "labels": "balanced"}
    write_json(path, {"origin": origin, "sampling": sampling})


def run_evaluate(study, tmp_path, images, labels, evaluation=EVALUATION, graph=None):
    samples = tmp_path / "samples.npz"
    write_npz(samples, arr_0=images, arr_1=labels)
    write_report(tmp_path / "samples.json", sha256_of(samples))
    of_loss = {"whole": 0.2, "left_out": [0.1, 0.3], "drawn_from": ["held-out"]}
    write_json(tmp_path / "held_out_loss.json", {"held_out_loss": of_loss})
    evaluate(
        samples=samples,
        samples_json=tmp_path / "samples.json",
        loss=tmp_path / "held_out_loss.json",
        reference_features=study / "reference-features.npz",
        quality=tmp_path / "quality.json",
        features=tmp_path / "features.npz",
        variant="S2-base",
        seed=0,
        evaluation=evaluation,
        state=tmp_path / "state",
        recipe={"step": "evaluate"},
        graph=graph,
    )
    return read_json(tmp_path / "quality.json")


@pytest.fixture(scope="module")
def crops():
    """Other crops of the same photographs, and their labels."""
    images = [
        np.asarray(crop(getattr(skimage.data, name)(), random))
        for name in CLASSES
        for random in [stream(1, name)]
        for _ in range(NUM_SAMPLES)
    ]
    return np.stack(images), np.repeat(np.arange(len(CLASSES)), NUM_SAMPLES)


def test_reference_holds_the_images_of_the_subset_in_its_order(study):
    arrays = load_npz(study / "reference.npz")
    np.testing.assert_array_equal(arrays["arr_1"], np.repeat([2, 1, 0], NUM_REFERENCE))
    expected = load_image(study / "images/rocket" / f"{NUM_REFERENCE - 1}.png", IMAGE_SIZE)
    np.testing.assert_array_equal(arrays["arr_0"][0], expected)


def test_reference_features_say_what_made_them(study):
    arrays = load_npz(study / "reference-features.npz")
    assert arrays["pooled"].shape == (24, 1280)
    assert arrays["spatial"].shape == (24, 448)
    assert arrays["held_out_pooled"].shape == arrays["reconstructed_held_out_pooled"].shape
    assert arrays["held_out_pooled"].shape == (12, 1280)
    np.testing.assert_array_equal(arrays["held_out_labels"], np.repeat([2, 1, 0], NUM_HELD_OUT))
    for kind in ("reconstructed_pooled", "reconstructed_train_pooled"):
        assert arrays[kind].shape == (24, 1280)
    meta = json.loads(str(arrays["meta"]))
    assert meta["extractor"]["name"] == "efficientnet-lite0"
    assert meta["extractor"]["options"]["input_size"] == 128
    assert meta["origin"]["outputs"] == {"reference.npz": sha256_of(study / "reference.npz")}
    assert meta["origin"]["recipe"] == {"step": "evaluate"}


def test_quality_of_the_reference_itself_is_perfect(study, tmp_path):
    arrays = load_npz(study / "reference.npz")
    quality = run_evaluate(study, tmp_path, arrays["arr_0"], arrays["arr_1"])
    metrics = quality["metrics"]
    assert abs(metrics["fd"]) < 1e-3 and abs(metrics["sfd"]) < 1e-3
    assert metrics["precision"] == metrics["recall"] == metrics["class_accuracy"] == 1.0
    assert metrics["kid"] < 0  # unbiased for sets without images in common, low for these


def test_quality_of_real_crops_is_better_than_of_noise(study, crops, tmp_path):
    images, labels = crops
    real = run_evaluate(study, tmp_path, images, labels)
    noise = stream(0, "noise").integers(0, 256, size=images.shape, dtype=np.uint8)
    noisy = run_evaluate(study, tmp_path, noise, labels)
    for metric in ("fd", "sfd", "kid"):
        assert real["metrics"][metric] < noisy["metrics"][metric]
    assert real["metrics"]["precision"] > noisy["metrics"]["precision"]
    assert real["metrics"]["class_accuracy"] > 0.9
    assert noisy["metrics"]["class_accuracy"] < 0.6
    assert real["probe"]["held_out_accuracy"] == 1.0 and real["probe"]["num_held_out"] == 12
    assert real["probe"]["reconstructed_held_out_accuracy"] < 1.0
    assert (real["num_samples"], real["num_reference"]) == (18, 24)
    assert (real["variant"], real["seed"]) == ("S2-base", 0)
    assert real["sampling"] == {"steps": 20, "seed": 5, "labels": "balanced"}
    jackknifed = {"fd", "sfd", "reconstructed_fd", "kid", "class_accuracy", "held_out_loss"}
    assert real["jackknife"].keys() == jackknifed
    assert real["jackknife"]["fd"]["whole"] == real["metrics"]["fd"]
    assert real["metrics"]["held_out_loss"] == 0.2
    assert real["extractor"]["fd_label"] == "FD (EfficientNet-Lite0)"
    assert real["origin"]["inputs"].keys() == {
        "held_out_loss.json",
        "samples.npz",
        os.path.relpath(study / "reference-features.npz", tmp_path),
    }
    assert real["origin"]["inputs"] != noisy["origin"]["inputs"]
    assert real["origin"]["recipe"] == {"step": "evaluate"}


def test_copies_are_told_from_new_images_through_a_lossy_map(study, crops, tmp_path):
    """The copies are no pictures of the reference's reconstructions: they have other noise."""
    reference = load_npz(study / "reference.npz")
    copies = through_a_lossy_map(reference["arr_0"], 1)
    of_copies = run_evaluate(study, tmp_path, copies, reference["arr_1"])["metrics"]
    assert of_copies["nearest_train_distance_ratio"] < 0.5
    assert of_copies["fraction_closer_than_held_out"] > 0.9
    images, labels = crops
    of_new = run_evaluate(study, tmp_path, through_a_lossy_map(images, 1), labels)["metrics"]
    assert of_new["nearest_train_distance_ratio"] == pytest.approx(1, abs=0.2)
    assert of_new["fraction_closer_than_held_out"] < 0.2
    for name in ("precision", "recall", "density", "coverage"):
        assert of_copies[name] == of_new[name] == 0
        assert of_copies[f"reconstructed_{name}"] > of_new[f"reconstructed_{name}"] > 0
    assert of_copies["reconstructed_fd"] < of_new["reconstructed_fd"] < of_new["fd"]


def test_real_images_are_evaluated_as_if_they_were_samples(study, tmp_path):
    path = tmp_path / "reference_quality.json"
    features = study / "reference-features.npz"
    evaluate_reference(features, path, EVALUATION, num_samples=9, recipe={})
    report = read_json(path)
    assert [row["variant"] for row in report["rows"]] == list(REFERENCE_ROWS)
    assert {row["num_samples"] for row in report["rows"]} == {9}
    real, held_out, copies = (row["metrics"] for row in report["rows"])
    assert real["fd"] < held_out["fd"] and held_out["reconstructed_fd"] < held_out["fd"]
    assert (real["class_accuracy"], real["precision"]) == (1, pytest.approx(0.9, abs=0.1))
    assert copies["nearest_train_distance_ratio"] == 0
    assert copies["fraction_closer_than_held_out"] == 1
    assert held_out["nearest_train_distance_ratio"] == pytest.approx(1, abs=0.1)


def test_the_first_images_of_each_class_are_taken_in_turn():
    labels = np.array([4, 4, 4, 1, 1, 0])
    assert first_of_each_class(labels, 4).tolist() == [0, 3, 5, 1]
    assert sorted(first_of_each_class(labels, 10)) == list(range(6))


def test_the_graph_of_an_extractor_is_among_what_results_are_made_from(study, crops, tmp_path):
    graph = tmp_path / "tiny.pb"
    options = {"graph": str(graph), "md5": write_tiny_graph(graph), "backend": "torch"}
    evaluation = EVALUATION | {"extractor": {"name": "inception-2015", **options}}
    run_make_reference(study, study / "subset.csv", tmp_path, evaluation, graph)
    meta = json.loads(str(load_npz(tmp_path / "reference-features.npz")["meta"]))
    quality = run_evaluate(tmp_path, tmp_path, *crops, evaluation, graph)
    for inputs in (meta["origin"]["inputs"], quality["origin"]["inputs"]):
        assert inputs["tiny.pb"] == sha256_of(graph)


def test_quality_does_not_depend_on_the_batch_size(study, crops, tmp_path):
    one = run_evaluate(study, tmp_path, *crops, EVALUATION | {"batch_size": 5})
    other = run_evaluate(study, tmp_path, *crops, EVALUATION | {"batch_size": 64})
    assert one["metrics"] == pytest.approx(other["metrics"], rel=1e-4)


def test_class_accuracy_is_of_the_prompted_labels(study, crops, tmp_path):
    images, labels = crops
    quality = run_evaluate(study, tmp_path, images, np.roll(labels, NUM_SAMPLES))
    assert quality["metrics"]["class_accuracy"] < 0.1


def test_reference_of_another_extractor_is_refused(study, crops, tmp_path):
    other = EVALUATION | {"extractor": {"name": "efficientnet-lite0", "input_size": 96}}
    with pytest.raises(InputError, match=r"input_size 128.*evaluated by .*input_size 96") as error:
        run_evaluate(study, tmp_path, *crops, other)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "quality.json").exists()


def test_samples_that_do_not_fit_are_refused(study, crops, tmp_path):
    images, labels = crops
    with pytest.raises(InputError, match="samples are of 32x32 pixels"):
        run_evaluate(study, tmp_path, images[:, ::2, ::2], labels)
    with pytest.raises(InputError, match="label 7 is not among the 3 classes"):
        run_evaluate(study, tmp_path, images, np.where(labels == 2, 7, labels))
    with pytest.raises(InputError, match="uint8"):
        run_evaluate(study, tmp_path, images / 255, labels)
    with pytest.raises(InputError, match=r"arr_0 of .* of shape \(64, 64, 3\)"):
        run_evaluate(study, tmp_path, images[0], labels)


def test_samples_without_labels_are_refused(study, crops, tmp_path):
    samples, samples_json = tmp_path / "samples.npz", tmp_path / "samples.json"
    write_npz(samples, arr_0=crops[0])
    write_report(samples_json, sha256_of(samples))
    features, quality = study / "reference-features.npz", tmp_path / "quality.json"
    rest = (tmp_path / "features.npz", "S2-base", 0, EVALUATION, tmp_path, {})
    with pytest.raises(InputError, match="no arr_0 or arr_1"):
        evaluate(samples, samples_json, tmp_path / "loss.json", features, quality, *rest)
    write_report(samples_json, "0" * 64)
    with pytest.raises(InputError, match="about other samples"):
        evaluate(samples, samples_json, tmp_path / "loss.json", features, quality, *rest)


def test_changed_image_is_refused(study, tmp_path):
    text = (study / "subset.csv").read_text()
    digest = sha256_of(study / "images/coffee/0.png")
    (tmp_path / "subset.csv").write_text(text.replace(digest, "0" * 64))
    with pytest.raises(InputError, match=r"coffee/0\.png is not the image that was selected"):
        run_make_reference(study, tmp_path / "subset.csv", tmp_path)


def test_subset_without_held_out_images_is_refused(study, tmp_path):
    text = (study / "subset.csv").read_text()
    (tmp_path / "subset.csv").write_text(text.replace("held_out", "train"))
    with pytest.raises(InputError, match="has no held_out images"):
        run_make_reference(study, tmp_path / "subset.csv", tmp_path)

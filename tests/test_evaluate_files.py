"""Metrics of files from anywhere: python -m slimdit.evaluation.__main__."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_graph import coarse_images, write_tiny_graph

from slimdit.core.errors import InputError
from slimdit.evaluation import __main__ as evaluate
from slimdit.evaluation.features import build_extractor
from slimdit.evaluation.features.efficientnet_lite0 import EfficientNetLite0
from slimdit.evaluation.image_sets import checked_images, read_image_set
from slimdit.evaluation.quality import quality
from slimdit.storage.files import sha256_of

NUM_IMAGES = 48
MEASURES = {
    "neighbours": 2,
    "kid_subsets": 3,
    "kid_subset_size": 10,
    "score_split_size": 20,
    "seed": 4,
}
FLAGS = [
    *("--option", "input_size=32", "--batch-size", "16", "--neighbours", "2"),
    *("--kid-subsets", "3", "--kid-subset-size", "10", "--score-split-size", "20", "--seed", "4"),
]
SCRIPTS = Path(evaluate.__file__).parents[2]


@pytest.fixture(scope="module")
def sets():
    """Reference and samples uint8 (N, 32, 32, 3), with labels of 4 classes."""
    images = [coarse_images(what, NUM_IMAGES, 0, 200)[:, :32, :32] for what in ("real", "made")]
    return *images, np.arange(NUM_IMAGES) % 4


@pytest.fixture(scope="module")
def extractor():
    return build_extractor("efficientnet-lite0", input_size=32)


@pytest.fixture
def files(tmp_path, sets):
    real, made, labels = sets
    np.savez(tmp_path / "real.npz", arr_0=real, arr_1=labels)
    np.savez_compressed(tmp_path / "made.npz", made)
    return tmp_path


def write_folder(root, images, names="{:03}.png"):
    for i, image in enumerate(images):
        path = root / names.format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def test_features_that_are_kept_are_computed_once(files, tmp_path, monkeypatch, capsys):
    arguments = (files / "real.npz", files / "made.npz", "--cache-dir", tmp_path / "kept")
    arguments = [*map(str, arguments), *FLAGS]
    assert evaluate.main(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    num_computed = []
    compute = EfficientNetLite0.batch_features

    def counted(self, images):
        num_computed.append(len(images))
        return compute(self, images)

    monkeypatch.setattr(EfficientNetLite0, "batch_features", counted)
    assert evaluate.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == first["metrics"]
    assert set(num_computed) == {1}  # which only says how many features there are


def test_files_have_the_metrics_of_their_features(files, sets, extractor, capsys):
    real, made, labels = sets
    assert evaluate.main([str(files / "real.npz"), str(files / "made.npz"), *FLAGS]) == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    of_made = extractor.features(made, 16)
    of_made["probabilities"] = extractor.class_probabilities(of_made["pooled"])
    expected, _ = quality({**extractor.features(real, 16), "labels": labels}, of_made, **MEASURES)
    called = extractor.metric_names
    names = {"fd": called.fd_column, "sfd": called.sfd_column}
    names["classifier_score"] = called.score_column
    found = result["metrics"]
    assert len(found) == len(expected)
    for name, value in expected.items():
        stem = next((stem for stem in names if f"{name}_".startswith(f"{stem}_")), name)
        column = names.get(stem, stem) + name.removeprefix(stem)
        assert found[column] == pytest.approx(value, rel=1e-9), name
    assert result["extractor"] == extractor.describe()
    assert result["reference"] == {
        "path": str(files / "real.npz"),
        "sha256": sha256_of(files / "real.npz"),
        "num_images": NUM_IMAGES,
        "image_size": [32, 32],
        "has_labels": True,
        "statistics_of": [],
    }
    assert result["samples"]["sha256"] == sha256_of(files / "made.npz")
    assert result["options"] == {"batch_size": 16, "image_size": None, **MEASURES}
    assert "versions" in result["origin"]
    assert "FD (EfficientNet-Lite0)" in output.err


@pytest.mark.parametrize("names", ["{:03}.png", "class/{:03}.png"])
def test_a_folder_is_at_distance_0_of_its_images(files, sets, extractor, names, capsys):
    write_folder(files / "folder", sets[0], names)
    arguments = [str(files / "real.npz"), str(files / "folder"), *FLAGS]
    assert evaluate.main(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["metrics"][extractor.metric_names.fd_column] == pytest.approx(0, abs=1e-9)
    assert result["metrics"][extractor.metric_names.sfd_column] == pytest.approx(0, abs=1e-9)
    assert result["samples"]["has_labels"] == ("/" in names)


def test_the_digest_of_a_folder_is_that_of_its_names_and_contents(tmp_path, sets):
    write_folder(tmp_path / "a", sets[0][:3])
    write_folder(tmp_path / "b", sets[0][:3])
    digest = read_image_set(tmp_path / "a").sha256
    assert digest == read_image_set(tmp_path / "b").sha256
    (tmp_path / "b/002.png").rename(tmp_path / "b/003.png")
    assert digest != read_image_set(tmp_path / "b").sha256


def test_images_of_different_sizes_are_cropped_when_asked(tmp_path):
    write_folder(tmp_path, [np.full((40, 30 + i, 3), 9, np.uint8) for i in range(3)])
    assert (read_image_set(tmp_path, image_size=20).images == 9).all()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_images_are_read_whole(tmp_path, sets, save, order):
    images = np.asarray(sets[0][:5], order=order)
    save(tmp_path / "a.npz", before=np.arange(7), arr_0=images, arr_1=np.arange(4))
    found = read_image_set(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.images, images)
    assert found.labels is None  # there are fewer than images


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Flags that build Inception's extractor from the tiny graph by PyTorch."""
    path = tmp_path_factory.mktemp("graph") / "tiny.pb"
    options = {"graph": path, "md5": write_tiny_graph(path), "backend": "torch"}
    flags = ["--extractor", "inception-2015"]
    for key, value in options.items():
        flags += ["--option", f"{key}={value}"]
    return flags, build_extractor("inception-2015", **{**options, "graph": str(path)})


def test_statistics_of_the_reference_stand_for_its_images(tmp_path, tiny, capsys):
    flags, extractor = tiny
    real, made = (coarse_images(what, 200, 0, 200)[:, :16, :16] for what in ("real", "made"))
    statistics = {}
    for kind, features in extractor.features(real, 50).items():
        mean, covariance = {"pooled": ("mu", "sigma"), "spatial": ("mu_s", "sigma_s")}[kind]
        statistics |= {mean: features.mean(0, np.float64), covariance: np.cov(features.T)}
    np.savez(tmp_path / "made.npz", made)
    np.savez(tmp_path / "images.npz", real)
    np.savez(tmp_path / "both.npz", real, **statistics)
    np.savez(tmp_path / "statistics.npz", **statistics)
    distances = ("fd_graph", "sfd_graph")
    results = {}
    for name in ("images", "both", "statistics"):
        command = [tmp_path / f"{name}.npz", tmp_path / "made.npz", *flags, *FLAGS[2:]]
        assert evaluate.main([str(argument) for argument in command]) == 0
        results[name] = json.loads(capsys.readouterr().out)
    assert results["statistics"]["metrics"].keys() == set(distances)
    assert results["statistics"]["reference"]["num_images"] is None
    assert "FID" not in json.dumps(results)
    of_images, of_both = results["images"]["metrics"], results["both"]["metrics"]
    assert of_both.keys() == of_images.keys()
    for name in distances:
        assert of_both[name] == results["statistics"]["metrics"][name]
        assert of_both[name] == pytest.approx(of_images[name], rel=1e-6)
    for name in set(of_images) - set(distances):
        assert of_both[name] == of_images[name]


IMAGES = np.zeros((3, 4, 5, 3), np.uint8)
GOOD = {"mu": np.zeros(2), "sigma": np.eye(2)}
BAD_ARRAYS = {
    "float": ({"arr_0": np.zeros((3, 4, 5, 3))}, r"float64 .*: multiply values in \[0, 1\] by 255"),
    "int64": ({"arr_0": IMAGES.astype(int)}, r"is int64 of .*; it should be uint8 of shape"),
    "rank": ({"arr_0": IMAGES[0]}, r"of shape \(4, 5, 3\); it should be .* \(number, height"),
    "grey": ({"arr_0": IMAGES[..., :1]}, r"of shape \(3, 4, 5, 1\); it should be"),
    "no pixels": ({"arr_0": IMAGES[:, :0]}, r"of shape \(3, 0, 5, 3\); it should be"),
    "NCHW": ({"arr_0": IMAGES.transpose(0, 3, 1, 2)}, r"transpose it by arr_0\.transpose\(0, 2, 3"),
    "one image": ({"arr_0": IMAGES[:1]}, "has 1 images; it should have at least 2"),
    "objects": ({"arr_0": np.array([None, 1])}, "npz file of plain arrays"),
    "object labels": ({"arr_0": IMAGES, "arr_1": np.array([{}] * 3)}, "npz file of plain arrays"),
    "no arr_0": ({"images": IMAGES}, "has no arr_0; it has images, and should"),
    "NaN": ({**GOOD, "mu": np.array([0, np.nan])}, "mu of .* has values that are not finite"),
    "not square": ({**GOOD, "sigma": np.ones((2, 3))}, r"sigma of .* \(2, 3\); they should be"),
    "other length": ({**GOOD, "mu": np.zeros(3)}, r"has shape \(3,\) and sigma of .* \(2, 2\)"),
    "asymmetric": ({**GOOD, "sigma": np.tri(2)}, "sigma of .* differs from its transpose"),
    "mu alone": ({"mu": np.zeros(2), "mu_s": np.zeros(2)}, "has no sigma; it has mu, mu_s"),
}


@pytest.fixture
def refuses(files, monkeypatch, capsys):
    """Checks that a file is refused on either side, before an extractor is built."""

    def build(name, **options):
        raise AssertionError("an extractor was built")

    monkeypatch.setattr(evaluate, "build_extractor", build)

    def check(path, message):
        good = files / "real.npz"
        for pair in ((path, good), (good, path)):
            assert evaluate.main([*map(str, pair), "--neighbours", "2"]) == 1
            said = capsys.readouterr()
            assert said.out == ""
            assert str(path) in said.err
            assert re.fullmatch(f"[^\\n]*{message}[^\\n]*\\.\\n", said.err), said.err

    return check


@pytest.mark.parametrize(("arrays", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_arrays_are_refused(refuses, files, arrays, message):
    np.savez(files / "bad.npz", **arrays)
    refuses(files / "bad.npz", message)


def test_bad_files_are_refused(refuses, files):
    good, bad = files / "real.npz", files / "bad.npz"
    refuses(files / "none.npz", "does not exist; it should be an .npz file")
    for kind in ("real", "made"):
        whole = (files / f"{kind}.npz").read_bytes()
        damaged = bytearray(whole)
        damaged[5000] ^= 255
        for content in (whole[: len(whole) // 2], bytes(damaged), b"no zip file\n", b""):
            bad.write_bytes(content)
            refuses(bad, "is not an .npz file of plain arrays .*make or download it")
    with zipfile.ZipFile(good) as archive, zipfile.ZipFile(bad, "w") as short:
        short.writestr("arr_0.npy", archive.read("arr_0.npy")[:-1])
    refuses(bad, "is not an .npz file of plain arrays")
    with open(bad, "wb") as file:
        np.save(file, IMAGES)
    refuses(bad, "is not an .npz file of plain arrays")
    np.savez(bad, **GOOD)
    with pytest.raises(InputError, match="it has mu, sigma"):
        read_image_set(bad)  # as samples


def test_bad_folders_are_refused(refuses, files, sets):
    folder = files / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("no image")
    refuses(folder, r"no images where .*: images, or one folder of .*\(such as notes\.txt\)")
    write_folder(folder, sets[0][:1])
    refuses(folder, "has 1 images; it should have at least 2")
    write_folder(folder, sets[0])
    (folder / "020.png").write_bytes((folder / "020.png").read_bytes()[:200])
    refuses(folder, r"folder/020\.png cannot be read as an image .*; mend or remove it")
    Image.fromarray(sets[0][0][:20]).save(folder / "020.png")
    refuses(folder, "020.png is 32x20 pixels and .*000.png is 32x32; .*by --image-size")
    write_folder(folder, sets[0], "class/{:03}.png")
    refuses(folder, "has both 000.png and class/000.png; it should")


@pytest.mark.parametrize(
    "name", [".ipynb_checkpoints", "__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN"]
)
@pytest.mark.parametrize("names", ["{:03}.png", "class/{:03}.JPEG"])
def test_what_a_system_leaves_is_not_evaluated(tmp_path, sets, names, name):
    write_folder(tmp_path / "folder", sets[0][:4], names)
    before = read_image_set(tmp_path / "folder")
    for place in ("", "class/"):
        write_folder(tmp_path / "folder", sets[1][:2], f"{place}{name}/{{:03}}.png")
    after = read_image_set(tmp_path / "folder")
    assert (before.sha256, before.labels is None) == (after.sha256, after.labels is None)


def test_layouts_that_a_study_refuses_are_refused_in_its_words(refuses, tmp_path, sets):
    write_folder(tmp_path / "folder", sets[0][:2], "train/a/{:03}.png")
    write_folder(tmp_path / "folder", sets[0][:2], "train/b/{:03}.png")
    refuses(tmp_path / "folder", "holds no class folders, but .*/folder/train does; name .*/train")


def test_what_is_left_out_is_told(tmp_path, sets, caplog):
    write_folder(tmp_path, sets[0][:2], "a/{:03}.webp")
    write_folder(tmp_path, sets[0][:3], "a/more/{:03}.png")
    (tmp_path / "a/photo.HEIC").touch()
    assert len(read_image_set(tmp_path).images) == 2
    assert "3 in folders of class folders (such as a/more/000.png), 1 with .heic" in caplog.text


def test_images_of_an_array_are_checked():
    assert checked_images(IMAGES, "samples.npz") is IMAGES
    with pytest.raises(InputError, match=r"arr_0 of samples\.npz is float64"):
        checked_images(IMAGES / 255, "samples.npz")


def test_statistics_of_another_extractor_are_refused(files, monkeypatch, capsys, extractor):
    np.savez(files / "other.npz", **GOOD)
    monkeypatch.setattr(extractor, "features", None)
    monkeypatch.setattr(evaluate, "build_extractor", lambda name, **options: extractor)
    assert evaluate.main([str(files / "other.npz"), str(files / "made.npz")]) == 1
    message = "has statistics of 2 pooled features and efficientnet-lite0 has 1280 for"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--option", "size=3"], "unexpected keyword argument 'size'"),
        (
            ["--option", "input_size=large"],
            "input_size is 'large'; it should be a whole number",
        ),
        (["--extractor", "inception-2015"], "missing a required argument: 'graph'"),
    ],
)
def test_bad_options_of_an_extractor_are_refused(files, capsys, options, message):
    assert evaluate.main([str(files / "real.npz"), str(files / "made.npz"), *options]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("flags", ["--option=a", "--batch-size=0", "--extractor=x", "--seed=-1"])
def test_arguments_are_checked_by_argparse(flags, capsys):
    with pytest.raises(SystemExit) as exit:
        evaluate.main(["a.npz", "b.npz", flags])
    assert exit.value.code == 2
    assert "usage: python -m slimdit.evaluation" in capsys.readouterr().err


def test_values_of_options_are_scalars():
    options = ["a=1", "b=0.5", "c=null", "d=true", "e=/a/b=c", 'f="1"', "g=[1]"]
    arguments = [part for option in options for part in ("--option", option)]
    found = dict(evaluate.parser().parse_args(["a", "b", *arguments]).extractor_options)
    assert list(found.values()) == [1, 0.5, None, True, "/a/b=c", "1", "[1]"]


def test_the_module_runs_and_imports_no_framework_for_bad_files(tmp_path):
    code = (
        "import runpy, sys\ntry:\n    runpy.run_module('slimdit.evaluation', run_name='__main__')\n"
    )
    code += "finally:\n    print(*{'torch', 'tensorflow', 'sklearn'} & set(sys.modules))\n"
    command = [sys.executable, "-c", code, "none.npz", "none.npz"]
    done = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (1, "")
    assert done.stderr.startswith("none.npz does not exist; ")
    assert len(done.stderr.splitlines()) == 1

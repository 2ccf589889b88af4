"""A study's record: what is untouched verifies; what is not is named, and never run."""

import io
import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from recorded_study import RUN
from subjects import ROOT

from slimdit.storage.files import read_json, sha256_of
from slimdit.verify import RECORD, REMEDY, Verification, main

STUDENT = RUN.format("KD-XS2", "checkpoint.safetensors")
TABLES = ("tables/table1.csv", "tables/table1.md", "tables/table2.csv")
TABLES += ("tables/paper.csv", "tables/paper.md")
RECOMMENDED = ("tables/recommendation.md", "tables/recommendation.json")
RECORDED = (
    "data/subset.csv",
    "data/latents.npy",
    "data/held_out_latents.npy",
    "data/latents.json",
    "data/reconstructions.npz",
    "data/reference.npz",
    "data/reference-features.npz",
    "data/reference_quality.json",
    "autoencoder/diffusion_pytorch_model.safetensors",
    "autoencoder/autoencoder.json",
    "variants/XS2-base/architecture.json",
    "variants/XS2-base/speed.json",
    *(
        RUN.format("XS2-base", name)
        for name in ("checkpoint.safetensors", "losses.csv", "training.json", "samples.npz")
    ),
    *(RUN.format("XS2-base", name) for name in ("samples.json", "quality.json", "features.npz")),
    STUDENT,
    *TABLES,
    *RECOMMENDED,
)


@pytest.fixture
def folder(recorded_study, tmp_path):
    """A copy elsewhere, under another name."""
    return Path(shutil.copytree(recorded_study / "results/photos", tmp_path / "archive"))


def verified(folder):
    verification = Verification(folder)
    verification.run()
    return verification


def forge(folder, name, content: bytes):
    """Write the file, and its checksum into every JSON file that records it, up to the record."""
    before = sha256_of(folder / name).encode()
    (folder / name).write_bytes(content)
    after = sha256_of(folder / name).encode()
    for path in folder.rglob("*.json"):
        if before in path.read_bytes():
            forge(folder, path.relative_to(folder), path.read_bytes().replace(before, after))


def forge_json(folder, name, change):
    content = read_json(folder / name)
    change(content)
    forge(folder, name, json.dumps(content).encode())


def the_problem(folder, name):
    """The one problem of the study, which must be about the file."""
    (problem,) = verified(folder).problems.values()
    assert problem.startswith(f"{folder / name} ") and problem.endswith(".")
    return problem


def test_an_untouched_study_verifies_anywhere_and_without_torch(folder):
    no_torch = "import sys; sys.modules['torch'] = None; from slimdit.verify import main; "
    run = subprocess.run(
        [sys.executable, "-c", f"{no_torch}sys.exit(main(sys.argv[1:]))", "archive"],
        capture_output=True,
        text=True,
        cwd=folder.parent,
        env={"PYTHONPATH": str(ROOT / "workflow/scripts")},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.fullmatch(r"\d+ files checked, 0 problems; not checked: none\n", run.stdout)


def test_every_file_that_a_rule_makes_is_checked_but_for_figures(folder):
    found = verified(folder).found.keys() | {RECORD}
    made = {
        path.relative_to(folder).as_posix()
        for name in ("autoencoder", "data", "images", "tables", "variants")
        for path in (folder / name).rglob("*")
        if path.is_file()
    }
    assert made - found == {"data/bad_images.csv", "images/.snakemake_timestamp"}


@pytest.mark.parametrize("name", RECORDED)
def test_one_changed_bit_is_one_problem(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    problem = the_problem(folder, name)
    if name not in TABLES + RECOMMENDED:
        assert f"has sha256 {sha256_of(folder / name)[:12]}, but " in problem


@pytest.mark.parametrize("name", [*RECORDED, RECORD])
def test_a_removed_file_is_one_problem(folder, name):
    (folder / name).unlink()
    assert re.search("is missing|does not exist", the_problem(folder, name))


def test_images_are_checked_where_they_are(folder):
    image = min(path.relative_to(folder) for path in folder.glob("images/*/*.png"))
    (folder / image).write_bytes(b"another picture")
    assert "is recorded in data/subset.csv" in the_problem(folder, image)
    shutil.rmtree(folder / "images")
    assert verified(folder).problems == {}
    assert verified(folder).not_checked == {f"images (no folder {folder}/images)"}


def test_an_edited_cell_is_named_with_what_it_should_be(folder):
    path = folder / "tables/table2.csv"
    header, row, *rest = path.read_text().splitlines(keepends=True)
    cells = row.split(",")
    loss = cells[header.split(",").index("loss")]
    path.write_text(header + row.replace(f",{loss},", ",0.001,", 1) + "".join(rest))
    problem = the_problem(folder, "tables/table2.csv")
    assert f"has '0.001' in line 2, but its JSON files give '{loss}'" in problem


def test_an_edited_metric_with_its_checksum_is_found_by_the_tables(folder):
    forge_json(folder, RUN.format("KD-XS2", "quality.json"), lambda c: c["metrics"].update(fd=1.0))
    assert sorted(verified(folder).problems) == sorted([*TABLES[:2], *RECOMMENDED])


def test_wrong_weights_are_found_through_those_that_are_trained_with_them(folder):
    weights = RUN.format("XS2-base", "checkpoint.safetensors")
    before = (folder / weights).read_bytes()
    forge(folder, weights, before[:-1] + bytes([before[-1] ^ 1]))
    assert the_problem(folder, weights).endswith(f"is recorded in {STUDENT}; {REMEDY}.")


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.mkdir, (Path(self.path),)


def object_array(path) -> bytes:
    file = io.BytesIO()
    np.savez(file, meta=np.array([Payload(path)], dtype=object))
    return file.getvalue()


def header(content: bytes) -> bytes:
    return len(content).to_bytes(8, "little") + content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (STUDENT, lambda path: pickle.dumps(Payload(path))),
        (STUDENT, lambda path: b""),
        (STUDENT, lambda path: header(b"{}")),
        (STUDENT, lambda path: header(b'{"__metadata__": {"slimdit": "[1]"}}')),
        (STUDENT, lambda path: header(b'{"__metadata__": {"slimdit": "{\\"origin\\": 1}"}}')),
        (STUDENT, lambda path: (2**62).to_bytes(8, "little") + b"{}"),
        ("data/reference-features.npz", object_array),
        ("data/reference-features.npz", lambda path: pickle.dumps(Payload(path))),
        ("data/subset.csv", lambda path: b"path,sha256\n\xff\x00"),
        (RUN.format("KD-XS2", "quality.json"), lambda path: b"[1, 2]"),
        (RUN.format("KD-XS2", "samples.json"), lambda path: b"[" * 100_000),
        (RUN.format("KD-XS2", "training.json"), lambda path: pickle.dumps(Payload(path))),
        ("variants/KD-XS2/speed.json", lambda path: b'{"origin": []}'),
        ("data/latents.json", lambda path: b"null"),
        (RECORD, lambda path: b"[]"),
        (RECORD, lambda path: b'{"config": {"study": "tiny"}}'),
    ],
)
def test_a_crafted_file_is_named_and_not_run(folder, name, content, tmp_path):
    forge(folder, name, content(tmp_path / "ran"))
    the_problem(folder, name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "variants/KD-XS2/architecture.json",
            lambda c: c["origin"].pop("recipe"),
            "has no recipe in its origin",
        ),
        (
            RUN.format("KD-XS2", "training.json"),
            lambda c: c["origin"]["recipe"]["settings"]["training"].update(steps=9),
            f"was made with other settings than the config in {RECORD}",
        ),
        (
            "variants/KD-XS2/speed.json",
            lambda c: c["origin"].update(recipe=None),
            "does not say where it comes from",
        ),
        (RECORD, lambda c: c["rows"].pop(), "is not what SlimDiT writes"),
        (RECORD, lambda c: c["config"].pop("seeds"), "is not what SlimDiT writes"),
    ],
)
def test_a_record_that_cannot_be_is_named(folder, name, change, message):
    forge_json(folder, name, change)
    assert message in the_problem(folder, name)


def test_what_lies_outside_the_study_is_not_read(folder, tmp_path):
    (tmp_path / "secret").write_text("not of the study")
    name = RUN.format("KD-XS2", "samples.json")
    forge_json(
        folder, name, lambda c: c["origin"]["inputs"].update({"../../../../secret": "0" * 64})
    )
    verification = verified(folder)
    assert verification.problems == {}
    assert verification.not_checked == {f"{tmp_path}/secret (outside the study)"}


def test_folders_of_a_study_may_be_links(folder, tmp_path):
    (folder / "data").rename(tmp_path / "elsewhere")
    (folder / "data").symlink_to(tmp_path / "elsewhere")
    assert verified(folder).problems == {}


def test_the_exit_code_says_whether_all_matches(folder, capsys):
    assert main([str(folder)]) == 0
    (folder / "data/latents.npy").write_bytes(b"")
    assert main([str(folder)]) == 1
    assert main([str(folder / "nothing")]) == 1
    assert "is not a folder; it should be a study's" in capsys.readouterr().out

"""Config files of which YAML would drop or guess something are refused, with the line."""

import subprocess
import sys

import pytest
from subjects import ROOT

from slimdit.core.errors import InputError
from slimdit.storage.strict_yaml import read_mapping

TWICE = {
    "variants:\n  a: {x: 1}\n  a: {x: 2}\n": "line 3: the key a is already on line 2;",
    "data:\n  b: 1\n\ntraining: {}\ndata:\n  c: 1\n": "line 5: the key data is already on line 1;",
    "a: {b: 1, c: 2, b: 1}\n": "line 1: the key b is already on line 1;",
    "list:\n- {a: 1}\n- a: 1\n  'a': 2\n": "line 4: the key a is already on line 3;",
    "1: x\n0x1: y\n": "line 2: the key 0x1 is already on line 1;",
}
GOOD = {
    "x: &x {a: 1}\ny:\n  <<: *x\n  a: 2\n": {"x": {"a": 1}, "y": {"a": 2}},
    "a: {b: 1}\nc: {b: 1}\n": {"a": {"b": 1}, "c": {"b": 1}},
    "\ufeffa: 1\r\nb: 2\r\n": {"a": 1, "b": 2},
}


def written(folder, text, encoding="utf-8"):
    path = folder / "own.yaml"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(("text", "sentence"), TWICE.items())
def test_a_key_that_is_there_twice_is_refused(tmp_path, text, sentence):
    with pytest.raises(InputError) as caught:
        read_mapping(written(tmp_path, text))
    assert f"own.yaml, {sentence}" in str(caught.value)


@pytest.mark.parametrize(("text", "value"), GOOD.items(), ids=str)
def test_what_is_merged_or_marked_is_read(tmp_path, text, value):
    assert read_mapping(written(tmp_path, text)) == value


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_other_encodings_are_named(tmp_path, encoding):
    with pytest.raises(InputError, match=r"own.yaml is not (in UTF-8; save it so|YAML)"):
        read_mapping(written(tmp_path, "study: gr\u00fcn\n", encoding))


@pytest.mark.parametrize("text", ["a: [", "a:\n\tb: 1\n", "study: 2024-13-45\n", "- a\n", ""])
def test_what_is_no_mapping_is_one_sentence(tmp_path, text):
    with pytest.raises(InputError, match=r"own.yaml .*it should be a config") as caught:
        read_mapping(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_snakemake_is_stopped_by_it(tmp_path):
    overlay = written(tmp_path, "data:\n  seed: 1\n  seed: 2\n")
    command = [sys.executable, "-m", "snakemake", "-n", "--configfile", str(overlay)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert f"{overlay}, line 3: the key seed is already on line 2;" in run.stderr

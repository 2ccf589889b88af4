"""Every row on a CUDA device that computes nothing: tensors are where they should be, the host
waits for the GPU in no step, and whatever the library keeps for CUDA runs."""

import ast
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from fake_cuda.cases import HOPPER, STUDIES, cases, routes_tokens, train, train_in_parts
from fake_cuda.lines import of_cuda
from fake_cuda.planted import MISTAKES
from subjects import ROOT

SCRIPTS = ROOT / "workflow/scripts"
ROWS = [(study.name, row) for study in STUDIES.values() for row in study.variants]
# What no fake device can run, by how the line begins, and why.
NOT_HERE = {
    ("slimdit/compute/process_group.py", "if on.type"): "several processes need NCCL and its GPUs",
    ("slimdit/compute/process_group.py", "torch.cuda.set_device"): "as above",
    ("slimdit/compute/process_group.py", "torch.distributed.init"): "as above",
    ("slimdit/models/compression/quantization.py", "return None if"): "int4 needs the package mslk",
    ("slimdit/profiling/energy.py", "uuid ="): "a GPU's counter needs NVIDIA's driver",
}

pytestmark = [
    pytest.mark.skipif(not shutil.which("g++"), reason="the fake device needs g++"),
    pytest.mark.skipif(
        torch.backends.cuda.is_built(), reason="the fake device is for a torch without CUDA"
    ),
]

# Of those that torch.use_deterministic_algorithms refuses on CUDA.
NOT_DETERMINISTIC = {
    *("_adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward", "_embedding_bag_backward"),
    *("upsample_bilinear2d_backward", "upsample_bicubic2d_backward", "grid_sampler_2d_backward"),
    *("reflection_pad2d_backward", "replication_pad2d_backward", "max_unpool2d", "scatter_reduce"),
    *("histc", "bincount", "kthvalue", "median", "put"),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the program `fake_cuda` writes: the report of each case, the lines and the mistakes."""
    folder = tmp_path_factory.mktemp("fake_cuda")
    program = [sys.executable, "-m", "fake_cuda", folder, folder / "report"]
    path = os.pathsep.join(map(str, (ROOT / "tests", SCRIPTS)))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = {}
    for line in (folder / "report").read_text().splitlines():
        result |= json.loads(line)
    return result


@pytest.mark.parametrize(("study", "row"), ROWS)
def test_a_row_runs_on_cuda_and_no_step_of_it_waits(found, study, row):
    own = [str(case) for case in cases() if (case.study, case.row) == (study, row)]
    assert own
    ends = {case: found[case]["problem"] or sorted(set(found[case]["waits"])) for case in own}
    assert {case: end for case, end in ends.items() if end} == {}


def test_mixtures_take_the_fused_kernel_on_hopper_alone(found):
    mixtures = [case for case in cases() if routes_tokens(STUDIES[case.study], case.row)]
    fused = {case for case in mixtures if "_grouped_mm" in found[str(case)]["operators"]}
    assert fused == {case for case in mixtures if case.capability == HOPPER}


def test_training_steps_have_a_deterministic_form(found):
    """On a GPU, where PyTorch's own list of operators without one is of these and rarer ones."""
    trained = [str(case) for case in cases() if case.run in (train, train_in_parts)]
    assert trained and not [
        (case, name)
        for case in trained
        for name in found[case]["operators"]
        if name.removesuffix("_") in NOT_DETERMINISTIC
    ]


def test_every_statement_of_cuda_runs(found):
    visited = {(path.removeprefix(f"{SCRIPTS}/"), line) for path, line in found["lines"]}
    missed, excused = [], set()
    for path in sorted(SCRIPTS.rglob("*.py")):
        text, file = path.read_text(), str(path.relative_to(SCRIPTS))
        for number in sorted({statement.lineno for statement in of_cuda(ast.parse(text))}):
            line = text.splitlines()[number - 1].strip()
            excuses = {key for key in NOT_HERE if key[0] == file and line.startswith(key[1])}
            excused |= excuses
            if (file, number) not in visited and not excuses:
                missed.append(f"{file}:{number}: {line}")
    assert missed == []
    assert NOT_HERE.keys() == excused, "of lines that are gone"


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_reported(found, name):
    report = found["mistakes"][name]
    said = [report["problem"] or "", *report["waits"]]
    assert any(MISTAKES[name].said in each for each in said), said


def test_statements_of_cuda_are_found():
    text = """
def chosen(x):
    "Of cuda."
    if not x.is_cuda:
        return plain(x)
    elif x.device.type == "cuda" and x.even():
        y = x + 1
        if y:
            return y
    with torch.cuda.device(x):
        return fast(x)
"""
    assert [statement.lineno for statement in of_cuda(ast.parse(text))] == [4, 6, 6, 7, 8, 10]

"""The check of a GPU runs on any machine in its tiny form, without Snakemake and TensorFlow."""

import os
import subprocess
import sys

import pytest
from gpu_check import budgets
from gpu_checks import PARTS
from gpu_checks.check import Check, SkippedError, line, made, outcome
from subjects import ROOT

from slimdit.storage.files import read_json

GPU_ONLY = {"fused float32", "fused bfloat16"}


def test_everything_passes_on_a_cpu(tmp_path):
    for name in ("snakemake", "tensorflow"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('absent where GPUs are lent')")
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu_check.py", "--tiny", "--out", tmp_path / "out.json"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = read_json(tmp_path / "out.json")
    assert {"commit", "device", "versions"} <= written["origin"].keys()
    assert written["parts"].keys() == PARTS.keys()
    results = {name: result for part in written["parts"].values() for name, result in part.items()}
    assert {name for name, each in results.items() if outcome(each) != "passed"} == GPU_ONLY
    assert all(results[name]["skipped"] for name in GPU_ONLY)
    assert "S2-base" in done.stdout


@pytest.mark.parametrize(
    ("measured", "result"),
    [
        (2.0, "passed"),
        (2.1, "failed"),
        (float("nan"), "failed"),
        (ValueError("no such kernel"), "failed"),
        (SkippedError("needs a GPU"), "skipped"),
    ],
)
def test_a_check_passes_fails_or_is_skipped(measured, result):
    def measure():
        if isinstance(measured, Exception):
            raise measured
        return {"error": measured}

    found = made(Check("kernel", measure, {"error": 2.0}))
    assert outcome(found) == result
    assert result in line("kernel", found)
    assert "measured" in found or str(measured) in line("kernel", found)


def test_time_that_a_part_leaves_goes_to_the_next():
    ends_s = budgets(["machine", "decoder", "ratios"], 90.0)
    machine_s, decoder_s, ratios_s = (PARTS[name].budget_s for name in ends_s)
    scale = 90.0 / (machine_s + decoder_s + ratios_s)
    assert list(ends_s.values()) == pytest.approx(
        [scale * machine_s, scale * (machine_s + decoder_s), 90.0]
    )

"""The benchmarks' plain references compute what the library does; every script runs."""

import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
from cases.distance import frechet
from cases.mixture import compiled_pass, plain_pass
from cases.sampler import plain_sampler, study_sampler
from cases.startup import dry_run, job_start
from cases.training import our_steps, plain_steps
from cases.variants import against_base
from plain.diffusion import PlainDiffusion
from plain.transformer import PlainTransformer
from ratios import equal_outputs, largest_difference, speedup, tolerance_of
from run import Case, judged, line
from subjects import IMAGENET200, ROOT, load_config, random_tensor, randomized, tiny

from slimdit.diffusion.process import Diffusion
from slimdit.models.build import build_model
from slimdit.storage.files import read_json
from slimdit.study.study import Study

BATCH = 3
CPU, FLOAT32 = torch.device("cpu"), torch.float32
TINY = Study(load_config("tests/tiny.yaml"))
SIDES = {
    "sampler": (
        partial(plain_sampler, TINY, CPU),
        partial(study_sampler, TINY, "S2-base", FLOAT32, CPU),
    ),
    "training-step": (
        partial(plain_steps, TINY, CPU),
        partial(our_steps, TINY, FLOAT32, "on", CPU),
    ),
    "mixture": (
        partial(plain_pass, TINY, CPU),
        partial(compiled_pass, TINY, FLOAT32, CPU),
    ),
}


@pytest.mark.parametrize("variant", ["S2-base", "S4-base", "MoE-S2-8E2A", "MoE-S2-4E1A"])
def test_plain_transformer_is_the_model(variant):
    model = build_model(tiny(IMAGENET200.structure(variant)))
    model = randomized(model, torch.float32, std=0.1).eval()
    x = random_tensor("x", BATCH, 4, 8, 8, dtype=torch.float32)
    t, y = torch.tensor([0, 7, 999]), torch.arange(BATCH)
    assert largest_difference([PlainTransformer(model)(x, t, y)], [model(x, t, y).output]) < 1e-4


def test_plain_loss_is_the_sum_of_the_diffusions_losses():
    x0, eps, output = (random_tensor(name, BATCH, 4, 8, 8) for name in ("x0", "eps", "output"))
    output = torch.cat([output, output.flip(0)], dim=1)
    k = torch.tensor([0, 500, 999])
    ours, plain = Diffusion(1000).double(), PlainDiffusion(1000, np.arange(1000))
    xt = ours.add_noise(x0, k, eps)
    torch.testing.assert_close(plain.add_noise(x0, k, eps), xt)
    expected = sum(ours.losses(output, x0, xt, k, eps)).mean()
    torch.testing.assert_close(plain.loss(output, x0, xt, k, eps), expected)


@pytest.mark.parametrize("case", SIDES)
def test_the_sides_of_a_case_give_the_same(case):
    plain, ours = (build()() for build in SIDES[case])
    equal_outputs(plain, ours)


def test_outputs_that_differ_are_not_timed():
    with pytest.raises(ValueError, match=r"differ by 1\.0e-03, more than 0\.0001"):
        equal_outputs([torch.ones(2)], [torch.tensor([1.0, 1.001])], tolerance_of(torch.float32))
    rounded = tolerance_of(torch.bfloat16)
    assert 0 < equal_outputs([torch.ones(2)], [torch.tensor([1.0, 1.001])], rounded) < 0.01
    with pytest.raises(ValueError, match=r"differ by 1\.0e\+00"):
        equal_outputs([torch.ones(1)], [2 * torch.ones(1)], rounded)


def test_speedup_is_how_many_times_as_fast_ours_is():
    found = speedup(partial(time.sleep, 0.02), lambda: None, 2, CPU)
    assert found["ours_s"] < 0.01 < found["reference_s"]
    assert found["speedup"] > 2


@pytest.mark.parametrize(
    ("target", "result", "met", "shown"),
    [
        ({"at_least": 2.0}, {"speedup": 2.0}, True, "2.00x     2.00x   yes"),
        ({"at_least": 2.0}, {"speedup": 1.99}, False, "1.99x     2.00x   no"),
        ({"at_most_s": 5.0}, {"wall_s": 4.9}, True, "4.9 s     5.0 s   yes"),
        ({"at_most_s": 5.0}, {"wall_s": 5.1}, False, "5.1 s     5.0 s   no"),
        ({}, {"speedup": 0.5}, None, "0.50x                   what"),
    ],
)
def test_a_target_is_met_or_missed_or_absent(target, result, met, shown):
    found = judged(Case(measure=None, **target), {"what": "what", **result})
    assert found.get("met") is met
    assert found.items() >= result.items()
    assert shown in line("name", found)


@pytest.fixture
def benchmark(tmp_path):
    """benchmark("run.py", ...): what the script prints, and what it writes."""

    def run(script, *options):
        command = [sys.executable, f"benchmarks/{script}", *options, "--out", tmp_path / "out.json"]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return done.stdout, read_json(tmp_path / "out.json")

    return run


def test_run(benchmark):
    options = ["--config", "tests/tiny.yaml", "--num-runs", "2", "--case", "latent-batches"]
    printed, written = benchmark("run.py", *options)
    case = written["cases"]["latent-batches"]
    assert case["largest_difference"] == 0
    assert {"commit", "device", "versions"} <= written["origin"].keys()
    assert f"{case['speedup']:.2f}x" in printed


@pytest.mark.parametrize("case", [dry_run, partial(job_start, TINY)])
def test_cases_of_waiting(case):
    assert case(1, CPU)["wall_s"] > 0


@pytest.mark.parametrize(
    "case", [partial(frechet, 60, 96), partial(against_base, TINY, "S2-fg-3", FLOAT32)]
)
def test_cases_in_one_process(case):
    assert case(2, CPU)["speedup"] > 0


def test_frechet(benchmark):
    options = ["--num-images", "60", "--num-features", "96", "--num-runs", "2"]
    _, written = benchmark("frechet.py", *options)
    (case,) = written["cases"]
    for name, method in case["methods"].items():
        assert abs(method["difference_to_openai"]) < 1e-4 * case["methods"]["openai"]["value"], name


def test_quantized_layers(benchmark):
    options = ["--config", "tests/tiny.yaml", "--batch-sizes", "1", "--num-runs", "2"]
    _, written = benchmark("quantized_layers.py", *options, "--layer", "blocks.0.attention.qkv")
    (case,) = written["cases"]
    assert case["median_ms"].keys() >= {"plain", "bfloat16", "int8_weight_only", "int8_dynamic"}


def test_speed_table(benchmark):
    options = ["--config", "tests/tiny.yaml", "--batch-sizes", "1", "--variant", "S2-fg-3"]
    printed, written = benchmark("speed_table.py", *options)
    assert [each["mode"] for each in written["rows"]["S2-fg-3"]["measurements"]] == [
        *("eager", "compiled", "sampler")
    ]
    assert printed.count("S2-fg-3") == 3


def test_speed_interval(benchmark):
    options = ["--config", "tests/tiny.yaml", "--num-processes", "3"]
    printed, written = benchmark("speed_interval.py", *options)
    assert written["measured"].keys() == {"alone", "beside another"}
    for trials in written["measured"].values():
        assert [len(found["medians"]) for found in trials.values()] == [3, 3]
    for found in written["simulated"].values():
        assert 0.93 < found["held_by_processes"] < 0.97
    assert written["simulated"]["1.0"]["held_by_rounds"] < 0.9
    assert printed.count("simulated") == 5


def test_host_share(benchmark):
    options = ["--config", "tests/tiny.yaml", "--num-steps", "3", "--device-ms", "5"]
    printed, written = benchmark("host_share.py", *options)
    (case,) = written["cases"]
    assert min(case["main_thread_ms"].values()) > 0 and case["device_ms"] == 5
    assert "device at work 5 ms a step: main thread" in printed


def test_waiting_threads(benchmark):
    options = ["--threads", "one thread", "--beside", "alone", "its like"]
    options += ["--config", "tests/tiny.yaml", "--seconds", "0.5", "--num-runs", "1"]
    printed, written = benchmark("waiting_threads.py", *options)
    (rates,) = written["steps_per_s"].values()
    assert min(*rates["alone"], *rates["its like"]) > 0
    assert "one thread" in printed

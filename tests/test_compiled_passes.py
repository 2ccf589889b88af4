"""Compiled passes: which mode they are compiled in, graphs of their own, and the same output."""

import pytest
import torch
from subjects import randomized

from slimdit.models.build import build_model
from slimdit.profiling.latency import compiled, forward, random_inputs

CPU = torch.device("cpu")


def test_compiled_models_have_graphs_of_their_own_which_end_with_the_context(
    structure, monkeypatch
):
    monkeypatch.setattr("slimdit.profiling.latency._compiled", counting := Counting())
    one, other = (build_model(structure, seed=0).eval() for _ in range(2))
    inputs = random_inputs(one, 2, CPU)
    expected = one(*inputs).output
    with compiled(one, 2) as (program, mode), compiled(other, 2):
        assert mode == "default" and len(counting.calls) == 2
        assert torch.equal(program(*inputs).output, expected)
        assert counting.calls == [structure["depth"], 0]
    assert torch.equal(one(*inputs).output, expected)
    assert counting.calls == [structure["depth"], 0]


@pytest.mark.parametrize(
    ("device", "batch_size", "expected"),
    [
        ("cpu", 1, "default"),
        ("cuda", 32, "reduce-overhead"),
        ("cuda", 33, "max-autotune-no-cudagraphs"),
    ],
)
def test_small_batches_on_cuda_are_graphs_of_kernels(
    structure, monkeypatch, device, batch_size, expected
):
    monkeypatch.setattr("slimdit.profiling.latency._device", lambda model: torch.device(device))
    monkeypatch.setattr("slimdit.profiling.latency._compiled", Counting())
    with compiled(build_model(structure), batch_size) as (_, mode):
        assert mode == expected


class Counting:
    """In torch.compile's place: how often each compiled function is called."""

    def __init__(self):
        self.calls = []

    def __call__(self, function, mode):
        index = len(self.calls)
        self.calls.append(0)

        def run(*inputs):
            self.calls[index] += 1
            return function(*inputs)

        return run


@pytest.mark.cuda
def test_a_captured_graph_computes_what_the_model_does(structure):
    device = torch.device("cuda")
    model = randomized(build_model(structure), torch.float32).eval().to(device)
    inputs = random_inputs(model, 2, device)
    with torch.inference_mode():
        expected = model(*inputs).output
        with compiled(model, 2) as (program, mode):
            outputs = [program(*inputs).output.clone() for _ in range(4)]
        assert mode == "reduce-overhead"
        assert all(torch.allclose(output, expected, atol=1e-4) for output in outputs)
    forward(model, inputs, torch.bfloat16)

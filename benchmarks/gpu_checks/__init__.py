"""The parts of gpu_check.py, in the order in which they run, with their share of its seconds."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from gpu_checks import decoder, experts, gradients, machine, outputs, ratios, sampling, throughput
from gpu_checks.bench import Bench
from gpu_checks.check import Check


class Part(NamedTuple):
    checks: Callable[[Bench], Iterator[Check]]
    budget_s: float


PARTS = {
    "machine": Part(machine.checks, 15),
    "outputs": Part(outputs.checks, 110),
    "experts": Part(experts.checks, 25),
    "gradients": Part(gradients.checks, 80),
    "deterministic": Part(gradients.repeated_checks, 20),
    "sampling": Part(sampling.checks, 70),
    "decoder": Part(decoder.checks, 15),
    "throughput": Part(throughput.checks, 75),
    "ratios": Part(ratios.checks, 60),
}

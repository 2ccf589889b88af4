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
    "outputs": Part(outputs.checks, 95),
    "experts": Part(experts.checks, 35),
    "gradients": Part(gradients.checks, 70),
    "deterministic": Part(gradients.repeated_checks, 40),
    "sampling": Part(sampling.checks, 60),
    "decoder": Part(decoder.checks, 15),
    "throughput": Part(throughput.checks, 110),
    "ratios": Part(ratios.checks, 50),
}

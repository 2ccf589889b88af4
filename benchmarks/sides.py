"""Programs that are compared, each in a process of its own, as its users would run it."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from torch import Tensor

from slimdit.compute.devices import device
from slimdit.profiling.latency import clock_s

SPAWN = multiprocessing.get_context("spawn")

_call: Callable[[], list[Tensor]]  # in the process of a side


class Side:
    """The function that build(*arguments) gives, in a process that each context starts and ends."""

    def __init__(self, build: Callable[..., Callable[[], list[Tensor]]], *arguments):
        self.preparation = (build, arguments)

    def __enter__(self) -> "Side":
        self.process = ProcessPoolExecutor(
            1, mp_context=SPAWN, initializer=_prepare, initargs=self.preparation
        )
        return self

    def __exit__(self, *_) -> None:
        self.process.shutdown()

    def outputs(self) -> list[Tensor]:
        """What one call gives."""
        return [torch.from_numpy(array) for array in self.process.submit(_outputs).result()]

    def seconds(self) -> float:
        """Of one call, in its process."""
        return self.process.submit(_seconds).result()


def _prepare(build: Callable, arguments: tuple) -> None:
    global _call
    _call = build(*arguments)


def _outputs() -> list[np.ndarray]:
    return [tensor.detach().float().cpu().numpy() for tensor in _call()]


def _seconds() -> float:
    on = device()
    started_s = clock_s(on)
    _call()
    return clock_s(on) - started_s

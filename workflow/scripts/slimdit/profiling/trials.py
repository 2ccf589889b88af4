"""The speed of a model at every batch size of a study, beside that of its base."""

import contextlib
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from slimdit.compute.out_of_memory import is_out_of_memory
from slimdit.compute.precision import name_of
from slimdit.models.dit import DiT
from slimdit.profiling.energy import EnergyCounter, joules_per_call
from slimdit.profiling.latency import (
    cannot_compile,
    clock_s,
    compiled,
    forward,
    interleaved_times_s,
    latency,
    latency_over_base,
    random_inputs,
)
from slimdit.profiling.roofline import Peaks, least_bytes, roofline

log = logging.getLogger(__name__)


@dataclass
class SpeedTrials:
    """What is measured of the first of one or two models; the second is its base.

    options: {"<mode>_batch_sizes" for each mode, "warmup_iterations", "timed_iterations"}.
    measurements: a dictionary for each mode and batch size; not_measured: those that could not
    be, and why.
    """

    models: list[DiT]
    options: dict
    device: torch.device
    macs_per_image: int
    peaks: Peaks
    counter: EnergyCounter | None
    measurements: list[dict] = field(default_factory=list)
    not_measured: list[dict] = field(default_factory=list)

    def run(self, mode: str, batch_size: int, **also) -> None:
        """Measure one batch size, "eager" or "compiled"; `also` is put beside what is measured."""
        started_s = time.monotonic()
        reason = cannot_compile(self.device) if mode == "compiled" else None
        try:
            measured = {} if reason else self._measured(mode, batch_size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = "does not fit in memory"
        if reason:
            missing = {"mode": mode, "batch_size": batch_size, "reason": reason}
            self.not_measured.append(missing)
            log.info("%s, batch %d: %s", mode, batch_size, reason)
            return
        self.measurements.append(measured | also)
        latency_ms, wall_s = measured["latency_ms"], time.monotonic() - started_s
        log.info("%s, batch %d: %.2f ms (%.0f s)", mode, batch_size, latency_ms, wall_s)

    def _measured(self, mode: str, batch_size: int) -> dict:
        model, dtype = self.models[0], self.peaks.dtype
        inputs = random_inputs(model, batch_size, self.device)
        clock = functools.partial(clock_s, self.device)
        with contextlib.ExitStack() as stack:
            programs, compile_mode = list[Callable](self.models), None
            if mode == "compiled":
                made = [stack.enter_context(compiled(each, batch_size)) for each in self.models]
                programs, (compile_mode, *_) = zip(*made, strict=True)
            calls = [functools.partial(forward, each, inputs, dtype) for each in programs]
            warmup, timed = (self.options[f"{kind}_iterations"] for kind in ("warmup", "timed"))
            own_s, *base_s = interleaved_times_s(calls, warmup, timed, clock)
            is_largest = batch_size == max(self.options[f"{mode}_batch_sizes"])
            energy_j = None
            if self.counter and is_largest:
                energy_j = joules_per_call(self.counter, calls[0], clock) / batch_size
        times = latency(own_s, batch_size)
        macs, num_bytes = batch_size * self.macs_per_image, least_bytes(model, batch_size, dtype)
        return {
            "mode": mode,
            "compile_mode": compile_mode,
            "batch_size": batch_size,
            "dtype": name_of(dtype),
            "warmup_iterations": warmup,
            **times,
            **latency_over_base(own_s, *base_s),
            "energy_j_per_image": energy_j,
            **roofline(macs, num_bytes, times["latency_ms"] / 1e3, self.peaks),
        }

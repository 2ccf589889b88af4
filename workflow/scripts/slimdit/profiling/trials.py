"""The speed of a row at every batch size of a study, beside that of the row it is compared with.

Fresh processes time it, one after the other (`time_rows`); `together` makes one measurement of
what they find.
"""

import contextlib
import functools
import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from slimdit.compute.compiler import cannot_compile, is_compiler_failure, told
from slimdit.compute.devices import device
from slimdit.compute.out_of_memory import is_out_of_memory
from slimdit.compute.precision import name_of
from slimdit.models.checkpoint import load_variant
from slimdit.models.component import store_by_precision
from slimdit.profiling.energy import energy_counter, joules_per_call
from slimdit.profiling.latency import (
    clock_s,
    compiled,
    forward,
    interleaved_times_s,
    latency,
    latency_over_base,
    random_inputs,
)
from slimdit.profiling.machine_load import time_of_others
from slimdit.profiling.modes import COMPILED, DECODER, MODES, SAMPLER

FEWEST_SAMPLINGS = 2  # in a process


class TimedRow(NamedTuple):
    """checkpoint: the path of its weights. sampler: makes of the model, a `device` and a `guide`
    the `LatentSampler` by which the row is sampled. guide: the path of the guide's weights."""

    checkpoint: str
    sampler: Callable
    guide: str | None = None


def time_rows(rows: list[TimedRow], options: dict, decoder: Callable | None = None) -> list[dict]:
    """What this process finds of the first of one or two rows; the second is what it is compared
    with.

    options: the config's `speed`. decoder: makes of a `device` the `ImageDecoder` of the first row,
    which is timed alone. A dictionary for each mode and batch size: these, and "reason"
    why it could not be measured, or "times_s" of the rounds, "base_times_s" (None without a second
    row), and how it was measured.
    """
    trials, at_once = Trials(rows, options, device(), decoder), options["table_batch_size"]
    found = [
        trials.run(mode, batch_size)
        for mode in MODES
        for batch_size in options[f"{mode}_batch_sizes"]
    ]
    whole = [SAMPLER, DECODER] if decoder else [SAMPLER]
    return [*found, *(trials.run(mode, at_once) for mode in whole)]


def together(found: Sequence[dict]) -> dict:
    """One measurement of what each process found at the same mode and batch size, if all did."""
    first = found[0]
    if reasons := [each["reason"] for each in found if "reason" in each]:
        return {"mode": first["mode"], "batch_size": first["batch_size"], "reason": reasons[0]}
    times_s, base_times_s = ([each[key] for each in found] for key in ("times_s", "base_times_s"))
    rounds = {"times_s": times_s, "base_times_s": base_times_s if first["base_times_s"] else None}
    times = latency(times_s, first["batch_size"]) | latency_over_base(*rounds.values())
    if first["energy_j_per_image"]:
        times["energy_j_per_image"] = statistics.mean(each["energy_j_per_image"] for each in found)
    load = {key: sum(each[key] for each in found) for key in ("wall_s", "others_s")}
    return {**first, "processes": len(found), **load, **rounds, **times}


class Trials:
    """The models of one or two rows, each in the type that it is run in, on one device."""

    def __init__(
        self,
        rows: list[TimedRow],
        options: dict,
        on: torch.device,
        decoder: Callable | None = None,
    ):
        self.rows, self.options, self.device, self.decoder = rows, options, on, decoder
        self.counter = energy_counter(on)
        self.models = [load_variant(row.checkpoint, on) for row in rows]
        self.dtypes = [store_by_precision(model, options["precision"], on) for model in self.models]

    def run(self, mode: str, batch_size: int) -> dict:
        """An entry of what `time_rows` gives."""
        found: dict = {"mode": mode, "batch_size": batch_size}
        if mode == COMPILED and (reason := cannot_compile(self.device.type)):
            return found | {"reason": reason}
        try:
            if mode == SAMPLER:
                return found | self._sampled(batch_size)
            if mode == DECODER:
                return found | self._decoded(batch_size)
            return found | self._passed(mode, batch_size)
        except Exception as error:
            if is_out_of_memory(error):
                return found | {"reason": "does not fit in memory"}
            if is_compiler_failure(error):
                return found | {"reason": told(error)}
            raise

    def _passed(self, mode: str, batch_size: int) -> dict:
        """Of passes through the models."""
        with contextlib.ExitStack() as stack:
            programs, compile_mode = list[Callable](self.models), None
            if mode == COMPILED:
                made = [stack.enter_context(compiled(each, batch_size)) for each in self.models]
                programs, (compile_mode, *_) = zip(*made, strict=True)
            inputs = random_inputs(self.models[0], batch_size, self.device)
            calls = [
                functools.partial(forward, program, inputs, dtype)
                for program, dtype in zip(programs, self.dtypes, strict=True)
            ]
            warmup, count = (self.options[f"{kind}_iterations"] for kind in ("warmup", "timed"))
            timed = self._timed(calls, warmup, share(count, self.options["processes"]))
            energy_j = None
            if self.counter and batch_size == max(self.options[f"{mode}_batch_sizes"]):
                energy_j = joules_per_call(self.counter, calls[0], self.clock_s) / batch_size
        about = {"compile_mode": compile_mode, "dtype": name_of(self.dtypes[0])}
        return timed | about | {"energy_j_per_image": energy_j}

    def _sampled(self, batch_size: int) -> dict:
        """Of whole samplings of latents, each by the row's own settings."""
        samplers = [
            row.sampler(
                load_variant(row.checkpoint, self.device),
                device=self.device,
                guide=load_variant(row.guide, self.device) if row.guide else None,
            )
            for row in self.rows
        ]
        indices = np.arange(batch_size)
        labels = indices % self.models[0].num_classes
        calls = [functools.partial(each.latents, indices, labels) for each in samplers]
        samplings = math.ceil(self.options["timed_iterations"] / samplers[0].diffusion.num_steps)
        processes = self.options["processes"]
        count = max(samplings, FEWEST_SAMPLINGS * processes)
        timed = self._timed(calls, 1, share(count, processes))
        if self.counter:
            energy_j = joules_per_call(self.counter, calls[0], self.clock_s) / batch_size
            timed["energy_j_per_image"] = energy_j
        return timed | {"is_compiled": samplers[0].is_compiled, "dtype": name_of(samplers[0].dtype)}

    def _decoded(self, batch_size: int) -> dict:
        """Of latents to the host's images."""
        decode = self.decoder(device=self.device)
        latents, *_ = random_inputs(self.models[0], batch_size, self.device)
        channels = latents.shape[1]
        call = functools.partial(decode, latents, [0.0] * channels, [1.0] * channels)
        warmup, count = (self.options[f"{kind}_iterations"] for kind in ("warmup", "timed"))
        timed = self._timed([call], warmup, share(count, self.options["processes"]))
        return timed | {"dtype": name_of(decode.dtype)}

    def _timed(self, calls: list[Callable], warmup: int, count: int) -> dict:
        with time_of_others() as load:
            own_s, *base_s = interleaved_times_s(calls, warmup, count, self.clock_s)
        return {
            **load,
            "warmup_iterations": warmup,
            "times_s": own_s,
            "base_times_s": base_s[0] if base_s else None,
            "energy_j_per_image": None,
        }

    def clock_s(self) -> float:
        return clock_s(self.device)


def share(count: int, processes: int) -> int:
    """Rounds of one process, of at least `count` in all: an even number, so that as many run
    forwards as backwards."""
    return 2 * math.ceil(count / (2 * processes))

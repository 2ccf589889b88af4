"""The loop of every training: what a run is made of, and how it resumes to the same bits."""

import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from slimdit.compute.out_of_memory import is_out_of_memory
from slimdit.compute.process_group import Processes
from slimdit.core.errors import InputError
from slimdit.jobs.progress import Progress
from slimdit.storage.resume_checkpoints import ResumeCheckpoints

log = logging.getLogger(__name__)


class Run:
    """All that a training run is: weights, their moving average, the optimizer, where it stands.

    Everything here is saved and restored; all else is a function of the config and the step.
    """

    def __init__(
        self,
        model: nn.Module,
        terms: tuple[str, ...],
        learning_rate: float,
        ema_decay: float,
        weight_decay: float = 0.0,
        adam_betas: tuple[float, float] = (0.9, 0.999),
    ):
        self.model = model
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.average = {n: p.detach().clone() for n, p in self.parameters.items()}
        stored = model.state_dict().keys()
        self.buffers = {n: buffer for n, buffer in model.named_buffers() if n in stored}
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=learning_rate,
            betas=tuple(adam_betas),
            weight_decay=weight_decay,
            fused=True,
        )
        self.ema_decay = ema_decay
        self.step = 0
        self.wall_s = 0.0  # of all steps, however often the run was stopped
        self.devices: list[str] = []  # that it has been on, in order
        self.history: list[dict] = []  # one entry per log interval
        self.window = Window(terms)

    def goes_on(self, device: str) -> None:
        self.devices = list(dict.fromkeys([*self.devices, device]))

    def set_learning_rate(self, learning_rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    def update(self, terms: Tensor, expert_loads: Tensor | None) -> None:
        """One step of the optimizer on the gradients, of the moving average, and of what balances
        experts."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        torch._foreach_lerp_(
            list(self.average.values()),
            [p.detach() for p in self.parameters.values()],
            1 - self.ema_decay,
        )
        if expert_loads is not None:
            self.model.rebalance(expert_loads)
        self.window.add(terms, expert_loads)
        self.step += 1

    def check_finite(self, loss: float, states: ResumeCheckpoints) -> None:
        """Raise InputError for a mean loss or weights that are not finite: the last loss came
        before the weights."""
        weights = [*self.parameters.values(), *self.average.values()]
        if not math.isfinite(loss):
            what = f"The loss is {loss} within the {self.window.count} steps"
        elif not torch.stack([weight.isfinite().all() for weight in weights]).all():
            what = "A weight is no longer finite"
        else:
            return
        raise InputError(
            f"{what} before step {self.step}; the last good state is kept in {states.folder}. Try "
            "a smaller training.learning_rate, or training.precision: float32."
        )

    def averaged_model(self) -> nn.Module:
        """The model with the moving average as its weights (the run ends here)."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.average[name])
        return self.model

    def save(self, path: Path) -> None:
        tensors = {f"window.{name}": tensor for name, tensor in self.window.tensors().items()}
        tensors |= {f"buffer.{name}": buffer for name, buffer in self.buffers.items()}
        for name, parameter in self.parameters.items():
            tensors[f"weight.{name}"] = parameter.detach()
            tensors[f"average.{name}"] = self.average[name]
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = value
        tensors = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
        kept = ("step", "wall_s", "devices", "history")
        progress = {name: getattr(self, name) for name in kept}
        metadata = {name: json.dumps(value) for name, value in progress.items()}
        save_file(tensors, path, metadata)

    @torch.no_grad()
    def load(self, path: Path) -> None:
        """Restore what `save` wrote."""
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for name, value in metadata.items():
            setattr(self, name, json.loads(value))
        log.info("goes on after step %d", self.step)
        self.window.count = int(tensors.pop("window.count"))
        device = next(self.model.parameters()).device
        self.window.sums = {
            name.removeprefix("window."): tensor.to(device)
            for name, tensor in tensors.items()
            if name.startswith("window.")
        }
        for name, buffer in self.buffers.items():
            buffer.copy_(tensors[f"buffer.{name}"])
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors[f"weight.{name}"])
            self.average[name].copy_(tensors[f"average.{name}"])
            # The fused optimizer goes through memory: moments lie there as their parameter does.
            moments = {
                key: torch.empty_like(parameter).copy_(tensors[f"adam.{key}.{name}"])
                for key in ("exp_avg", "exp_avg_sq")
            }
            step = tensors[f"adam.step.{name}"].to(parameter.device)
            self.optimizer.state[parameter] = {"step": step, **moments}


class Window:
    """Sums of losses and expert loads (L, E) since the last log line, kept on the device."""

    def __init__(self, terms: tuple[str, ...]):
        self.names = terms
        self.reset()

    def reset(self) -> None:
        self.count = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, terms: Tensor, expert_loads: Tensor | None) -> None:
        self.count += 1
        for name, values in (("terms", terms), ("load_sum", expert_loads)):
            if values is not None:
                self.sums[name] = self.sums.get(name, 0) + values.float()

    def means(self, step: int) -> dict:
        means = {name: (total / self.count).tolist() for name, total in self.sums.items()}
        terms = dict(zip(self.names, means["terms"], strict=True))
        return {"step": step, **terms, "expert_load": means.get("load_sum")}

    def tensors(self) -> dict[str, Tensor]:
        return {"count": torch.tensor(self.count), **self.sums}


def fit(
    run: Run,
    steps: int,
    gradients: Callable[[int], tuple[Tensor, Tensor | None]],
    states: ResumeCheckpoints,
    log_every_steps: int,
    save_every_steps: int,
    on_log: Callable[[dict], None] = lambda entry: None,
    learning_rate: Callable[[int], float] | None = None,
    remedy: str = "make training.micro_batch_size smaller, or set it to a part of batch_size",
) -> None:
    """Train `run` to its last step.

    gradients(step) adds the gradients of a step to the weights' and gives the terms of its loss in
    the run's order, the first being what is minimised, and the expert loads. Saves to `states`
    every so many steps and on SIGTERM. Of several processes, which all take the same steps, the
    first saves and calls on_log. Raises InputError when the loss stops being finite or a step does
    not fit in memory, with what would help; what was saved is left as it is.
    """
    processes = Processes()
    state = states.folder if processes.is_first else None
    started_s = time.monotonic() - run.wall_s
    with (
        Progress(steps, "train", "step", run.step, state) as progress,
        termination_requested() as terminated,
    ):
        while run.step < steps:
            if learning_rate is not None:
                run.set_learning_rate(learning_rate(run.step))
            try:
                run.update(*gradients(run.step))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise InputError(f"Step {run.step + 1} does not fit in memory; {remedy}.") from None

            is_last, stop = run.step == steps, processes.any(terminated())
            logs = is_last or run.step % log_every_steps == 0
            saves = is_last or stop or run.step % save_every_steps == 0
            shown = {}
            if logs or saves:
                entry = run.window.means(run.step)
                run.check_finite(entry["loss"], states)
                run.wall_s = time.monotonic() - started_s
            if logs:
                run.window.reset()
                run.history.append(entry)
                if processes.is_first:
                    on_log(entry)
                shown = {"loss": f"{entry['loss']:.4f}"}
            progress.update(1, **shown)
            if saves and processes.is_first:
                states.save(run.step, run.save)
            if stop and not is_last:
                processes.wait()
                raise SystemExit(f"Terminated: saved at step {run.step}, the next start goes on.")


@contextmanager
def termination_requested() -> Iterator:
    """Within this context SIGTERM only raises a flag, so that a step is never cut in two."""
    flag = []
    previous = signal.signal(signal.SIGTERM, lambda *_: flag.append(True))
    try:
        yield lambda: bool(flag)
    finally:
        signal.signal(signal.SIGTERM, previous)


def final_terms(history, own_terms, terms):
    """Means over the last tenth of the run; None for a term that the variant does not have."""
    last = [entry for entry in history if entry["step"] > 0.9 * history[-1]["step"]]
    means = {
        f"final_{term}": sum(entry[term] for entry in last) / len(last)
        if term in own_terms
        else None
        for term in terms
    }
    return means | {"final_window_steps": history[-1]["step"] - int(0.9 * history[-1]["step"])}


def expert_load(history):
    """The steps of the log lines and the expert loads of each; None without a mixture."""
    if not history[-1]["expert_load"]:
        return None
    return {
        "steps": [entry["step"] for entry in history],
        "load": [entry["expert_load"] for entry in history],
    }

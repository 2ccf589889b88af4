"""Speed: order of the passes, ratios, energy, roofline, and what a machine lacks."""

import functools
import json
import math
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from subjects import PHOTOS, tiny
from torch import nn

import slimdit.profiling.energy
from measure_speed import measure_speed
from slimdit.diffusion.latent_sampler import LatentSampler
from slimdit.models.build import build_model, compress
from slimdit.models.checkpoint import save_variant
from slimdit.profiling import machine_load
from slimdit.profiling import trials as speed_trials
from slimdit.profiling.cost import weight_bytes
from slimdit.profiling.energy import EnergyCounter, energy_counter, joules_per_call, rapl
from slimdit.profiling.latency import (
    forward,
    interleaved_times_s,
    interval,
    latency,
    latency_over_base,
    random_inputs,
)
from slimdit.profiling.machine_load import time_of_others
from slimdit.profiling.peak_memory import peak_memory
from slimdit.profiling.roofline import Peaks, least_bytes, measured_peaks, roofline
from slimdit.profiling.trials import TimedRow, Trials, share, together
from slimdit.training.autoencoder import build_autoencoder

CPU = torch.device("cpu")
PEAKS = Peaks(macs_per_s=1e9, bytes_per_s=1e9, dtype=torch.float32)
OPTIONS = {"eager_batch_sizes": [1, 2], "compiled_batch_sizes": [1]}
OPTIONS |= {"table_batch_size": 2, "precision": "auto"}
OPTIONS |= {"processes": 2, "warmup_iterations": 1, "timed_iterations": 6}
SAMPLING = PHOTOS.config["sampling"] | {"steps": 3, "batch_size": 2}


class Clock:
    """A clock that calls move on."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def call(self, wall_s):
        self.now_s += wall_s


def test_models_take_turns_and_every_second_round_runs_backwards():
    called = []
    calls = [functools.partial(called.append, name) for name in "ab"]
    times_s = interleaved_times_s(calls, warmup=1, timed=3, now_s=lambda: 0.0)
    assert "".join(called) == "abbaabba"
    assert [len(each) for each in times_s] == [3, 3]


def test_warmup_is_not_timed_and_each_call_gets_its_own_seconds():
    clock, walls = Clock(), iter([9, 9, 3, 1, 2, 4])  # ab ba ab
    calls = [lambda: clock.call(next(walls))] * 2
    assert interleaved_times_s(calls, warmup=1, timed=2, now_s=clock) == [[1, 2], [3, 4]]


def test_what_slows_the_machine_down_cancels_in_the_ratio():
    """The machine gets four times slower meanwhile; the model takes 0.8 of its base's time."""
    clock, drift = Clock(), [1.0]

    def call(wall_s):
        drift[0] += 0.03
        clock.call(wall_s * drift[0])

    calls = [functools.partial(call, wall_s) for wall_s in (0.8, 1.0)]
    own_s, base_s = interleaved_times_s(calls, 0, 50, clock)
    assert max(own_s) > 3 * min(own_s)
    ratio = latency_over_base([own_s], [base_s])
    assert ratio["latency_over_base"] == pytest.approx(0.8, rel=0.01)


def test_latency_and_ratio_are_medians_over_all_rounds():
    own_s, base_s = [[0.001, 0.002], [0.009]], [[0.004, 0.004], [0.003]]
    result = latency(own_s, batch_size=4)
    assert result["latency_ms"] == pytest.approx(2) and result["timed_iterations"] == 3
    assert result["images_per_s"] == pytest.approx(2000)
    assert result["latency_spread"] == pytest.approx((5.5 - 1.5) / 2)
    ratio = latency_over_base(own_s, base_s)
    assert ratio["latency_over_base"] == pytest.approx(0.5)
    assert set(latency_over_base(own_s).values()) == {None}
    assert latency_over_base(own_s).keys() == ratio.keys()


def test_the_interval_is_students_of_the_processes_medians():
    """Of the logarithms -1, 0 and 1: mean 0, standard error 1 / sqrt(3), t of 2 degrees 4.3027."""
    low, high = interval([[math.exp(log)] * 3 for log in (-1, 0, 1)])
    assert math.log(high) == pytest.approx(4.3027 / math.sqrt(3), 1e-4)
    assert math.log(low) == pytest.approx(-math.log(high))


def test_one_process_tells_nothing_of_others():
    assert interval([[1.0, 1.1, 1.2]]) == (None, None)


@pytest.mark.parametrize(("count", "processes", "expected"), [(50, 3, 18), (3, 3, 2), (8, 2, 4)])
def test_processes_share_the_rounds_as_many_forwards_as_backwards(count, processes, expected):
    assert share(count, processes) == expected


@pytest.mark.parametrize(
    ("macs", "num_bytes", "bound"),
    [
        (0.5e9, 0.1e9, "arithmetic"),
        (0.1e9, 0.3e9, "memory"),
        (0.2e9, 0.24e9, "overhead"),
    ],
)
def test_the_roofline_says_what_a_pass_is_bound_by(macs, num_bytes, bound):
    found = roofline(macs, num_bytes, latency_s=1.0, peaks=PEAKS)
    assert found["bound"] == bound
    assert found["fraction_of_peak"] == pytest.approx(macs / 1e9)
    assert found["fraction_of_bandwidth"] == pytest.approx(num_bytes / 1e9)
    twice = roofline(macs, num_bytes, latency_s=2.0, peaks=PEAKS)
    assert twice["achieved_macs_per_s"] == pytest.approx(macs / 2)


def test_least_bytes_are_weights_once_and_states_in_and_out(structure):
    model = build_model(structure)
    weights = sum(4 * parameter.numel() for parameter in model.parameters())
    states = 2 * structure["depth"] * 3 * model.grid_size**2 * structure["hidden_size"]
    found = least_bytes(model, batch_size=3, dtype=torch.bfloat16)
    assert found == weights + 2 * states


def test_peaks_are_of_what_was_repeated(monkeypatch):
    monkeypatch.setattr("slimdit.profiling.roofline.MATRIX_SIDE", {"cpu": 64})
    monkeypatch.setattr("slimdit.profiling.roofline.COPY_BYTES", {"cpu": 2**16})
    monkeypatch.setattr("slimdit.profiling.roofline.PEAK_S", 0.001)
    monkeypatch.setattr(
        "slimdit.profiling.roofline._fastest_s", lambda call, device: call() is None or 0.5
    )
    expected = Peaks(64**3 / 0.5, 2**17 / 0.5, torch.float32)
    assert measured_peaks(CPU, torch.float32) == expected


@pytest.fixture
def packages(tmp_path):
    """Two packages, the first with a part of its own, and the whole platform."""
    names = {"0": "package-0", "0:0": "core", "1": "package-1", "2": "psys"}
    for zone, name in names.items():
        folder = tmp_path / f"intel-rapl:{zone}"
        folder.mkdir()
        for file, text in {
            "name": name,
            "energy_uj": 9_000_000,
            "max_energy_range_uj": 10**7,
        }.items():
            (folder / file).write_text(f"{text}\n")
    return tmp_path


def test_energy_is_that_of_all_packages_also_where_a_counter_begins_again(packages):
    counter = rapl(packages)
    before_j = counter.read_j()
    for zone, energy_uj in {"0": 9_500_000, "0:0": 9_900_000, "1": 1_000_000}.items():
        (packages / f"intel-rapl:{zone}" / "energy_uj").write_text(str(energy_uj))
    assert counter.since_j(before_j) == pytest.approx(0.5 + 2.0)


def test_without_a_readable_counter_there_is_none(tmp_path, packages, monkeypatch):
    assert rapl(tmp_path / "none") is None
    (packages / "intel-rapl:1" / "energy_uj").unlink()
    assert rapl(packages) is None
    monkeypatch.setattr(slimdit.profiling.energy, "rapl", lambda: None)
    assert energy_counter(CPU) is None


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_gpus_counter_is_its_boards_where_it_may_be_read(monkeypatch, is_readable):
    def energy_mj(board):
        if not is_readable:
            raise OSError
        return {"GPU-abc": 2500}[board]

    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=energy_mj,
        NVMLError=OSError,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    properties = SimpleNamespace(uuid="abc")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    counter = energy_counter(torch.device("cuda"))
    assert (counter and counter.read_j()) == ([2.5] if is_readable else None)


def test_energy_of_a_call_is_that_of_the_block_by_its_calls():
    clock = Clock()
    counter = EnergyCounter("test", lambda: [50 * clock.now_s], [1e9])
    assert joules_per_call(counter, lambda: clock.call(0.5), clock) == pytest.approx(25)


@pytest.fixture
def trials(tmp_path, structure):
    """Of a row and itself."""
    path = tmp_path / "checkpoint.safetensors"
    save_variant(path, build_model(structure, seed=0), structure, [], {"seed": 0})
    sampler = functools.partial(LatentSampler, sampling=SAMPLING, num_timesteps=1000)
    return Trials([TimedRow(path, sampler)] * 2, OPTIONS, CPU)


def test_what_does_not_fit_is_named_and_the_rest_measured(trials, monkeypatch):
    def pass_of(model, inputs, dtype):
        if len(inputs[0]) == 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(speed_trials, "forward", pass_of)
    reason = "does not fit in memory"
    missing = {"mode": "eager", "batch_size": 2, "reason": reason}
    assert trials.run("eager", 2) == missing
    fits = trials.run("eager", 1)
    assert "reason" not in fits and len(fits["times_s"]) == len(fits["base_times_s"]) == 4
    assert together([{**fits, **missing}, fits]) == missing


def test_the_sampler_is_timed_by_whole_samplings_with_all_their_steps(trials, monkeypatch):
    """6 passes are 2 samplings of 3 steps; each process does at least 2, and an even number."""
    steps, step = [], LatentSampler.step
    monkeypatch.setattr(LatentSampler, "step", lambda *each: steps.append(each) or step(*each))
    found = trials.run("sampler", 2)
    assert len(found["times_s"]) == 2 and found["warmup_iterations"] == 1
    assert len(steps) == (2 + 1) * 3 * 2
    assert steps[0][1].shape[0] == 2 and not found["is_compiled"]


def test_one_measurement_is_made_of_all_processes_rounds():
    first = {"mode": "eager", "batch_size": 2, "energy_j_per_image": 1.0}
    first |= {"times_s": [0.2, 0.4], "base_times_s": [0.1, 0.2], "others_s": 0.5, "wall_s": 2.0}
    second = first | {
        "energy_j_per_image": 3.0,
        "others_s": 0.2,
        "times_s": [0.1, 0.3],
        "base_times_s": [0.1, 0.3],
    }
    found = together([first, second])
    assert found["times_s"] == [[0.2, 0.4], [0.1, 0.3]] and found["processes"] == 2
    assert found["latency_over_base"] == pytest.approx(1.5)
    assert found["latency_over_base_low"] < 1 < found["latency_over_base_high"]
    assert found["energy_j_per_image"] == 2
    assert (found["others_s"], found["wall_s"]) == (0.7, 4.0)
    alone = together([first | {"base_times_s": None}])
    assert alone["base_times_s"] is None and alone["latency_over_base"] is None


def test_what_others_do_meanwhile_is_counted():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        with time_of_others() as load:
            time.sleep(1)
        other.kill()
    assert load["others_s"] > 0.2 and load["wall_s"] >= 1


def test_ones_own_work_and_idle_cores_are_not_of_others(monkeypatch):
    clocks = iter([(0.0, 0.0, 0.0), (3.0, 1.5, 2.0)])  # busy, own and wall seconds

    def tick():
        busy_s, own_s, wall_s = next(clocks)
        times = {"user": busy_s, "guest": busy_s, "idle": 9 * wall_s, "iowait": wall_s}
        fake = SimpleNamespace(_asdict=lambda: times)
        monkeypatch.setattr(machine_load.psutil, "cpu_times", lambda: fake)
        monkeypatch.setattr(machine_load.time, "process_time", lambda: own_s)
        monkeypatch.setattr(machine_load.time, "monotonic", lambda: wall_s)

    tick()
    with time_of_others() as load:
        tick()
    assert load == {"others_s": 3.0 - 1.5, "wall_s": 2.0}


def test_peak_memory_of_what_does_not_fit_is_none():
    def fail():
        raise MemoryError

    model = nn.Linear(2, 2)
    assert peak_memory(model, fail, CPU)["peak_memory_bytes"] is None
    with pytest.raises(ZeroDivisionError):
        peak_memory(model, lambda: 1 / 0, CPU)


def test_memory_is_of_the_weights_and_what_a_pass_allocates():
    model = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 128))
    x = torch.zeros(64, 256)
    weights = 256 * 512 + 512 + 512 * 128 + 128
    at_once = 64 * 512 + 64 * 512  # the GELU's input and output
    assert memory_of(model, x) == (weights + at_once) * 4
    halved = memory_of(model.bfloat16(), x.bfloat16())
    assert halved == pytest.approx((weights + at_once) * 2, rel=0.1)  # and what is packed


@pytest.mark.parametrize("variant", PHOTOS.variants)
def test_a_row_with_smaller_weights_takes_less_memory(variant):
    parent = PHOTOS.parent(variant)
    if parent is None:
        pytest.skip("it is compared with no other row")
    (weights, memory), (its_weights, its_memory) = map(costs_of, (variant, parent))
    assert (memory > its_memory) == (weights > its_weights)


@functools.cache
def costs_of(variant):
    """Bytes of the weights, and of a pass of one image."""
    model = build_model(PHOTOS.structure(variant), seed=0).eval()
    model = compress(model, PHOTOS.operations(variant))
    inputs = random_inputs(model, 1, CPU)
    call = functools.partial(forward, model, inputs, torch.float32)
    return weight_bytes(model), peak_memory(model, call, CPU)["peak_memory_bytes"]


def memory_of(model, x):
    with torch.no_grad():
        return peak_memory(model, lambda: model(x), CPU)["peak_memory_bytes"]


def test_other_errors_are_not_taken_for_a_lack_of_memory(trials, monkeypatch):
    monkeypatch.setattr(speed_trials, "forward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trials.run("eager", 1)


def test_without_a_compiler_the_reason_is_recorded(trials, monkeypatch):
    monkeypatch.setattr(speed_trials, "cannot_compile", lambda device: "no compiler")
    found = trials.run("compiled", 1)
    assert found == {"mode": "compiled", "batch_size": 1, "reason": "no compiler"}


def test_energy_is_read_at_the_largest_batch(trials, monkeypatch):
    monkeypatch.setattr(speed_trials, "joules_per_call", lambda *_: 3.0)
    trials.counter = EnergyCounter("test", list, [])
    energies = [trials.run("eager", size)["energy_j_per_image"] for size in (2, 1)]
    assert energies == [1.5, None]


@pytest.mark.parametrize(("precision", "dtype"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_the_report_names_the_base_the_conditions_and_the_peaks(
    tmp_path, monkeypatch, precision, dtype
):
    monkeypatch.setattr("slimdit.profiling.roofline.MATRIX_SIDE", {"cpu": 64})
    monkeypatch.setattr("slimdit.profiling.roofline.PEAK_S", 0.001)
    autoencoder, paths = tmp_path / "autoencoder", {}
    build_autoencoder([8, 8], 4, 16, seed=0).save_pretrained(autoencoder)
    for variant in ("S2-shallow", "S2-base"):
        structure = tiny(PHOTOS.structure(variant))
        paths[variant] = tmp_path / f"{variant}.safetensors"
        save_variant(paths[variant], build_model(structure, seed=0), structure, [], {"seed": 0})
    options = OPTIONS | {"compiled_batch_sizes": [], "precision": precision}
    how, its = (
        {"sampling": SAMPLING | {"precision": each}, "num_timesteps": 1000}
        for each in (precision, "float32")
    )
    measure_speed(
        paths["S2-shallow"],
        tmp_path / "speed.json",
        "S2-shallow",
        "S2-base",
        options,
        [how, its],
        {},
        source=str(autoencoder),
        base_checkpoint=paths["S2-base"],
    )
    report = json.loads((tmp_path / "speed.json").read_text())
    assert report["base"] == "S2-base" and report["peak_macs_per_s"] > 0
    assert len(report["origin"]["inputs"]) == 2 and report["origin"]["threads"]
    *passes, sampled, decoded = report["measurements"]
    assert [each["batch_size"] for each in passes] == [1, 2]
    for measured in (*passes, sampled):
        assert measured["dtype"] == dtype and measured["processes"] == 2
        rounds = measured["times_s"], measured["base_times_s"]
        again = latency_over_base(*rounds)
        assert again == {name: measured[name] for name in again}
    for measured in passes:
        assert measured["compile_mode"] is None
        assert measured["bound"] in ("arithmetic", "memory", "overhead")
        assert measured["peak_memory_kind"] == "cpu_weights_and_allocated"
    assert sampled["mode"] == "sampler" and sampled["batch_size"] == 2
    assert decoded["mode"] == "decoder" and decoded["latency_over_base"] is None
    low_ms, high_ms = decoded["latency_ms_quartiles"]
    assert 0 < low_ms <= decoded["latency_ms"] <= high_ms

"""Energy that a device has used, where it can be read."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SHORTEST_S = 2.0  # counters are renewed every some milliseconds
POWERCAP = Path("/sys/class/powercap")


class EnergyCounter(NamedTuple):
    """Counters of joules, all of which a device uses: what they are, and their readings now and
    from which on they begin again at 0."""

    kind: str
    read_j: Callable[[], list[float]]
    ranges_j: list[float]

    def since_j(self, before_j: list[float]) -> float:
        readings = zip(self.read_j(), before_j, self.ranges_j, strict=True)
        return sum((now - before) % range_j for now, before, range_j in readings)


def energy_counter(device) -> EnergyCounter | None:
    """The counter of a torch device; None where there is none that may be read.

    Of a GPU NVIDIA's of the board, of a CPU Intel's of its packages: of all that runs there.
    """
    return _nvidia(device) if device.type == "cuda" else rapl()


def joules_per_call(
    counter: EnergyCounter, call: Callable[[], object], now_s: Callable[[], float]
) -> float:
    """Of calls one after the other, for as long as counters need. now_s: a clock that waits until
    the device is done."""
    started_s, before_j, count = now_s(), counter.read_j(), 0
    while now_s() - started_s < SHORTEST_S:
        call()
        count += 1
    return counter.since_j(before_j) / count


def rapl(folder: Path = POWERCAP) -> EnergyCounter | None:
    """Intel's (and AMD's) running average power limit: microjoules, a folder for each package."""

    def read_j(zones: list[Path], name: str) -> list[float]:
        return [int((zone / name).read_text()) / 1e6 for zone in zones]

    try:
        zones = sorted(folder.glob("intel-rapl:*"))
        zones = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
        ranges_j = read_j(zones, "max_energy_range_uj")
        read = functools.partial(read_j, zones, "energy_uj")
        read()
    except (OSError, ValueError):
        return None
    return EnergyCounter("rapl_packages", read, ranges_j) if zones else None


def _nvidia(device) -> EnergyCounter | None:
    import torch

    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        board = pynvml.nvmlDeviceGetHandleByUUID(uuid)

        def read_j() -> list[float]:
            return [pynvml.nvmlDeviceGetTotalEnergyConsumption(board) / 1e3]

        read_j()
    except pynvml.NVMLError:
        return None
    return EnergyCounter("nvml_total_energy", read_j, [2**64 / 1e3])

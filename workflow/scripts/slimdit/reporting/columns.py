"""The columns of the results table: the CSV, the Markdown table and the comparison with the paper
all come from this one list. Another column is one entry here, and its value in `results`."""

import math
from dataclasses import dataclass

from slimdit.evaluation.metric_names import MetricNames
from slimdit.profiling.modes import COMPILED, DECODER, EAGER, MODES, SAMPLER
from slimdit.reporting.differences import OVER_SEEDS, PARTS, THIS_CHECKPOINT, part_name

INTERVAL = ("", "_low", "_high")  # after the name of a time, and of the ends of its 95 % interval
OVER_BASE = "latency_over_base"  # the latency over that of another row, both timed interleaved
STD_OVER_SEEDS = "_std_over_seeds"
CHANGE = "_change_percent"
BEST_SCALE = "best_guidance_scale"

LOWER, HIGHER = "↓", "↑"
QUALITY, RECONSTRUCTED, SPEED = "More of quality", "Against reconstructions", "More of speed"
REFERENCE = "Reference"  # the group of real images in place of samples
Unit = tuple[str, float]
MILLIONS = (("M", 1e6),)
MEGABYTES = (("MB", 1e6),)
BYTES = (("GB", 1e9), *MEGABYTES)
MACS = (("GMACs", 1e9), ("MMACs", 1e6))
IMAGE_MACS = (("TMACs", 1e12), *MACS)
THOUSANDTHS = (("10⁻³", 1e-3),)
PERCENT = (("%", 0.01),)

# What stands where there is no value, and why.
NOT_MEASURED = "not measured"
NOT_REPORTED = "not reported"  # by the paper
NONE = "none"  # there is no parent, no such term of the loss, or no model
UNDEFINED = "undefined"  # a change from zero
NOISE = "~"  # behind a change within the noise
# Behind a difference in quality beyond the noise, by the kind of difference.
BEYOND_NOISE = {THIS_CHECKPOINT: "†", OVER_SEEDS: "*"}


@dataclass(frozen=True)
class Column:
    """A column of the results table.

    name: in the DataFrame and in the CSV.
    heading: in the Markdown table, which has only the columns with one; {unit} is the unit's name.
    better: LOWER or HIGHER, empty where neither is.
    units: that may be printed, the largest first, which is the paper's.
    paper: name of the paper's column.
    changes: whether the change against the parent is given, in percent.
    differs: whether its difference from the parent's value is, with a mark of what it tells.
    needs_parent: whether a row without a parent cannot have a value.
    needs_seeds: whether a row that was trained once, on its own, cannot have one either.
    has_interval: whether <name>_low and <name>_high are printed with it, in square brackets.
    beside: name of the column that is printed in square brackets where its value differs.
    is_optional: whether a Markdown table in which no row has a value goes without it.
    part: of the Markdown file, QUALITY, RECONSTRUCTED or SPEED; empty for its first table.

    Where the DataFrame has the column <name>_std_over_seeds, it is printed with the value;
    <name>_significant is false where a change is within the noise.
    """

    name: str
    heading: str = ""
    better: str = ""
    units: tuple[Unit, ...] = (("", 1.0),)
    paper: str | None = None
    changes: bool = False
    differs: bool = False
    needs_parent: bool = False
    needs_seeds: bool = False
    has_interval: bool = False
    beside: str | None = None
    is_optional: bool = False
    part: str = ""

    def unit(self, largest: float) -> Unit:
        """That in which values up to `largest` are printed."""
        return next((unit for unit in self.units if largest >= unit[1] / 10), self.units[-1])


# MSE + VB at the end of training, the terms that every variant's loss has; not in the CSV.
DIFFUSION_LOSS = Column("diffusion_loss", paper="final_loss")


def table_columns(names: MetricNames, num_samples: int) -> list[Column]:
    """In order; the headings of distances say of how many samples they are (0: not known)."""
    params = ("Params (M) [active]", LOWER, MILLIONS, "total_params_million")
    memory = ("Peak memory ({unit})", LOWER, BYTES, "peak_memory_gb")
    fd, sfd = (with_count(label, num_samples) for label in (names.fd_label, names.sfd_label))
    at_best = f"{names.fd_column}_at_{BEST_SCALE}", f"{fd} at best guidance [scale]", LOWER
    reconstructed_fd = names.column("reconstructed_fd"), f"{fd} to reconstructions", LOWER
    copies = "Nearest training image / held-out images'", "Closer than held-out images (%)"
    printed = [
        Column("held_out_loss", "Held-out loss (10⁻³)", LOWER, THOUSANDTHS, differs=True),
        Column(names.fd_column, fd, LOWER, paper="fid", differs=True),
        Column(names.sfd_column, sfd, LOWER, paper="sfid", differs=True),
        Column("kid", "KID", LOWER, differs=True, part=QUALITY),
        Column("precision", "Precision", HIGHER, part=QUALITY),
        Column("recall", "Recall", HIGHER, part=QUALITY),
        Column("density", "Density", HIGHER, part=QUALITY),
        Column("coverage", "Coverage", HIGHER, part=QUALITY),
        Column("class_accuracy", "Class accuracy (%)", HIGHER, PERCENT, differs=True),
        Column(*reconstructed_fd, differs=True, part=RECONSTRUCTED),
        Column("reconstructed_precision", "Precision", HIGHER, part=RECONSTRUCTED),
        Column("reconstructed_recall", "Recall", HIGHER, part=RECONSTRUCTED),
        Column("reconstructed_density", "Density", HIGHER, part=RECONSTRUCTED),
        Column("reconstructed_coverage", "Coverage", HIGHER, part=RECONSTRUCTED),
        Column("nearest_train_distance_ratio", copies[0], part=RECONSTRUCTED),
        Column("fraction_closer_than_held_out", copies[1], "", PERCENT, part=RECONSTRUCTED),
    ]
    quality = {name: Column(name) for name in names.quality_columns}  # every one is in the CSV
    quality |= {column.name: column for column in printed}
    return [
        Column("total_params", *params, changes=True, beside="active_params"),
        Column("active_params", "", LOWER, MILLIONS, "active_params_million", changes=True),
        Column("weight_bytes", "Size (MB)", LOWER, MEGABYTES, changes=True),
        Column("peak_memory_bytes", *memory, changes=True),
        Column("peak_memory_kind"),
        *quality.values(),
        Column(*at_best, beside=BEST_SCALE, is_optional=True, part=QUALITY),
        Column(BEST_SCALE),
        Column("compared", needs_parent=True),
        *(
            Column(part_name(column.name, part), needs_parent=True, needs_seeds=True)
            for column in printed
            if column.differs
            for part in PARTS
        ),
        Column("macs", "{unit}", LOWER, MACS, "gmacs", changes=True),
        Column("passes_per_image", "Full passes / image", LOWER, part=SPEED),
        Column("cached_passes_per_image", "Cached passes / image", LOWER, part=SPEED),
        Column("cache_bytes_per_image"),
        Column("macs_per_image", "{unit} / image", LOWER, IMAGE_MACS, changes=True, part=SPEED),
        Column("speed_batch_size"),
        *_time_columns(EAGER, paper=None),
        *_time_columns(COMPILED, paper="iterations_per_s"),
        *_over_base_columns(EAGER, "Latency / parent's, eager", SPEED),
        *_over_base_columns(COMPILED, "Latency / parent's, compiled"),
        *(Column(f"{part}_{mode}") for mode in MODES for part in ("fraction_of_peak", "bound")),
        *(Column(f"energy_j_per_image_{mode}") for mode in (*MODES, SAMPLER)),
        *_over_base_columns(SAMPLER, "Sampling time / parent's", SPEED),
        *_latency_columns(SAMPLER),
        Column(f"images_per_s_{SAMPLER}", "Sampler, latents (images/s)", HIGHER, part=SPEED),
        *(Column(f"{name}_{DECODER}") for name in ("latency_ms", "images_per_s")),
        Column(DECODER),  # its precision, and whether it is compiled
    ]


def _time_columns(mode: str, paper: str | None) -> list[Column]:
    return [
        *_latency_columns(mode),
        Column(
            f"iterations_per_s_{mode}",
            f"Throughput, {mode} (it/s)",
            HIGHER,
            paper=paper,
            part=SPEED,
        ),
        Column(f"images_per_s_{mode}"),
    ]


def _latency_columns(mode: str) -> list[Column]:
    return [Column(f"latency_ms_{mode}{part}") for part in INTERVAL]


def _over_base_columns(mode: str, heading: str, part: str = "") -> list[Column]:
    name = f"{OVER_BASE}_{mode}"
    others = (*(f"{name}{end}" for end in INTERVAL[1:]), part_name(name, "significant"))
    return [
        Column(name, heading, LOWER, needs_parent=True, has_interval=True, part=part),
        *(Column(other, needs_parent=True) for other in others),
    ]


def number(value: float, like: float | None = None) -> str:
    """About three significant digits, as the paper prints them: 131.9, 22.9, 6.07, 0.267.

    `like`: the number whose decimals to use, as for a standard deviation beside its mean.
    """
    size = abs(value if like is None else like)
    exponent = math.floor(math.log10(size)) if size else 0
    decimals = max(2 - exponent, 1 if size < 1000 else 0)
    return f"{value:.{decimals}f}"


def with_count(label: str, num_samples: int) -> str:
    """A distance's name with its number of samples: FID -> FID-10K, FD (Net) -> FD-650 (Net)."""
    if not num_samples:
        return label
    count = f"{num_samples // 1000}K" if num_samples % 1000 == 0 else str(num_samples)
    name, space, rest = label.partition(" ")
    return f"{name}-{count}{space}{rest}"

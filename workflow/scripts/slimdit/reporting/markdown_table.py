"""The results table for people to read, and the conditions under which it was measured."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from slimdit.reporting.csv_tables import NONE, NOT_MEASURED, NOT_REPORTED, needs_parent
from slimdit.reporting.results import DIFFERENCE, MODES, OVER_BASE, PEAK_MEMORY_KINDS, Result, Study

NOISE = " ~"  # behind a change within the noise


@dataclass(frozen=True)
class Column:
    """A printed column: its heading, the value's name in a Result and what one unit of it is.

    within_noise: the value that says "no" where a change is within the noise.
    quartiles: whether two more values, ..._q25 and ..._q75, are printed behind it, and the mark.
    """

    heading: str
    value: str
    unit: float = 1.0
    changes: bool = True
    within_noise: str | None = None
    paper: str | None = None
    quartiles: bool = False


def table1_markdown(
    study: Study, paper: dict[str, dict[str, str]], autoencoders: Iterable[dict] = ()
) -> str:
    """Table 1 with group headings and changes against the parent in brackets; `paper` adds the
    paper's value beside each column that the paper has ({}: none)."""
    columns = _columns(study, bool(paper))
    headings = ["Model"]
    for column in columns:
        headings.append(column.heading)
        if paper and column.paper:
            headings.append(f"{_paper_heading(column)}, paper")

    lines = [table_line(headings), table_line(["---"] + ["---:"] * (len(headings) - 1))]
    group = None
    for row in study.rows:
        if row.group != group:
            group = row.group
            lines.append(table_line([f"**{group}**"] + [""] * (len(headings) - 1)))
        cells = [row.label]
        for column in columns:
            cells.append(_measured_cell(study, row.variant, column))
            if paper and column.paper:
                cells.append(_paper_cell(paper.get(row.variant, {}), column))
        lines.append(table_line(cells))
    return "\n".join(lines) + "\n\n" + conditions(study, bool(paper), autoencoders) + "\n"


def number(value: float, like: float | None = None) -> str:
    """About three significant digits, as the paper prints them: 131.9, 22.9, 6.07, 0.267.

    `like`: the number whose decimals to use, as for a standard deviation beside its mean.
    """
    size = abs(value if like is None else like)
    if size >= 1000:
        decimals = 0
    elif size >= 10:
        decimals = 1
    elif size >= 1 or size == 0:
        decimals = 2
    else:
        decimals = 2 - math.floor(math.log10(size))
    return f"{value:.{decimals}f}"


def bracket(change_percent: float | None, mark: str = "") -> str:
    """` (-10.1%)`, the mark before the bracket's end; nothing where there is no change to give."""
    if not change_percent:
        return ""
    return f" ({change_percent:+.1f}%{mark})"


def with_count(label: str, num_samples: int) -> str:
    """A distance's name with its number of samples: FID -> FID-10K, FD (Net) -> FD-650 (Net)."""
    count = f"{num_samples // 1000}K" if num_samples % 1000 == 0 else str(num_samples)
    name, space, rest = label.partition(" ")
    return f"{name}-{count}{space}{rest}"


def conditions(study: Study, has_paper: bool, autoencoders: Iterable[dict] = ()) -> str:
    """One paragraph on how the table's numbers were measured, from the files' own records."""
    sentences = [*_reading(study), *speed_conditions(study)]
    sentences += [*_quality_conditions(study), *_training_conditions(study)]
    for report in autoencoders:
        sentences.append(
            f"Autoencoder: trained for {report['steps']} steps, held-out PSNR "
            f"{report['held_out_psnr_db']:.1f} dB on {report['num_held_out']} images."
        )
    if has_paper:
        sentences.append(
            "The columns marked paper are the paper's own values, measured on its hardware, data "
            f"and samples; '{NOT_REPORTED}' marks those it does not give."
        )
    return " ".join(sentences)


def _columns(study: Study, as_paper: bool) -> list[Column]:
    def unit(value: str, large: float, large_name: str, small: float, small_name: str):
        values = [result.values.get(value) or 0 for result in study.results.values()]
        return (large, large_name) if as_paper or max(values) >= large / 10 else (small, small_name)

    memory, memory_name = unit("peak_memory_bytes", 1e9, "GB", 1e6, "MB")
    macs, macs_name = unit("macs", 1e9, "GMACs", 1e6, "MMACs")
    extractor = study.extractor
    num_samples = study.quality[0]["num_samples"] if study.quality else 0

    def distance(label: str) -> str:
        return with_count(label, num_samples) if num_samples else label

    return [
        Column("Params (M) [active]", "total_params", 1e6, paper="total_params_million"),
        Column("Size (MB)", "weight_bytes", 1e6),
        Column(f"Peak memory ({memory_name})", "peak_memory_bytes", memory, paper="peak_memory_gb"),
        Column(
            distance(extractor.fd_label),
            extractor.fd_column,
            paper="fid",
            within_noise=f"{DIFFERENCE}_significant",
        ),
        Column(distance(extractor.sfd_label), extractor.sfd_column, paper="sfid"),
        Column("KID", "kid", changes=False),
        Column("Precision", "precision", changes=False),
        Column("Recall", "recall", changes=False),
        Column("Density", "density", changes=False),
        Column("Coverage", "coverage", changes=False),
        Column("Class accuracy (%)", "class_accuracy", 0.01, changes=False),
        Column(macs_name, "macs", macs, paper="gmacs"),
        Column("Throughput, eager (it/s)", "iterations_per_s_eager", changes=False),
        Column(
            "Throughput, compiled (it/s)",
            "iterations_per_s_compiled",
            changes=False,
            paper="iterations_per_s",
        ),
        *(
            Column(
                f"Latency / parent's, {mode}",
                f"{OVER_BASE}_{mode}",
                changes=False,
                within_noise=f"{OVER_BASE}_{mode}_significant",
                quartiles=True,
            )
            for mode in MODES
        ),
        Column("Sampler (images/s)", "sampler_images_per_s", changes=False),
    ]


def _measured_cell(study: Study, variant: str, column: Column) -> str:
    result = study.results[variant]
    value = result.values.get(column.value)
    if value is None:
        return NONE if needs_parent(result.row, column.value) else NOT_MEASURED
    text = number(value / column.unit)
    if column.value in result.stds:
        text += f" ± {number(result.stds[column.value] / column.unit, like=value / column.unit)}"
    if column.value == "total_params":
        text += _active(result)
    is_noise = column.within_noise and result.values.get(column.within_noise) == "no"
    mark = NOISE if is_noise else ""
    if column.quartiles:
        low, high = (result.values[f"{column.value}_{part}"] for part in ("q25", "q75"))
        text += f" [{number(low, like=value)}, {number(high, like=value)}{mark}]"
    if column.changes:
        text += bracket(study.change_percent(variant, column.value), mark)
    return text


def _active(result: Result) -> str:
    active = result.values.get("active_params")
    if active is None or active == result.values["total_params"]:
        return ""
    return f" [{number(active / 1e6)}]"


def _paper_heading(column: Column) -> str:
    return {"fid": "FID-10K", "sfid": "sFID-10K", "gmacs": "GFLOPS"}.get(
        column.paper, column.heading.replace(", compiled", "")
    )


def _paper_cell(values: dict[str, str], column: Column) -> str:
    if column.paper not in values:
        return NOT_REPORTED
    text = values[column.paper]
    if column.paper == "total_params_million" and "active_params_million" in values:
        text += f" [{values['active_params_million']}]"
    return text


def table_line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _reading(study: Study) -> Iterable[str]:
    yield (
        "Params counts every parameter, the frozen position table included; square brackets give "
        "those that act on one token where that differs."
    )
    yield "MACs are multiply-accumulates of one pass through the model for one image."
    parents = {row.variant: row.parent for row in study.rows if row.parent}
    if not parents:
        return
    usual = Counter(parents.values()).most_common(1)[0][0]
    labels = {row.variant: row.label for row in study.rows}
    by_parent: dict[str, list[str]] = {}
    for variant, parent in parents.items():
        if parent != usual:
            by_parent.setdefault(labels[parent], []).append(labels[variant])
    exceptions = "".join(
        f"; for {and_joined(children)} it is {parent}" for parent, children in by_parent.items()
    )
    yield (
        f"Round brackets give the change against the parent, {labels[usual]}{exceptions}; "
        "no bracket means the very same value."
    )


def speed_conditions(study: Study) -> Iterable[str]:
    chosen = [
        {**measurement, "origin": file["origin"]}
        for file in study.speed
        for measurement in file["measurements"]
        if measurement["batch_size"] == study.speed_batch_size
    ]
    if chosen:
        yield (
            f"Speed and memory: {_distinct(chosen, _machine)}; batch size "
            f"{study.speed_batch_size}, {_distinct(chosen, 'dtype')}, "
            f"{_distinct(chosen, 'warmup_iterations')} warm-up and "
            f"{_distinct(chosen, 'timed_iterations')} timed iterations, of which the median is "
            "given; an iteration is one pass of the batch through the model."
        )
        kinds = [each for each in chosen if each["mode"] == "eager"] or chosen
        yield f"Peak memory: {_distinct(kinds, _peak_memory_kind)}, in eager mode."
        yield from _compiled_how(chosen)
    yield from _against_base(study)
    missing = [
        f"{file['variant']} {each['mode']} ({each['reason']})"
        for file in study.speed
        for each in file.get("not_measured", [])
        if each["batch_size"] == study.speed_batch_size
    ]
    if missing:
        yield f"Speed that could not be measured: {'; '.join(missing)}."


def _compiled_how(measurements: list[dict]) -> Iterable[str]:
    modes = [each for each in measurements if each.get("compile_mode")]
    if modes:
        yield f"Compiled: torch.compile's mode {_distinct(modes, 'compile_mode')}."


def _against_base(study: Study) -> Iterable[str]:
    """Which rows are faster than their parents, and which slower."""
    found = []
    for mode in MODES:
        column = f"{OVER_BASE}_{mode}"
        timed = [result for result in study.results.values() if result.values[column] is not None]
        apart = [result for result in timed if result.values[f"{column}_significant"] == "yes"]
        faster = [each.row.label for each in apart if each.values[column] < 1]
        slower = [each.row.label for each in apart if each.values[column] > 1]
        if timed:
            sides = (and_joined(rows) if rows else "no row" for rows in (faster, slower))
            found.append("Beyond the noise, {}: {} faster, {} slower.".format(mode, *sides))
    if found:
        yield (
            "Latency / parent's: both timed in one process in turns, pass by pass; the ratio of "
            "the medians, in square brackets the quartiles of the ratios of the passes; "
            f"'{NOISE.strip()}' marks quartiles that hold 1, a change within the noise."
        )
    yield from found


def _quality_conditions(study: Study) -> Iterable[str]:
    if not study.quality:
        return
    first = study.quality[0]
    name = first["extractor"]["name"]
    checksum = first["extractor"].get("weights_sha256")
    checksum = f" (weights sha256 {checksum[:12]})" if checksum else ""
    yield (
        f"Quality: features of {name}{checksum}, {first['num_samples']} samples a run against "
        f"{first['num_reference']} reference images, {_seeds(study.quality)}."
    )
    errors = [run["metrics"]["fd_standard_error"] for run in study.quality]
    yield (
        f"{study.extractor.fd_label}: the standard error over other samples is "
        f"{number(min(errors))} to {number(max(errors))}."
    )
    paired = {r.row.label: r.values[f"{DIFFERENCE}_paired"] for r in study.results.values()}
    if set(paired.values()) != {None}:
        apart = [label for label, is_paired in paired.items() if is_paired == "no"]
        but = f" (for {and_joined(apart)} from independent samples)" if apart else ""
        yield (
            f"'{NOISE.strip()}' marks a change within the noise: the 95 % interval of the "
            f"difference, from pairs of samples with the same noise and label{but}, holds 0."
        )
    probe = first.get("probe")
    if probe:
        yield (
            "Class accuracy: share of the samples that a linear probe on the same features puts "
            f"into the class they were asked for; the probe itself is right on "
            f"{100 * probe['held_out_accuracy']:.1f}% of {probe['num_held_out']} held-out real "
            "images."
        )
    usual = Counter(_sampling(run) for run in study.quality).most_common(1)[0][0]
    others = dict.fromkeys(
        f"{run['variant']}: {_sampling(run)}" for run in study.quality if _sampling(run) != usual
    )
    yield f"Sampling: {usual}{''.join(f'; {other}' for other in others)}."


def _training_conditions(study: Study) -> Iterable[str]:
    if not study.training:
        return
    yield (
        f"Training: {_distinct(study.training, 'steps')} steps of batch size "
        f"{_distinct(study.training, 'batch_size')}, {_seeds(study.training)}, "
        f"{_distinct(study.training, _machine)}."
    )


def _machine(content: dict) -> str:
    origin = content["origin"]
    device = origin.get("device") or "unknown device"
    if device == "cpu":
        device = f"{origin.get('processor') or 'cpu'}, {origin.get('threads')} threads"
    return f"{device}, torch {origin.get('versions', {}).get('torch', 'of unknown version')}"


def _peak_memory_kind(measurement: dict) -> str:
    kind = measurement["peak_memory_kind"]
    return f"{PEAK_MEMORY_KINDS.get(kind, kind)} ({kind})"


def _sampling(run: dict) -> str:
    """How one image comes about: the settings that all images of a run share."""
    settings = {**run["sampling"], **run["sampling"].get("options", {})}
    return ", ".join(
        f"{key.replace('_', ' ')} {value}"
        for key, value in sorted(settings.items())
        if key not in ("num_samples", "num_sets", "batch_size", "prompts", "options")
    )


def _seeds(runs: list[dict]) -> str:
    seeds = sorted({run["seed"] for run in runs})
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"mean ± standard deviation over the seeds {and_joined(seeds)}"


def _distinct(contents: list[dict], of: str | Callable[[dict], str]) -> str:
    values = (content[of] if isinstance(of, str) else of(content) for content in contents)
    return and_joined(dict.fromkeys(values))


def and_joined(values: Iterable) -> str:
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last

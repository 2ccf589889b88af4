"""In words, how the results table is read and how its numbers were measured."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from slimdit.reporting.columns import (
    DIFFERENCE,
    MODES,
    NOISE,
    NOT_REPORTED,
    OVER_BASE,
    number,
)
from slimdit.reporting.results import PEAK_MEMORY_KINDS, StudyResults


def conditions(study: StudyResults, has_paper: bool, autoencoders: Iterable[dict] = ()) -> str:
    """One paragraph, from the files' own records."""
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


def _reading(study: StudyResults) -> Iterator[str]:
    yield (
        "Params counts every parameter, the frozen position table included; square brackets give "
        "those that act on one token where that differs."
    )
    yield "An arrow says whether lower (↓) or higher (↑) values are better."
    yield "MACs are multiply-accumulates of one pass through the model for one image."
    parents = study.table["parent"].dropna()
    if parents.empty:
        return
    usual = Counter(parents).most_common(1)[0][0]
    exceptions = "".join(
        f"; for {and_joined(children.index)} it is {parent}"
        for parent, children in parents[parents != usual].groupby(parents, sort=False)
    )
    yield (
        f"Round brackets give the change against the parent, {usual}{exceptions}; "
        "no bracket means the very same value."
    )


def speed_conditions(study: StudyResults) -> Iterator[str]:
    """Of all that was timed at the table's batch size."""
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
        eager = [each for each in chosen if each["mode"] == "eager"] or chosen
        yield f"Peak memory: {_distinct(eager, _peak_memory_kind)}, in eager mode."
    if compiled := [each for each in chosen if each.get("compile_mode")]:
        yield f"Compiled: torch.compile's mode {_distinct(compiled, 'compile_mode')}."
    yield from _over_base(study)
    missing = [
        f"{file['variant']} {each['mode']} ({each['reason']})"
        for file in study.speed
        for each in file.get("not_measured", [])
        if each["batch_size"] == study.speed_batch_size
    ]
    if missing:
        yield f"Speed that could not be measured: {'; '.join(missing)}."


def _over_base(study: StudyResults) -> Iterator[str]:
    """Which rows are faster than their parents, and which slower."""
    timed = [mode for mode in MODES if study.table[f"{OVER_BASE}_{mode}"].notna().any()]
    if timed:
        yield (
            "Latency / parent's: both timed in one process, interleaved pass by pass; the ratio of "
            "the medians, in square brackets the quartiles of the ratios of the passes; "
            f"'{NOISE}' marks quartiles that hold 1, a change within the noise."
        )
    for mode in timed:
        ratio = study.table[f"{OVER_BASE}_{mode}"]
        apart = study.table[f"{OVER_BASE}_{mode}_significant"].eq(True)
        faster, slower = (
            and_joined(ratio.index[apart & side]) or "no row" for side in (ratio < 1, ratio > 1)
        )
        yield f"Beyond the noise, {mode}: {faster} faster, {slower} slower."


def _quality_conditions(study: StudyResults) -> Iterator[str]:
    if not study.quality:
        return
    first = study.quality[0]
    checksum = first["extractor"].get("weights_sha256")
    checksum = f" (weights sha256 {checksum[:12]})" if checksum else ""
    yield (
        f"Quality: features of {first['extractor']['name']}{checksum}, {first['num_samples']} "
        f"samples a run against {first['num_reference']} reference images, {_seeds(study.quality)}."
    )
    errors = [run["metrics"]["fd_standard_error"] for run in study.quality]
    yield (
        f"{study.names.fd_label}: the standard error over other samples is "
        f"{number(min(errors))} to {number(max(errors))}."
    )
    paired = study.table[f"{DIFFERENCE}_paired"]
    if paired.notna().any():
        apart = and_joined(paired.index[paired.eq(False)])
        but = f" (for {apart} from independent samples)" if apart else ""
        yield (
            f"'{NOISE}' marks a change within the noise: the 95 % interval of the "
            f"difference, from pairs of samples with the same noise and label{but}, holds 0."
        )
    if probe := first.get("probe"):
        yield (
            "Class accuracy: fraction of the samples that a linear probe on the same features puts "
            f"into the class they were asked for; the probe itself is right on "
            f"{100 * probe['held_out_accuracy']:.1f}% of {probe['num_held_out']} held-out real "
            "images."
        )
    usual = Counter(map(_sampling, study.quality)).most_common(1)[0][0]
    others = dict.fromkeys(
        f"{run['variant']}: {_sampling(run)}" for run in study.quality if _sampling(run) != usual
    )
    yield f"Sampling: {'; '.join([usual, *others])}."


def _training_conditions(study: StudyResults) -> Iterator[str]:
    if study.training:
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
    """`a, b and c`; empty for no values."""
    *first, last = [*map(str, values)] or [""]
    return f"{', '.join(first)} and {last}" if first else last

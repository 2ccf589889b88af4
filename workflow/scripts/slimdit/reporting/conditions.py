"""In words, how the results table is read and how its numbers were measured."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator

from slimdit.core.text import in_markdown
from slimdit.profiling.modes import MODES
from slimdit.reporting.columns import BEST_SCALE, BEYOND_NOISE, NOISE
from slimdit.reporting.differences import OVER_SEEDS, THIS_CHECKPOINT
from slimdit.reporting.results import StudyResults

QUIET = 0.05  # the part of a job's cores that others may take

READING = (
    "Params counts every parameter, the frozen position table included; square brackets give those "
    "that act on one token where that differs. MACs are multiply-accumulates of one pass through "
    "the model for one image; passes and MACs an image are of its whole sampling, guidance "
    "counted; cached passes take what attention and MLP gave at earlier steps.",
    "Latency / parent's: both timed interleaved, pass by pass, in several processes one after the "
    "other; the median of the ratios of the passes, in square brackets its 95 % interval, from how "
    f"the processes differ, '{NOISE}' where it holds 1. Sampling is of latents, by each row's own "
    "settings, without the autoencoder.",
    "An arrow says whether lower (↓) or higher (↑) values are better. Round brackets compare with "
    "the parent, where it has another value: costs in percent, quality by the difference, of which "
    "there are two kinds. A row made from its parent's weights is compared for this checkpoint "
    "alone, over other samples, by pairs of equal noise and label: "
    f"'{BEYOND_NOISE[THIS_CHECKPOINT]}' marks a difference beyond their noise. A row that is "
    "trained on its own is compared over trainings, in pairs of the same seed: "
    f"'{BEYOND_NOISE[OVER_SEEDS]}' marks a mean difference beyond the noise of trainings, by a t "
    f"interval. '{NOISE}' marks a difference within the noise; (1 seed) is one training of each, "
    "from which nothing follows about the method. Marks of quality are at the level of 5 %, "
    "adjusted for all rows of a column (Holm); table1.csv has the 95 % intervals.",
)
IN_NO_IMAGE = ("num_samples", "num_sets", "batch_size", "prompts")  # of a sampling's settings


def conditions(study: StudyResults, autoencoders: Iterable[dict] = ()) -> str:
    """A list, from the files' own records."""
    items = [*READING, *_parents(study), *_speed(study), *_quality(study), *_training(study)]
    for report in autoencoders:
        items.append(
            f"Autoencoder: trained for {report['steps']} steps, held-out PSNR "
            f"{report['held_out_psnr_db']:.1f} dB on {report['num_held_out']} images."
        )
    return "\n".join(f"- {item}" for item in items)


def _parents(study: StudyResults) -> Iterator[str]:
    parents = study.table["parent"].dropna()
    if not parents.empty:
        yield f"Parents: {_grouped(parents.items())}."


def _speed(study: StudyResults) -> Iterator[str]:
    """Of all that was timed, or could not be, at the table's batch size."""
    batch_size = study.speed_batch_size
    of_files = [each for file in study.speed for each in file["measurements"]]
    timed = [
        each for each in of_files if each["batch_size"] == batch_size and each["mode"] in MODES
    ]
    if timed:
        yield (
            f"Speed and memory: {_distinct(map(_machine, study.speed))}; batch size "
            f"{batch_size}, {_distinct(each['dtype'] for each in timed)}, "
            f"{_distinct(each['timed_iterations'] for each in timed)} timed iterations in "
            f"{_distinct(each['processes'] for each in timed)} processes, each after "
            f"{_distinct(each['warmup_iterations'] for each in timed)} to warm up; an iteration is "
            "one pass of the batch through the model."
        )
        yield from _quietness(study)
    if first := [file["variant"] for file in study.speed if file["base"] is None]:
        yield f"Throughputs are that of {_distinct(first)}, times the ratios on the way to a row."
    if study.peak_memory_kinds:
        yield f"Peak memory, in eager mode: {_distinct(study.peak_memory_kinds)}."
    if modes := _distinct(filter(None, (each.get("compile_mode") for each in timed))):
        yield f"Compiled: torch.compile's mode {modes}."
    if missing := _distinct(
        f"{file['variant']} {each['mode']} ({in_markdown(each['reason'])})"
        for file in study.speed
        for each in file["not_measured"]
        if each["batch_size"] == batch_size
    ):
        yield f"Not measured: {missing}."


def _quietness(study: StudyResults) -> Iterator[str]:
    """Of the machine while it was measured; results of earlier versions do not tell."""
    told = [file for file in study.speed if all("others_s" in one for one in file["measurements"])]
    if not (each := [one for file in told for one in file["measurements"]]):
        return
    busy = {
        file["variant"]: max(0.0, sum(one["others_s"] for one in file["measurements"]))
        / sum(one["wall_s"] for one in file["measurements"])
        for file in told
        if file["measurements"]
    }
    variant = max(busy, key=busy.__getitem__)
    spread = statistics.median(one["latency_spread"] for one in each)
    yield (
        f"Meanwhile other programs kept at most {busy[variant]:.2f} cores busy ({variant}); the "
        f"quartiles of a trial's iterations are {100 * spread:.1f}% of their median apart (median "
        "of trials)."
    )
    if busy[variant] > QUIET * min(file["origin"]["threads"] for file in told):
        yield (
            "**The machine was busy while speed was measured**: on a quiet one "
            "`--forcerun measure_speed` measures it again."
        )


def _quality(study: StudyResults) -> Iterator[str]:
    if not study.quality:
        return
    first = study.quality[0]
    extractor = first["extractor"]["name"]
    if checksum := first["extractor"].get("weights_sha256"):
        extractor += f" (weights sha256 {checksum[:12]})"
    yield (
        f"Quality: features of {extractor}, {first['num_samples']} samples a run against "
        f"{first['num_reference'] or 'published statistics of'} reference images, "
        f"{_seeds(study.quality)}."
    )
    if probe := first.get("probe"):
        yield (
            "Class accuracy: fraction of the samples that a linear probe on these features puts "
            "into the class they were asked for; the probe is right on "
            f"{100 * probe['held_out_accuracy']:.1f}% of {probe['num_held_out']} real held-out "
            f"images and on {100 * probe['reconstructed_held_out_accuracy']:.1f}% of them through "
            "the autoencoder, the most that a perfect model reaches."
        )
    if study.table[BEST_SCALE].notna().any():
        yield (
            "At best guidance: the least distance among rows of the same weights that differ in "
            "their guidance scale alone; the scale is chosen by the same samples, which flatters "
            "it."
        )
    yield from _sampling(study)


def _sampling(study: StudyResults) -> Iterator[str]:
    """How an image comes about: the first row's settings, and what other rows have otherwise."""
    settings = {run["variant"]: _settings(run) for run in study.quality}
    first, of_first = next(iter(settings.items()))
    yield f"Sampling of {first}: {_told(of_first)}."
    others = [
        (variant, _told({key: value for key, value in of.items() if value != of_first.get(key)}))
        for variant, of in settings.items()
    ]
    if differing := _grouped(others):
        yield f"Sampled otherwise: {differing}."


def _training(study: StudyResults) -> Iterator[str]:
    if study.training:
        yield (
            f"Training: {_distinct(run['steps'] for run in study.training)} steps of batch size "
            f"{_distinct(run['batch_size'] for run in study.training)}, {_seeds(study.training)}, "
            f"{_distinct(map(_machine, study.training))}."
        )


def _machine(content: dict) -> str:
    origin = content["origin"]
    device = origin["device"]
    if device == "cpu":
        device = f"{origin['processor']}, {origin['threads']} threads"
    return f"{device}, torch {origin['versions']['torch']}"


def _settings(run: dict) -> dict:
    """Those that all images of a run share."""
    sampling = {key: value for key, value in run["sampling"].items() if key not in IN_NO_IMAGE}
    options = sampling.pop("options", {})
    return sampling | options


def _told(settings: dict) -> str:
    return ", ".join(
        f"no {key.replace('_', ' ')}" if value is None else f"{key.replace('_', ' ')} {value}"
        for key, value in sorted(settings.items())
    )


def _seeds(runs: list[dict]) -> str:
    seeds = sorted({run["seed"] for run in runs})
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"mean ± standard deviation over the seeds {_distinct(seeds)}"


def _grouped(pairs: Iterable[tuple[str, str]]) -> str:
    """Of (variant, what it has): each of the latter once, with the variants where they differ; no
    word of those that have nothing."""
    variants = defaultdict(list)
    for variant, what in dict.fromkeys(pairs):
        variants[what].append(variant)
    if len(variants) == 1:
        return next(iter(variants))
    return "; ".join(f"{what} ({_distinct(names)})" for what, names in variants.items() if what)


def _distinct(values: Iterable) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))

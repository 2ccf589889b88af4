"""A study's long jobs, and where each keeps its state, its log and its results: torch-free."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from slimdit.study.study import Study

OF_AUTOENCODER = {"done": "steps", "loss": "final_losses.loss"}
OF_TRAINING = {"done": "steps", "loss": "final_loss", "per_s": "steps_per_s", "wall_s": "wall_s"}
OF_SAMPLES = {"per_s": "images_per_s", "wall_s": "wall_s"}
PART = re.compile(r"(\d+-of-\d+)(\.json)?")


@dataclass(frozen=True)
class LongJob:
    """One job of a rule.

    state: a folder that a job without a heartbeat does not have.
    total: units of work as the config has them; None where the job alone knows. reported: where
    the last of `outputs`, a JSON file, has done, loss, per_s and wall_s, as dotted keys.
    """

    name: str
    state: Path
    log: Path
    outputs: tuple[Path, ...]
    total: int | None = None
    reported: dict[str, str] = field(default_factory=dict)


def long_jobs(study: Study) -> list[LongJob]:
    """In the order in which a study comes to them."""
    return [*_of_data(study), *_of_runs(study)]


def parts_begun(job: LongJob) -> list[LongJob]:
    """The jobs that share its work, as far as each has a folder or a report in its state."""
    found = (PART.fullmatch(path.name) for path in job.state.glob("*-of-*"))
    names = {match[1] for match in found if match}
    return [
        LongJob(
            f"{job.name}, part {name}",
            job.state / name,
            job.log.with_name(f"{job.log.stem}-{name}.log"),
            (job.state / f"{name}.npy", job.state / f"{name}.json"),
            reported={"wall_s": "wall_s"},
        )
        for name in sorted(names, key=lambda each: (len(each), each))
    ]


def _of_data(study: Study) -> Iterable[LongJob]:
    def job(name: str, state: str, folder: Path, outputs: Iterable[str], *more) -> LongJob:
        return _job(study, name, state, name.replace(" ", "_"), folder, outputs, *more)

    data, autoencoder = Path("results", study.name, "data"), study.config["autoencoder"]
    yield job("select subset", "subset", data, ("bad_images.csv", "subset.csv"))
    if training := autoencoder["train"]:
        yield job(
            "train autoencoder",
            "autoencoder",
            Path(autoencoder["source"]),
            ("config.json", "diffusion_pytorch_model.safetensors", "autoencoder.json"),
            training["steps"],
            OF_AUTOENCODER,
        )
    yield job("encode latents", "latents", data, ("latents.npy", "latents.json"))
    yield job("make reference", "reference", data, ("reference.npz", "reference-features.npz"))


def _of_runs(study: Study) -> Iterable[LongJob]:
    def jobs(rule: str, variants: Iterable[str], outputs: Iterable[str], more) -> Iterable[LongJob]:
        for variant in variants:
            for seed in study.seeds:
                place = f"{rule}/{variant}-seed-{seed}"
                folder = Path("results", study.name, "variants", variant, f"seed-{seed}")
                name = f"{rule} {variant}, seed {seed}"
                yield _job(study, name, place, place, folder, outputs, *more(variant))

    def training(variant: str):
        return study.training(variant)["steps"], OF_TRAINING

    def sampling(variant: str):
        options = study.sampling(variant)
        return options["num_samples"] * options["num_sets"], OF_SAMPLES

    trained = ("checkpoint.safetensors", "losses.csv", "training.json")
    sampled = ("samples.npz", "prompts.npz", "grid.png", "samples.json")
    evaluated = ("features.npz", "quality.json")
    yield from jobs("train", study.trained, trained, training)
    yield from jobs("sample", study.variants, sampled, sampling)
    yield from jobs("evaluate", study.variants, evaluated, lambda variant: ())
    yield from jobs("compare", study.compared, ("difference.json",), lambda variant: ())
    for variant in study.variants:
        place, folder = f"measure_speed/{variant}", Path("results", study.name, "variants", variant)
        yield _job(study, f"measure speed {variant}", place, place, folder, ("speed.json",))


def _job(study: Study, name, state: str, log: str, folder: Path, outputs, *more) -> LongJob:
    root = Path("results", study.name)
    paths = tuple(folder / output for output in outputs)
    return LongJob(name, root / "state" / state, root / "logs" / f"{log}.log", paths, *more)

"""What each job of a study has to do: steps, images, bytes, and what to time to know how long."""

import functools
import math
from dataclasses import dataclass, field

from slimdit.core.canonical import canonical_json
from slimdit.evaluation.features.published_graph import GRAPH_SIZE_BYTES
from slimdit.evaluation.quality import MEASURES
from slimdit.plan.jobs import PlannedJob
from slimdit.study.shards import rows_of_shard
from slimdit.study.study import Study, identity

FLOAT_BYTES = 4
STATE_COPIES = 4  # of each trained weight: itself, its average, two moments
LABEL_BYTES = 8
NUM_PROMPTS = 8  # where a config names none
WIDTHS = {  # of pooled and of spatial features of images of this many pixels
    "efficientnet-lite0": lambda size: (1280, 7 * math.ceil(size / 16) ** 2),
    "inception-2015": lambda size: (2048, 2023),
}


@dataclass(frozen=True)
class Timing:
    """`count` times what the timer `what` measures with the options `of`."""

    what: str
    of: dict
    count: float

    @property
    def key(self) -> str:
        return canonical_json([self.what, self.of])


@dataclass(frozen=True)
class Work:
    """`amount` of `unit`; files: bytes that stay on disk, by their path in the study's folder."""

    amount: int = 0
    unit: str = ""
    files: dict[str, int] = field(default_factory=dict)
    timings: list[Timing] = field(default_factory=list)


class StudyWork:
    """The work of a study's jobs. Classes are taken to have all the images that they may have."""

    def __init__(self, study: Study):
        self.study, self.config = study, study.config
        self.data, self.autoencoder = self.config["data"], self.config["autoencoder"]
        self.evaluation = study.evaluation

    def of(self, job: PlannedJob) -> Work:
        """The work of one job; none for a rule that only writes text."""
        return RULES.get(job.rule, lambda *_: Work())(self, job)

    # How much there is of everything.

    @property
    def num_train(self) -> int:
        data, most = self.data, self.data["max_images_per_class"]
        if data["photos"]:
            most = min(most, data["photos"]["crops_per_photo"] - data["held_out_per_class"])
        return data["num_classes"] * most

    @property
    def num_held_out(self) -> int:
        return self.data["num_classes"] * self.data["held_out_per_class"]

    @property
    def num_reference(self) -> int:
        return self.data["num_classes"] * self.data["reference_per_class"]

    @property
    def num_among_copies(self) -> int:
        """Training images among which copies are looked for, the reference among them."""
        wanted = self.data["num_classes"] * self.evaluation["copies_per_class"]
        return max(self.num_reference, min(wanted, self.num_train))

    @property
    def image_bytes(self) -> int:
        return 3 * self.data["image_size"] ** 2

    @functools.cached_property
    def widths(self) -> tuple[int, int]:
        """Numbers of pooled and of spatial features of an image."""
        extractor = self.evaluation["extractor"]
        size = extractor.get("input_size", 128) or self.data["image_size"]
        return WIDTHS[extractor["name"]](size)

    def features_bytes(self, num_images: int) -> int:
        """As they are kept in a state: pooled and spatial."""
        return num_images * sum(self.widths) * FLOAT_BYTES

    @functools.cache  # noqa: B019
    def model_bytes(self, variant: str) -> tuple[int, int]:
        """Of the stored weights, and of the trained ones among them in float32."""
        import torch

        from slimdit.models.build import apply_operations, build_model
        from slimdit.profiling.cost import weight_bytes

        with torch.device("meta"):
            model = build_model(self.study.structure(variant))
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad) * FLOAT_BYTES
        operations = self.study.operations(variant)
        if operations:
            model = apply_operations(model.to_empty(device="cpu"), operations)
        return weight_bytes(model), trained

    def num_sampled(self, variant: str) -> int:
        """Images of all sets."""
        sampling = self.study.sampling(variant)
        return sampling["num_samples"] * sampling["num_sets"]

    # What is timed.

    def read(self, count: float) -> Timing:
        return Timing("read", {"image_size": self.data["image_size"]}, count)

    def through_autoencoder(self, what: str, count: int, batch_size: int) -> Timing:
        training = self.autoencoder["train"]
        of = {key: self.autoencoder[key] for key in ("source", "revision", "latent_channels")}
        of |= {
            "channels": training and training["channels"],
            "downsample_factor": self.autoencoder["downsample_factor"],
            "image_size": self.data["image_size"],
            "batch_size": batch_size,
        }
        return Timing(what, of, count)

    def features(self, count: int) -> Timing:
        of = {key: self.evaluation[key] for key in ("extractor", "batch_size")}
        return Timing("features", of | {"image_size": self.data["image_size"]}, count)

    def metrics(self, what: str) -> Timing:
        of = {
            "num_samples": self.config["sampling"]["num_samples"],
            "num_reference": self.num_reference,
            "num_held_out": self.num_held_out,
            "num_train": self.num_among_copies,
            "num_classes": self.data["num_classes"],
            "widths": list(self.widths),
            "measures": {key: self.evaluation[key] for key in MEASURES},
        }
        return Timing(what, of, 1)

    def model(self, variant: str) -> dict:
        return {
            "structure": self.study.structure(variant),
            "operations": self.study.operations(variant),
        }

    def sampling(self, variant: str, count: int) -> list[Timing]:
        """Of `count` images."""
        sampling = self.study.sampling(variant)
        training = self.study.training(self.study.root(variant))
        not_of_a_step = ("num_samples", "num_sets", "labels", "steps", "seed", "prompts")
        of = {
            **self.model(variant),
            "num_timesteps": training["num_timesteps"],
            **{key: value for key, value in sampling.items() if key not in not_of_a_step},
        }
        passes = sampling["steps"] * count / sampling["batch_size"]
        decode = self.through_autoencoder("decode", count, sampling["batch_size"])
        return [Timing("denoise", of, passes), decode]


def _cut_photos(work: StudyWork, job: PlannedJob) -> Work:
    photos = work.data["photos"]
    count = len(photos["names"]) * photos["crops_per_photo"]
    files = {"images": count * 3 * photos["crop_size"] ** 2}
    return Work(count, "images", files, [Timing("cut", {"photos": photos}, count)])


def _select_subset(work: StudyWork, job: PlannedJob) -> Work:
    count = work.num_train + work.num_held_out
    return Work(count, "images", {}, [work.read(count / job.threads)])


def _train_autoencoder(work: StudyWork, job: PlannedJob) -> Work:
    training = work.autoencoder["train"]
    of = {"training": identity(training), "latent_channels": work.autoencoder["latent_channels"]}
    of["training"] = {key: value for key, value in of["training"].items() if key != "steps"}
    timing = Timing("train_autoencoder", of, training["steps"])
    return Work(training["steps"], "steps", {}, [timing])


def _encode_latents(work: StudyWork, job: PlannedJob) -> Work:
    side = work.data["image_size"] // work.autoencoder["downsample_factor"]
    num_bytes = work.num_train * 2 * 2 * work.autoencoder["latent_channels"] * side**2 * 2
    files = {"data/latents.npy": num_bytes, "state/latents": num_bytes}
    batch_size = work.autoencoder["encode_batch_size"]
    encode = work.through_autoencoder("encode", 2 * work.num_train, batch_size)
    return Work(work.num_train, "images", files, [work.read(work.num_train), encode])


def _fetch_inception_graph(work: StudyWork, job: PlannedJob) -> Work:
    return Work(files={"graph": GRAPH_SIZE_BYTES})


def _make_reference(work: StudyWork, job: PlannedJob) -> Work:
    count = work.num_among_copies + work.num_held_out
    stored = work.num_reference + work.num_held_out
    pooled = (stored + work.num_among_copies) * work.widths[0]
    features = (pooled + work.num_reference * work.widths[1]) * FLOAT_BYTES
    files = {
        "data/reference.npz": stored * (work.image_bytes + LABEL_BYTES),
        "data/reference-features.npz": features + stored * LABEL_BYTES,
        "state/reference": work.features_bytes(count),
    }
    return Work(count, "images", files, [work.read(count), work.features(count)])


def _train(work: StudyWork, job: PlannedJob) -> Work:
    training, teacher = work.study.training(job.variant), work.study.teacher(job.variant)
    steps = training["steps"]
    micro_batch_size = training["micro_batch_size"]
    of = {
        "structure": work.study.structure(job.variant),
        "teacher": teacher and work.study.structure(teacher),
        "micro_batch_size": micro_batch_size,
        **{key: training[key] for key in ("batch_size", "precision", "compile")},
        **{key: training[key] for key in ("horizontal_flip", "num_timesteps")},
    }
    stored, trained = work.model_bytes(job.variant)
    files = {
        f"{_run_folder(job)}/checkpoint.safetensors": stored,
        f"state/train/{job.variant}-seed-{job.seed}": STATE_COPIES * trained,
    }
    return Work(steps, "steps", files, [Timing("train", of, steps)])


def _compress(work: StudyWork, job: PlannedJob) -> Work:
    stored, _ = work.model_bytes(job.variant)
    return Work(files={f"{_run_folder(job)}/checkpoint.safetensors": stored})


def _sample_shard(work: StudyWork, job: PlannedJob) -> Work:
    batch_size = work.study.sampling(job.variant)["batch_size"]
    count = len(rows_of_shard(job.shard, work.num_sampled(job.variant), batch_size))
    return Work(count, "images", {}, work.sampling(job.variant, count))


def _sample(work: StudyWork, job: PlannedJob) -> Work:
    sampling, count = work.study.sampling(job.variant), work.num_sampled(job.variant)
    prompts = len(sampling["prompts"] or range(min(NUM_PROMPTS, work.data["num_classes"])))
    folder = _run_folder(job)
    files = {
        f"{folder}/samples.npz": count * work.image_bytes + sampling["num_samples"] * LABEL_BYTES,
        f"{folder}/prompts.npz": prompts * work.image_bytes,
    }
    made = 0 if job.num_shards else count
    return Work(made, "images", files, work.sampling(job.variant, made + prompts))


def _evaluate(work: StudyWork, job: PlannedJob) -> Work:
    number = work.study.sampling(job.variant)["num_samples"]
    count = work.num_sampled(job.variant)
    files = {
        f"{_run_folder(job)}/features.npz": number * (work.widths[0] * FLOAT_BYTES + LABEL_BYTES),
        f"state/evaluate/{job.variant}-seed-{job.seed}": work.features_bytes(count),
    }
    return Work(count, "images", files, [work.features(count), work.metrics("metrics")])


def _compare(work: StudyWork, job: PlannedJob) -> Work:
    return Work(timings=[work.metrics("difference")])


def _measure_speed(work: StudyWork, job: PlannedJob) -> Work:
    speed = work.config["speed"]
    batch_sizes = speed["eager_batch_sizes"] + speed["compiled_batch_sizes"]
    iterations = speed["warmup_iterations"] + speed["timed_iterations"]
    parent = work.study.parent(job.variant)  # timed in turns with its variant
    models = [work.model(name) for name in (job.variant, parent) if name]
    count = iterations * sum(batch_sizes) / max(batch_sizes)
    largest = {"batch_size": max(batch_sizes)}
    passes = largest | {"precision": speed["precision"]}
    timings = [Timing("forward", model | passes, count) for model in models]
    if compiled := len(models) * len(speed["compiled_batch_sizes"]):
        # One stands for all: each is seconds to minutes.
        first = work.model(work.study.trained[0])
        timings.append(Timing("compile_blocks", first | largest, compiled))
    return Work(timings=timings)


def _run_folder(job: PlannedJob) -> str:
    return f"variants/{job.variant}/seed-{job.seed}"


RULES = {
    "cut_photos": _cut_photos,
    "select_subset": _select_subset,
    "train_autoencoder": _train_autoencoder,
    "encode_latents": _encode_latents,
    "fetch_inception_graph": _fetch_inception_graph,
    "make_reference": _make_reference,
    "train": _train,
    "compress": _compress,
    "sample_shard": _sample_shard,
    "sample": _sample,
    "evaluate": _evaluate,
    "compare": _compare,
    "measure_speed": _measure_speed,
}

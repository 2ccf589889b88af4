"""What each job of a study has to do: steps, images, bytes, and units of what is timed."""

import functools
from dataclasses import dataclass, field

from slimdit.evaluation.features import EXTRACTORS
from slimdit.evaluation.features.published_graph import GRAPH_SIZE_BYTES
from slimdit.plan.jobs import PlannedJob
from slimdit.study.shards import rows_of_shard
from slimdit.study.study import Study

FLOAT_BYTES = 4
LABEL_BYTES = 8
STATE_COPIES = 4  # of each trained weight: itself, its average, two moments
NUM_PROMPTS = 8  # where a config names none
PASSES_OF_TRAINING = 3  # the one back counts twice


@dataclass(frozen=True)
class JobWork:
    """`amount` of `unit`; files: bytes that stay on disk, by file or folder; units: how many of
    each rate, which is named as in `Rates`."""

    amount: int = 0
    unit: str = ""
    files: dict[str, int] = field(default_factory=dict)
    units: dict[str, float] = field(default_factory=dict)


class StudyWork:
    """The work of a study's jobs. Classes are taken to have all the images that they may have."""

    def __init__(self, study: Study, cores: int = 1):
        self.study, self.cores = study, cores
        self.data, self.autoencoder = study.config["data"], study.config["autoencoder"]
        classes, most = self.data["num_classes"], self.data["max_images_per_class"]
        if photos := self.data["photos"]:
            most = min(most, photos["crops_per_photo"] - self.data["held_out_per_class"])
        self.num_train = classes * most
        self.num_held_out = classes * self.data["held_out_per_class"]
        self.num_reference = classes * self.data["reference_per_class"]
        # Training images that samples are compared with one by one, the reference among them.
        wanted = classes * study.evaluation["memorization_per_class"]
        self.num_searched = max(self.num_reference, min(wanted, self.num_train))
        self.image_bytes = 3 * self.data["image_size"] ** 2

    def of(self, planned: PlannedJob) -> JobWork:
        """By the method that is called like the job's rule; without one a job only starts."""
        work = getattr(self, planned.rule, None)
        return work(planned) if work else JobWork()

    def cut_photos(self, planned: PlannedJob) -> JobWork:
        photos = self.data["photos"]
        count = len(photos["names"]) * photos["crops_per_photo"]
        return JobWork(count, "images", {self.data["images"]: count * 3 * photos["crop_size"] ** 2})

    def select_subset(self, planned: PlannedJob) -> JobWork:
        count = self.num_train + self.num_held_out
        return JobWork(count, "images", {}, {"read": count / planned.threads(self.cores)})

    def train_autoencoder(self, planned: PlannedJob) -> JobWork:
        training = self.autoencoder["train"]
        pixels = training["batch_size"] * training["crop_size"] ** 2
        images = training["steps"] * pixels / self.data["image_size"] ** 2
        passes = PASSES_OF_TRAINING * images
        return JobWork(training["steps"], "steps", {}, {"encode": passes, "decode": passes})

    def encode_latents(self, planned: PlannedJob) -> JobWork:
        side = self.data["image_size"] // self.autoencoder["downsample_factor"]
        count, channels = self.num_train, self.autoencoder["latent_channels"]
        num_bytes = count * 2 * 2 * channels * side**2 * 2  # flips, moments, float16
        files = dict.fromkeys((planned.job.outputs["latents"], planned.job.state), num_bytes)
        return JobWork(count, "images", files, {"read": count, "encode": 2 * count})

    def fetch_inception_graph(self, planned: PlannedJob) -> JobWork:
        return JobWork(files={planned.job.outputs["graph"]: GRAPH_SIZE_BYTES})

    def make_reference(self, planned: PlannedJob) -> JobWork:
        count = self.num_searched + self.num_held_out
        stored = self.num_reference + self.num_held_out
        pooled, spatial = self.feature_dims
        num_floats = (stored + self.num_searched) * pooled + self.num_reference * spatial
        files = {
            planned.job.outputs["reference"]: stored * (self.image_bytes + LABEL_BYTES),
            planned.job.outputs["features"]: num_floats * FLOAT_BYTES + stored * LABEL_BYTES,
            planned.job.state: count * (pooled + spatial) * FLOAT_BYTES,
        }
        return JobWork(count, "images", files, {"read": count, "features": count})

    def train(self, planned: PlannedJob) -> JobWork:
        job, training = planned.job, self.study.training(planned.job.variant)
        steps, batch_size = training["steps"], training["batch_size"]
        stored, trained = self._model_bytes(job.variant)
        files = {job.outputs["checkpoint"]: stored, job.state: STATE_COPIES * trained}
        return JobWork(steps, "steps", files, {f"train {job.variant}": steps * batch_size})

    def compress(self, planned: PlannedJob) -> JobWork:
        stored, _ = self._model_bytes(planned.job.variant)
        return JobWork(files={planned.job.outputs["checkpoint"]: stored})

    def sample_shard(self, planned: PlannedJob) -> JobWork:
        variant = planned.job.variant
        batch_size = self.study.sampling(variant)["batch_size"]
        count = len(rows_of_shard(planned.shard, self._num_sampled(variant), batch_size))
        return JobWork(count, "images", {}, self._sampling(variant, count))

    def sample(self, planned: PlannedJob) -> JobWork:
        variant, outputs = planned.job.variant, planned.job.outputs
        sampling, count = self.study.sampling(variant), self._num_sampled(variant)
        prompts = len(sampling["prompts"] or range(min(NUM_PROMPTS, self.data["num_classes"])))
        labels = sampling["num_samples"] * LABEL_BYTES
        files = {
            outputs["samples"]: count * self.image_bytes + labels,
            outputs["prompts"]: prompts * self.image_bytes,
        }
        made = 0 if planned.num_shards else count
        return JobWork(made, "images", files, self._sampling(variant, made + prompts))

    def evaluate(self, planned: PlannedJob) -> JobWork:
        job, count = planned.job, self._num_sampled(planned.job.variant)
        kept = self.study.sampling(job.variant)["num_samples"]
        files = {
            job.outputs["features"]: kept * (self.feature_dims[0] * FLOAT_BYTES + LABEL_BYTES),
            job.state: count * sum(self.feature_dims) * FLOAT_BYTES,
        }
        return JobWork(count, "images", files, {"features": count})

    def measure_speed(self, planned: PlannedJob) -> JobWork:
        """A pass through a model is taken to be as long as one of its sampler."""
        speed, variant = self.study.config["speed"], planned.job.variant
        passes = speed["warmup_iterations"] + speed["timed_iterations"]
        passes *= sum(speed["eager_batch_sizes"] + speed["compiled_batch_sizes"])
        models = [name for name in (variant, self.study.parent(variant)) if name]
        units = {}
        for name in models:
            is_guided = self.study.sampling(name)["guidance_scale"] != 1
            units[f"denoise {name}"] = passes / (1 + is_guided)
        if compiled := len(models) * len(speed["compiled_batch_sizes"]):
            units["compile"] = compiled
        return JobWork(units=units)

    @functools.cached_property
    def feature_dims(self) -> tuple[int, int]:
        """Dimensions of the pooled and the spatial features of an image."""
        options = dict(self.study.evaluation["extractor"])
        return EXTRACTORS[options.pop("name")].feature_dims(self.data["image_size"], **options)

    @functools.cache  # noqa: B019
    def _model_bytes(self, variant: str) -> tuple[int, int]:
        """Of the stored weights, and of the trained ones among them in float32."""
        from slimdit.models.build import compress, empty_model
        from slimdit.profiling.cost import weight_bytes

        model = empty_model(self.study.structure(variant))
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad) * FLOAT_BYTES
        return weight_bytes(compress(model, self.study.operations(variant))), trained

    def _num_sampled(self, variant: str) -> int:
        """Images of all sets."""
        sampling = self.study.sampling(variant)
        return sampling["num_samples"] * sampling["num_sets"]

    def _sampling(self, variant: str, count: int) -> dict[str, float]:
        steps = self.study.sampling(variant)["steps"]
        return {f"denoise {variant}": steps * count, "decode": count}

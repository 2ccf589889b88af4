"""What each job of a study has to do: steps, images, bytes, and units of what is timed."""

import functools
from dataclasses import dataclass, field
from pathlib import Path

from slimdit.evaluation.features import EXTRACTORS
from slimdit.study.jobs import Job
from slimdit.study.study import Study

FLOAT_BYTES = 4
STATE_COPIES = 4  # of each trained weight: itself, its average, two moments
PASSES_OF_TRAINING = 3  # the one back counts twice


@dataclass(frozen=True)
class JobWork:
    """`amount` steps or images; files: bytes that stay on disk, by file or folder, small files left
    out; units: how many of each kind of work of `TIMERS`, "decode" or "train S2-base"."""

    amount: int = 0
    files: dict[str, int] = field(default_factory=dict)
    units: dict[str, float] = field(default_factory=dict)


def work_of(study: Study, job: Job) -> JobWork:
    """Of a step that is not listed here a job only starts."""
    variant, outputs, state = job.variant, job.outputs, job.state
    data, autoencoder = study.config["data"], study.config["autoencoder"]
    image_bytes = 3 * data["image_size"] ** 2
    num_train, num_held_out = num_images(study)
    match job.step:
        case "select_subset":
            return JobWork(num_train + num_held_out)
        case "train_autoencoder":
            training = autoencoder["train"]
            pixels = training["steps"] * training["batch_size"] * training["crop_size"] ** 2
            passes = PASSES_OF_TRAINING * pixels / data["image_size"] ** 2
            return JobWork(training["steps"], units={"encode": passes, "decode": passes})
        case "encode_latents":
            # Two flips, two moments, float16.
            of_image = 2 * 2 * autoencoder["latent_channels"] * study.latent_size**2 * 2
            count = num_train + num_held_out
            files = {
                outputs["latents"]: num_train * of_image,
                outputs["held_out_latents"]: num_held_out * of_image,
                state: count * of_image,
            }
            return JobWork(count, files, {"encode": 2 * count})
        case "reconstruct":
            count = num_searched(study) + num_held_out
            files = {outputs["reconstructions"]: count * image_bytes}
            return JobWork(count, files, {"decode": count})
        case "make_reference":
            pooled, spatial = feature_bytes(study)
            reference, searched = num_reference(study), num_searched(study)
            # Real ones and reconstructed ones.
            stored = 2 * (reference + num_held_out)
            count = stored + searched - reference
            files = {
                outputs["reference"]: reference * image_bytes,
                outputs["features"]: (stored + searched) * pooled + stored * spatial,
                state: count * (pooled + spatial),
            }
            return JobWork(count, files, {"features": count})
        case "train":
            training = study.training(variant)
            stored, trained = model_bytes(study, variant)
            files = {outputs["checkpoint"]: stored, state: STATE_COPIES * trained}
            images = training["steps"] * training["batch_size"]
            units = {f"train {variant}": images, f"compile-train {variant}": 1}
            return JobWork(training["steps"], files, units)
        case "compress" | "import_checkpoint":
            return JobWork(files={outputs["checkpoint"]: model_bytes(study, variant)[0]})
        case "held_out_loss":
            passes = num_held_out * study.evaluation["loss_draws"]
            is_guided = study.sampling(variant)["guidance_scale"] != 1  # by two passes a step
            return JobWork(
                num_held_out,
                units={step_of(study, variant): passes / (1 + is_guided)},
            )
        case "measure_sensitivity":
            from slimdit.training.calibration import NUM_IMAGES

            is_guided = study.sampling(variant)["guidance_scale"] != 1  # by two passes a step
            passes = NUM_IMAGES * (3 + num_quantized(study, variant))
            parent = study.block(variant)["from"]
            return JobWork(NUM_IMAGES, units={step_of(study, parent): passes / (1 + is_guided)})
        case "calibrate_cache":
            from slimdit.diffusion.calibration import NUM_IMAGES

            steps = NUM_IMAGES * study.sampling(variant)["steps"]
            return JobWork(NUM_IMAGES, units={step_of(study, variant): steps})
        case "sample":
            count = study.num_sampled(variant)
            steps = count * whole_steps(study, variant)
            files = {outputs["samples"]: count * image_bytes}
            units = {
                step_of(study, variant): steps,
                f"compile-sample {variant}": 1,
                "decode": count,
            }
            return JobWork(count, files, units)
        case "evaluate" | "evaluate_by_statistics":
            count, kept = study.num_sampled(variant), study.sampling(variant)["num_samples"]
            pooled, spatial = feature_bytes(study)
            files = {outputs["features"]: kept * pooled, state: count * (pooled + spatial)}
            return JobWork(count, files, {"features": count})
        case "measure_speed":
            num_models = len(study.timed_rows(variant))
            sizes = study.config["speed"]["compiled_batch_sizes"]
            return JobWork(units={"compile": num_models * len(sizes)})
    return JobWork()


def step_of(study: Study, variant: str) -> str:
    """The unit of a step of the row's sampler: that of the first row of the same model and guide,
    so that it is timed once."""

    def step(row: str) -> tuple:
        sampling = study.sampling(row)
        how = sampling["guidance_scale"] == 1, sampling["batch_size"], sampling["precision"]
        return study.structure(row), study.operations(row), study.guide_spec(row), how

    return f"denoise {next(row for row in study.variants if step(row) == step(variant))}"


def whole_steps(study: Study, variant: str) -> float:
    """Of a row's sampling: one that is not guided, where others are, counts by its passes, and
    passes from a cache, which skip the blocks, as none."""
    from slimdit.diffusion.guidance import num_passes

    sampling, num_timesteps = study.sampling(variant), study.num_timesteps(variant)
    of_all = sampling | {"guidance_interval": None, "cache": None}
    (full, _), (whole, _) = (num_passes(each, num_timesteps) for each in (sampling, of_all))
    return sampling["steps"] * sum(full) / sum(whole)


def num_images(study: Study) -> tuple[int, int]:
    """To train on and held out, where classes have all the images that they may have."""
    data = study.config["data"]
    most, held_out = data["max_images_per_class"], data["held_out_per_class"]
    if photos := data["photos"]:
        most = min(most, photos["crops_per_photo"] - held_out)
    return data["num_classes"] * most, data["num_classes"] * held_out


def num_reference(study: Study) -> int:
    return study.config["data"]["num_classes"] * study.config["data"]["reference_per_class"]


def num_searched(study: Study) -> int:
    """Training images among which copies are looked for, the reference among them."""
    wanted = study.config["data"]["num_classes"] * study.evaluation["memorization_per_class"]
    return max(num_reference(study), min(wanted, num_images(study)[0]))


def feature_bytes(study: Study) -> tuple[int, int]:
    """Of the pooled and of the spatial features of an image."""
    options = dict(study.evaluation["extractor"])
    extractor = EXTRACTORS[options.pop("name")]
    pooled, spatial = extractor.feature_dims(study.config["data"]["image_size"], **options)
    return FLOAT_BYTES * pooled, FLOAT_BYTES * spatial


def num_quantized(study: Study, variant: str) -> int:
    """Layers of the row's model that its last compression can quantize."""
    from slimdit.models.build import compress, empty_model
    from slimdit.models.compression import COMPRESSION

    *others, last = study.operations(variant)
    model = compress(empty_model(study.structure(variant)), others)
    return len(COMPRESSION.build(last).layers(model))


@functools.cache
def model_bytes(study: Study, variant: str) -> tuple[int, int]:
    """Of the stored weights, and of the trained ones among them in float32. Of layers that are to
    be measured before they are left in float, once they were."""
    from slimdit.models.build import compress, empty_model
    from slimdit.profiling.cost import weight_bytes
    from slimdit.training.sensitivity import with_measured

    path = study.layout.variant("sensitivity.json", variant)
    measured = path if study.is_measured(variant) and Path(path).exists() else None
    operations = with_measured(study.operations(variant), measured)
    model = compress(empty_model(study.structure(variant)), operations)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad) * FLOAT_BYTES
    return weight_bytes(model), trained

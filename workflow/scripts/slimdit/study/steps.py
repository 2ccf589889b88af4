"""What each rule makes, for which rows, from which settings and by which code: once, here.

A rule's file says what it is made from and how much memory it needs; its script says how.
"""

from slimdit.data.class_names import named_classes
from slimdit.study.layout import Layout
from slimdit.study.step import (
    IMAGES,
    SAMPLING,
    TABLE_BATCH_SIZE,
    Step,
    autoencoder_files,
    config_value,
    evaluation,
    every_row,
    files,
    of_autoencoder,
    of_extractor,
    of_images,
    of_models,
    of_passes,
    of_sampler,
    of_training,
    own_operations,
    paper,
    pipelines,
    prompts,
    rows,
    subset_data,
    table_files,
)
from slimdit.study.study import HOW, Study, identity

FIGURES = ("samples", "differences", "losses", "pareto", "passes", "savings", "expert_load")

STEPS: dict[str, Step] = {
    "cut_photos": Step(
        outputs=lambda study: {
            "images": study.config["data"]["images"],
            "cut": study.layout.data("photos.json"),
        },
        settings={
            "photos": config_value("data", "photos"),
            "photos_seed": config_value("data", "seed"),
        },
        record="cut",
        needed=lambda study: bool(study.config["data"]["photos"]),
    ),
    "select_subset": Step(
        outputs=files(Layout.data, subset="subset.csv", bad_images="bad_images.csv"),
        settings={"images_root": IMAGES["images_root"], "data": subset_data},
        options={"prompts": prompts},
        state="subset",
        needed=lambda study: study.has_images,
        is_parallel=True,
    ),
    "train_autoencoder": Step(
        outputs=autoencoder_files,
        settings={
            **IMAGES,
            **of_autoencoder("latent_channels"),
            "training": lambda study, _: identity(study.config["autoencoder"]["train"]),
        },
        options={"save_every_steps": config_value("autoencoder", "train", "save_every_steps")},
        state="autoencoder",
        record="report",
        needed=lambda study: bool(study.config["autoencoder"]["train"]),
        takes_gpu=True,
        is_alone=True,
    ),
    "encode_latents": Step(
        outputs=files(
            Layout.data,
            latents="latents.npy",
            held_out_latents="held_out_latents.npy",
            manifest="latents.json",
        ),
        settings={
            **IMAGES,
            **of_autoencoder("latent_channels", "downsample_factor", "source", "revision"),
            **of_autoencoder("normalize", "scaling_factor", "latent_std"),
            **of_autoencoder("encode_precision", "encode_batch_size"),
        },
        state="latents",
        record="manifest",
        needed=lambda study: study.has_images,
        takes_gpu=True,
    ),
    "reconstruct": Step(
        outputs=files(Layout.data, reconstructions="reconstructions.npz"),
        settings={
            "memorization_per_class": config_value("evaluation", "memorization_per_class"),
            **of_autoencoder("source", "revision"),
            **{key: config_value("sampling", key) for key in ("precision", "batch_size")},
        },
        state="reconstructions",
        record="reconstructions",
        needed=lambda study: study.has_images,
        takes_gpu=True,
    ),
    "fetch_inception_graph": Step(
        outputs=lambda study: {"graph": study.evaluation["extractor"]["graph"]},
        settings={"url": config_value("inception_graph_url")},
        needed=lambda study: bool(
            study.evaluation["extractor"].get("graph") and study.config["inception_graph_url"]
        ),
    ),
    "make_reference": Step(
        outputs=files(Layout.data, reference="reference.npz", features="reference-features.npz"),
        settings={
            **IMAGES,
            "evaluation": lambda study, _: {
                key: study.evaluation[key] for key in ("extractor", "batch_size")
            },
        },
        components=of_extractor,
        state="reference",
        record="features",
        needed=lambda study: study.has_images,
        takes_gpu=True,
    ),
    "evaluate_reference": Step(
        outputs=files(Layout.data, quality="reference_quality.json"),
        settings={
            "evaluation": evaluation,
            "num_samples": config_value("sampling", "num_samples"),
        },
        components=of_extractor,
        record="quality",
        needed=lambda study: study.has_images,
        takes_gpu=True,
    ),
    "describe_latents": Step(
        outputs=files(Layout.data, manifest="latents.json"),
        settings={
            "image_size": IMAGES["image_size"],
            "classes": lambda study, _: named_classes(study.config["data"]),
            "pipelines": pipelines,
            **of_autoencoder("latent_channels", "scaling_factor", "source", "revision"),
        },
        options={"prompts": prompts},
        record="manifest",
        needed=lambda study: not study.has_images,
    ),
    "train": Step(
        outputs=files(
            Layout.run,
            checkpoint="checkpoint.safetensors",
            losses="losses.csv",
            report="training.json",
        ),
        settings={
            "structure": Study.structure,
            "training": lambda study, variant: identity(study.training(variant)),
            "operations": own_operations,
            "distill": Study.distillation,
        },
        options={key: lambda study, variant, key=key: study.training(variant)[key] for key in HOW},
        components=of_training,
        rows=lambda study: study.trained,
        seeds=True,
        state="train",
        record="report",
        takes_gpu=True,
        compiles=True,
    ),
    "import_checkpoint": Step(
        outputs=files(Layout.run, checkpoint="checkpoint.safetensors"),
        settings={"structure": Study.structure, "pretrained": Study.source},
        components=lambda study, variant: (
            of_models(study, variant) | {"format": {study.source(variant)["format"]}}
        ),
        rows=lambda study: study.pretrained,
        seeds=True,
        record="checkpoint",
    ),
    "measure_sensitivity": Step(
        outputs=files(Layout.variant, sensitivity="sensitivity.json"),
        settings={"operations": own_operations, "num_timesteps": Study.num_timesteps},
        components=of_models,
        rows=lambda study: list(filter(study.is_measured, study.variants)),
        record="sensitivity",
        takes_gpu=True,
    ),
    "compress": Step(
        outputs=files(Layout.run, checkpoint="checkpoint.safetensors"),
        settings={
            "operations": own_operations,
            "num_timesteps": Study.num_timesteps,
        },
        components=of_models,
        rows=lambda study: study.compressed,
        seeds=True,
        record="checkpoint",
        takes_gpu=True,
    ),
    "calibrate_cache": Step(
        outputs=files(Layout.variant, cache="cache.json"),
        settings={
            "sampling": lambda study, variant: {
                **study.timed_sampling(variant),
                "seed": study.sampling(variant)["seed"],
            },
            "num_timesteps": Study.num_timesteps,
        },
        components=of_sampler,
        rows=lambda study: list(filter(study.calibrates_cache, study.variants)),
        record="cache",
        takes_gpu=True,
    ),
    "held_out_loss": Step(
        outputs=files(Layout.run, loss="held_out_loss.json"),
        settings={
            "num_timesteps": Study.num_timesteps,
            "num_draws": config_value("evaluation", "loss_draws"),
            "batch_size": config_value("evaluation", "batch_size"),
            "precision": lambda study, variant: study.sampling(variant)["precision"],
            "groups_seed": config_value("evaluation", "seed"),
        },
        components=of_models,
        rows=of_images(lambda study: study.with_weights),
        seeds=True,
        record="loss",
        takes_gpu=True,
    ),
    "export_checkpoint": Step(  # for other programs: nothing in a study needs it
        outputs=files(
            Layout.run,
            config="diffusers/config.json",
            weights="diffusers/diffusion_pytorch_model.safetensors",
        ),
        components=lambda study, variant: of_models(study, variant) | {"format": {"diffusers"}},
        rows=lambda study: study.with_weights,
        seeds=True,
        is_optional=True,
    ),
    "sample": Step(
        outputs=files(
            Layout.run,
            samples="samples.npz",
            prompts="prompts.npz",
            grid="grid.png",
            report="samples.json",
        ),
        settings=SAMPLING,
        components=of_sampler,
        rows=every_row,
        seeds=True,
        state="sample",
        record="report",
        takes_gpu=True,
        compiles=True,
    ),
    "sample_shard": Step(
        outputs=lambda study: {
            "images": f"{STEPS['sample_shard'].state_folder(study)}.npy",
            "report": f"{STEPS['sample_shard'].state_folder(study)}.json",
        },
        settings=SAMPLING,
        components=of_sampler,
        rows=every_row,
        seeds=True,
        state="sample",
        record="report",
        part_of="sample",
        takes_gpu=True,
        is_optional=True,
        compiles=True,
    ),
    "evaluate": Step(
        outputs=files(Layout.run, features="features.npz", quality="quality.json"),
        settings={"evaluation": evaluation},
        components=of_extractor,
        rows=of_images(every_row),
        seeds=True,
        state="evaluate",
        record="quality",
        takes_gpu=True,
    ),
    "evaluate_by_statistics": Step(
        outputs=files(Layout.run, features="features.npz", quality="quality.json"),
        settings={
            "evaluation": evaluation,
            "statistics": config_value("data", "reference_statistics"),
        },
        components=of_extractor,
        rows=lambda study: [] if study.has_images else every_row(study),
        seeds=True,
        state="evaluate",
        record="quality",
        takes_gpu=True,
    ),
    "count_cost": Step(
        outputs=files(Layout.variant, architecture="architecture.json"),
        settings={
            "structure": Study.structure,
            "operations": Study.operations,
            "sampling": Study.timed_sampling,
            "num_timesteps": Study.num_timesteps,
            "guide": Study.guide_spec,
        },
        components=of_passes,
        rows=every_row,
        record="architecture",
    ),
    "measure_speed": Step(
        outputs=files(Layout.variant, speed="speed.json"),
        settings={
            "base": Study.timed_against,
            "measurement": Study.speed,
            "samplings": Study.timed_samplings,
            **of_autoencoder("source", "revision"),
        },
        components=lambda study, variant: of_sampler(study, *study.timed_rows(variant)),
        rows=every_row,
        record="speed",
        takes_gpu=True,
        is_alone=True,
    ),
    "architecture_table": Step(
        outputs=table_files("architecture.csv", beside_paper=("architecture_paper.md",)),
        settings={"rows": rows, "paper": paper},
        is_optional=True,
    ),
    "tables": Step(
        outputs=table_files(
            *("table1.csv", "table1.md", "table2.csv", "study.json"),
            *("recommendation.md", "recommendation.json"),
            beside_paper=("paper.csv", "paper.md"),
        ),
        settings={"rows": rows, "paper": paper, **TABLE_BATCH_SIZE},
        options={"config": lambda study, _: study.config},
        record="study_json",
    ),
    "figures": Step(
        outputs=lambda study: {
            f"{name}_{kind}": study.layout.figure(f"{name}.{kind}")
            for name in FIGURES
            for kind in ("png", "svg")
        },
        settings={"rows": rows, **TABLE_BATCH_SIZE},
    ),
    "explore": Step(
        outputs=lambda study: {"page": study.layout.page("explore.html")},
        settings={"rows": rows, **TABLE_BATCH_SIZE},
    ),
}

# What the rules are made from, where it depends on the study or on a row.


def runs(name, variants=None):
    """A file of each seed of each variant."""
    variants = STUDY.variants if variants is None else variants
    return [LAYOUT.run(name, each, seed) for each in variants for seed in STUDY.seeds]


def variants(name):
    return [LAYOUT.variant(name, each) for each in STUDY.variants]


def reference_quality():
    """Of real images, in a study that has some."""
    return [output_of("evaluate_reference")["quality"]] if STUDY.has_images else []


def cut_images(wildcards):
    """The image folder, where the study makes it itself; a user's folder is only read.

    What it holds is in a file beside, by digest: the time stamp of a folder says nothing.
    """
    if not STEPS["cut_photos"].needed(STUDY):
        return {}
    files = output_of("cut_photos")
    return {"images": ancient(files["images"]), "cut": files["cut"]}


def trained_autoencoder(wildcards):
    """The autoencoder's files, where they are the study's or lie in a folder."""
    if not AUTOENCODER["train"] and not Path(AUTOENCODER["source"]).is_dir():
        return {}
    files = output_of("train_autoencoder")
    return {"weights": files["weights"], "model_config": files["model_config"]}


def extractor_graph(wildcards):
    """The frozen graph, where the extractor is one; the user's own is checked before any job."""
    if not GRAPH:
        return {}
    if not config["inception_graph_url"]:
        check_own_graph()
    return {"graph": GRAPH}


@functools.cache
def check_own_graph():
    try:
        check_graph(GRAPH, EXTRACTOR.get("md5", GRAPH_MD5))
    except InputError as error:
        raise WorkflowError(f"config: extractors: {error}") from None


def weights_of(variant, seed):
    """Of this row, or of the one that it samples otherwise."""
    return LAYOUT.run("checkpoint.safetensors", STUDY.weights_row(variant), seed)


def seed_of(wildcards):
    """That of the job; the first one of a job for all seeds, which one run stands for."""
    return wildcards.get("seed", STUDY.seeds[0])


def own_weights(wildcards):
    return weights_of(wildcards.variant, seed_of(wildcards))


def parent_weights(wildcards):
    return weights_of(STUDY.block(wildcards.variant)["from"], seed_of(wildcards))


def first_weights(wildcards):
    """What a training begins with, where that is a parent's weights."""
    is_further = wildcards.variant in STUDY.trained_on
    return {"parent": parent_weights(wildcards)} if is_further else {}


def pretrained_files(wildcards):
    """Of a row's published checkpoint, where they lie here or a step of the study writes them."""
    source = STUDY.source(wildcards.variant)["source"]
    if Path(source).exists():
        return {"files": local_files(source)}
    return {"files": files_to_come(source)} if LAYOUT.root in Path(source).parents else {}


def download_checkpoints(jobs):
    """From the hub, of those jobs that import one from there."""
    for job in jobs:
        if job.step == "import_checkpoint" and not pretrained_files(job):
            source = STUDY.source(job.variant)
            key = f"variants.{job.variant}.pretrained"
            source_files(source["source"], source["revision"], key)


def teacher_checkpoint(wildcards):
    teacher = STUDY.teacher(wildcards.variant)
    return {"teacher": weights_of(teacher, wildcards.seed)} if teacher else {}


def guide_weights(wildcards):
    """Of the model that guides the row's sampling, if one does."""
    guide = STUDY.guide(wildcards.variant)
    return {"guide": weights_of(guide, seed_of(wildcards))} if guide else {}


def calibrated_cache(wildcards):
    """Of the row's sampling, where it is one that its model tells."""
    is_calibrated = STUDY.calibrates_cache(wildcards.variant)
    return {"cache": LAYOUT.variant("cache.json", wildcards.variant)} if is_calibrated else {}


def timed_beside(wildcards):
    """The guides and the calibrated caches of the row and of what it is timed against."""
    found = {}
    for row, prefix in zip(STUDY.timed_rows(wildcards.variant), ("", "base_"), strict=False):
        if guide := STUDY.guide(row):
            found[f"{prefix}guide"] = weights_of(guide, STUDY.seeds[0])
        if STUDY.calibrates_cache(row):
            found[f"{prefix}cache"] = LAYOUT.variant("cache.json", row)
    return found


def held_out_loss_of_weights(wildcards):
    return LAYOUT.run("held_out_loss.json", STUDY.weights_row(wildcards.variant), wildcards.seed)


def calibration_latents(wildcards):
    """Training latents, where the row's compressions measure the loss on them."""
    if not STUDY.calibrates(wildcards.variant):
        return {}
    # What the array holds is in its manifest, by digest.
    files = output_of("encode_latents")
    return {"latents": ancient(files["latents"]), "latents_manifest": files["manifest"]}


def measured_layers(wildcards):
    """Of the row's weights, where a measurement says which of its layers are quantized."""
    row = STUDY.weights_row(wildcards.variant)
    is_measured = STUDY.is_measured(row)
    return {"sensitivity": LAYOUT.variant("sensitivity.json", row)} if is_measured else {}


def base_checkpoint(wildcards):
    """Of the variant that this one's latency is compared with, if there is one."""
    base = STUDY.timed_against(wildcards.variant)
    return {"base_checkpoint": weights_of(base, STUDY.seeds[0])} if base else {}


def shards(wildcards):
    wanted = len(gather.samples("{scatteritem}"))
    try:
        names = shard_names(STUDY, wildcards.variant, wildcards.seed, wanted)
    except InputError as error:
        raise WorkflowError(str(error)) from None
    jobs = [Job(STUDY, "sample_shard", wildcards.variant, wildcards.seed, part) for part in names]
    return {
        name: [job.outputs[output] for job in jobs]
        for name, output in (("shards", "images"), ("shard_reports", "report"))
        if jobs
    }

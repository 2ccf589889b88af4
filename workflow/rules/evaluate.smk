# Checkpoints to samples, quality, cost and speed.


rule calibrate_cache:
    input:
        unpack(guide_weights),
        checkpoint=own_weights,
    output:
        **output_of("calibrate_cache"),
    log:
        log_of("calibrate_cache"),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("calibrate_cache")
    resources:
        **resources_of("calibrate_cache", mem_mb=4000),
    params:
        **params_of("calibrate_cache"),
        variant="{variant}",
    message:
        "Finding the steps at which {wildcards.variant} changes little"
    script:
        "../scripts/calibrate_cache.py"


if STEPS["fetch_inception_graph"].needed(STUDY):

    rule fetch_inception_graph:
        output:
            **output_of("fetch_inception_graph"),
        log:
            log_of("fetch_inception_graph"),
        localrule: True  # nodes may have no network
        conda:
            "../../envs/inception.yaml"
        threads: threads_of("fetch_inception_graph")
        resources:
            **resources_of("fetch_inception_graph", mem_mb=500),
        params:
            **params_of("fetch_inception_graph"),
        message:
            "Downloading the Inception graph"
        script:
            "../scripts/fetch_inception_graph.py"


rule sample_shard:
    input:
        unpack(trained_autoencoder),
        unpack(guide_weights),
        unpack(calibrated_cache),
        checkpoint=own_weights,
        latents_manifest=LAYOUT.data("latents.json"),
    output:
        **{name: temp(path) for name, path in output_of("sample_shard").items()},
    log:
        log_of("sample_shard"),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("sample_shard")
    resources:
        **resources_of("sample_shard", mem_mb=4000),
    params:
        **run_params("sample_shard"),
        shard="{scatteritem}",
    message:
        "Sampling {wildcards.variant}, seed {wildcards.seed}, part {wildcards.scatteritem}"
    script:
        "../scripts/sample_shard.py"


rule sample:
    input:
        unpack(trained_autoencoder),
        unpack(shards),
        unpack(guide_weights),
        unpack(calibrated_cache),
        checkpoint=own_weights,
        latents_manifest=LAYOUT.data("latents.json"),
    output:
        **output_of("sample"),
    log:
        log_of("sample"),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("sample")
    resources:
        **resources_of("sample", mem_mb=4000),
    params:
        **run_params("sample"),
    message:
        "Sampling {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/sample.py"


rule held_out_loss:
    input:
        checkpoint=LAYOUT.run("checkpoint.safetensors"),
        # What the array holds is in its manifest, by digest.
        held_out_latents=ancient(LAYOUT.data("held_out_latents.npy")),
        latents_manifest=LAYOUT.data("latents.json"),
    output:
        **output_of("held_out_loss"),
    log:
        log_of("held_out_loss"),
    wildcard_constraints:
        variant=one_of(STUDY.with_weights),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("held_out_loss")
    resources:
        **resources_of("held_out_loss", mem_mb=4000),
    params:
        **run_params("held_out_loss"),
    message:
        "Measuring the held-out loss of {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/held_out_loss.py"


rule evaluate:
    input:
        unpack(extractor_graph),
        loss=held_out_loss_of_weights,
        # What the array holds is in the JSON file, by digest.
        samples=ancient(LAYOUT.run("samples.npz")),
        samples_json=LAYOUT.run("samples.json"),
        reference_features=LAYOUT.data("reference-features.npz"),
    output:
        **output_of("evaluate"),
    log:
        log_of("evaluate"),
    wildcard_constraints:
        variant=one_of(STEPS["evaluate"].rows(STUDY)),
    conda:
        EXTRACTOR_ENV
    threads: threads_of("evaluate")
    resources:
        **resources_of("evaluate", mem_mb=4000),
    params:
        **run_params("evaluate"),
    message:
        "Evaluating {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate.py"


rule evaluate_reference:
    input:
        unpack(extractor_graph),
        reference_features=LAYOUT.data("reference-features.npz"),
    output:
        **output_of("evaluate_reference"),
    log:
        log_of("evaluate_reference"),
    conda:
        EXTRACTOR_ENV
    threads: threads_of("evaluate_reference")
    resources:
        **resources_of("evaluate_reference", mem_mb=4000),
    params:
        **params_of("evaluate_reference"),
    message:
        "Evaluating real images, and real images through the autoencoder"
    script:
        "../scripts/evaluate_reference.py"


rule count_cost:
    input:
        unpack(calibrated_cache),
        unpack(measured_layers),
    output:
        **output_of("count_cost"),
    log:
        log_of("count_cost"),
    localrule: True
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("count_cost")
    resources:
        **resources_of("count_cost", mem_mb=2000),
    params:
        **params_of("count_cost"),
        variant="{variant}",
    message:
        "Counting the cost of {wildcards.variant}"
    script:
        "../scripts/count_cost.py"


rule measure_speed:
    input:
        unpack(trained_autoencoder),
        unpack(base_checkpoint),
        unpack(timed_beside),
        checkpoint=own_weights,
    output:
        **output_of("measure_speed"),
    log:
        log_of("measure_speed"),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("measure_speed")
    resources:
        **resources_of("measure_speed", mem_mb=4000),
    params:
        **params_of("measure_speed"),
        variant="{variant}",
    message:
        "Measuring the speed of {wildcards.variant}, alone on the machine"
    script:
        "../scripts/measure_speed.py"

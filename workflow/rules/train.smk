# Latents to trained variants, published checkpoints to rows, and these to compressed ones.


rule train:
    input:
        unpack(first_weights),
        unpack(teacher_checkpoint),
        # What the array holds is in its manifest, by digest.
        latents=ancient(LAYOUT.data("latents.npy")),
        latents_manifest=LAYOUT.data("latents.json"),
    output:
        **output_of("train"),
    log:
        log_of("train"),
    wildcard_constraints:
        variant=one_of(STUDY.trained),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("train")
    resources:
        **resources_of("train", mem_mb=6000),
    params:
        **run_params("train"),
        events=LAYOUT.tensorboard("{variant}-seed-{seed}"),
    message:
        "Training {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/train.py"


rule import_checkpoint:
    input:
        unpack(pretrained_files),
    output:
        **output_of("import_checkpoint"),
    log:
        log_of("import_checkpoint"),
    wildcard_constraints:
        variant=one_of(STUDY.pretrained),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("import_checkpoint")
    resources:
        **resources_of("import_checkpoint", mem_mb=12000),
    params:
        **run_params("import_checkpoint"),
    message:
        "Importing the published checkpoint of {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/import_checkpoint.py"


rule export_checkpoint:
    input:
        checkpoint=LAYOUT.run("checkpoint.safetensors"),
    output:
        **output_of("export_checkpoint"),
    log:
        log_of("export_checkpoint"),
    wildcard_constraints:
        variant=one_of(STUDY.with_weights),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("export_checkpoint")
    resources:
        **resources_of("export_checkpoint", mem_mb=12000),
    params:
        **run_params("export_checkpoint"),
    message:
        "Exporting {wildcards.variant}, seed {wildcards.seed}, as diffusers saves a model"
    script:
        "../scripts/export_checkpoint.py"


rule measure_sensitivity:
    input:
        parent=parent_weights,
        # What the array holds is in its manifest, by digest.
        latents=ancient(LAYOUT.data("latents.npy")),
        latents_manifest=LAYOUT.data("latents.json"),
    output:
        **output_of("measure_sensitivity"),
    log:
        log_of("measure_sensitivity"),
    wildcard_constraints:
        variant=one_of(STEPS["measure_sensitivity"].rows(STUDY)),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("measure_sensitivity")
    resources:
        **resources_of("measure_sensitivity", mem_mb=4000),
    params:
        **params_of("measure_sensitivity"),
        variant="{variant}",
    message:
        "Finding the layers of {wildcards.variant} that quantization changes most"
    script:
        "../scripts/measure_sensitivity.py"


rule compress:
    input:
        unpack(calibration_latents),
        unpack(measured_layers),
        parent=parent_weights,
    output:
        **output_of("compress"),
    log:
        log_of("compress"),
    wildcard_constraints:
        variant=one_of(STUDY.compressed),
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("compress")
    resources:
        **resources_of("compress", mem_mb=4000),
    params:
        **run_params("compress"),
    message:
        "Compressing to {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/compress.py"

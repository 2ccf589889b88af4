# Latents to trained variants, and trained variants to compressed ones.


rule train:
    input:
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


rule compress:
    input:
        unpack(calibration_latents),
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

# Latents to trained variants, and trained variants to compressed ones.


rule train:
    input:
        unpack(teacher_checkpoint),
        # What the array holds is in its manifest, by digest.
        latents=ancient("results/{study}/data/latents.npy"),
        latents_manifest="results/{study}/data/latents.json",
    output:
        checkpoint="results/{study}/variants/{variant}/seed-{seed}/checkpoint.safetensors",
        losses="results/{study}/variants/{variant}/seed-{seed}/losses.csv",
        report="results/{study}/variants/{variant}/seed-{seed}/training.json",
    log:
        "results/{study}/logs/train/{variant}-seed-{seed}.log",
    wildcard_constraints:
        variant=one_of(STUDY.trained),
    conda:
        "../../envs/slimdit.yaml"
    threads: all_cores()
    resources:
        gpu=1,
        mem_mb=6000,
    params:
        variant="{variant}",
        seed=wildcard_seed,
        structure=structure,
        training=training,
        save_every_steps=save_every_steps,
        micro_batch_size=micro_batch_size,
        distill=distill,
        state="results/{study}/state/train/{variant}-seed-{seed}",
        events="results/{study}/tensorboard/{variant}-seed-{seed}",
        code=train_code,
    message:
        "Training {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/train.py"


rule compress:
    input:
        parent=parent_checkpoint,
    output:
        checkpoint="results/{study}/variants/{variant}/seed-{seed}/checkpoint.safetensors",
    log:
        "results/{study}/logs/compress/{variant}-seed-{seed}.log",
    wildcard_constraints:
        variant=one_of(STUDY.derived),
    localrule: True
    conda:
        "../../envs/slimdit.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        variant="{variant}",
        seed=wildcard_seed,
        operations=own_operations,
        code=compress_code,
    message:
        "Compressing to {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/compress.py"

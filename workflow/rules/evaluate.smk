# Checkpoints to samples, quality, cost and speed.


rule sample_shard:
    input:
        unpack(trained_autoencoder),
        checkpoint="results/{study}/variants/{variant}/seed-{seed}/checkpoint.safetensors",
        latents_manifest="results/{study}/data/latents.json",
    output:
        images=temp("results/{study}/state/sample/{variant}-seed-{seed}/{scatteritem}.npy"),
        report=temp("results/{study}/state/sample/{variant}-seed-{seed}/{scatteritem}.json"),
    log:
        "results/{study}/logs/sample/{variant}-seed-{seed}-{scatteritem}.log",
    conda:
        "../../envs/slimdit.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=4000,
    params:
        variant="{variant}",
        seed=wildcard_seed,
        sampling=sampling,
        num_timesteps=num_timesteps,
        source=AUTOENCODER["source"],
        revision=AUTOENCODER["revision"],
        shard="{scatteritem}",
        state="results/{study}/state/sample/{variant}-seed-{seed}/{scatteritem}",
        code=shard_code,
    message:
        "Sampling {wildcards.variant}, seed {wildcards.seed}, part {wildcards.scatteritem}"
    script:
        "../scripts/sample_shard.py"


rule sample:
    input:
        unpack(trained_autoencoder),
        unpack(shards),
        checkpoint="results/{study}/variants/{variant}/seed-{seed}/checkpoint.safetensors",
        latents_manifest="results/{study}/data/latents.json",
    output:
        samples="results/{study}/variants/{variant}/seed-{seed}/samples.npz",
        prompts="results/{study}/variants/{variant}/seed-{seed}/prompts.npz",
        grid="results/{study}/variants/{variant}/seed-{seed}/grid.png",
        report="results/{study}/variants/{variant}/seed-{seed}/samples.json",
    log:
        "results/{study}/logs/sample/{variant}-seed-{seed}.log",
    conda:
        "../../envs/slimdit.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=4000,
    params:
        variant="{variant}",
        seed=wildcard_seed,
        sampling=sampling,
        num_timesteps=num_timesteps,
        source=AUTOENCODER["source"],
        revision=AUTOENCODER["revision"],
        state="results/{study}/state/sample/{variant}-seed-{seed}",
        code=sample_code,
    message:
        "Sampling {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/sample.py"


rule evaluate:
    input:
        unpack(extractor_graph),
        # What the array holds is in the JSON file, by digest.
        samples=ancient("results/{study}/variants/{variant}/seed-{seed}/samples.npz"),
        samples_json="results/{study}/variants/{variant}/seed-{seed}/samples.json",
        reference_features="results/{study}/data/reference-features.npz",
    output:
        quality="results/{study}/variants/{variant}/seed-{seed}/quality.json",
        features="results/{study}/variants/{variant}/seed-{seed}/features.npz",
    log:
        "results/{study}/logs/evaluate/{variant}-seed-{seed}.log",
    conda:
        EXTRACTOR_ENV
    threads: 1
    resources:
        mem_mb=4000,
    params:
        variant="{variant}",
        seed=wildcard_seed,
        evaluation=EVALUATION,
        state="results/{study}/state/evaluate/{variant}-seed-{seed}",
        code=code_of("evaluate", extractor=EXTRACTOR),
    message:
        "Evaluating {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate.py"


rule compare:
    input:
        features="results/{study}/variants/{variant}/seed-{seed}/features.npz",
        parent_features=parent_features,
        reference_features="results/{study}/data/reference-features.npz",
    output:
        difference="results/{study}/variants/{variant}/seed-{seed}/difference.json",
    log:
        "results/{study}/logs/compare/{variant}-seed-{seed}.log",
    wildcard_constraints:
        variant=one_of(STUDY.compared),
    conda:
        "../../envs/slimdit.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        variant="{variant}",
        parent=parent,
        seed=wildcard_seed,
        groups_seed=STUDY.evaluation["seed"],
        code=code_of("compare"),
    message:
        "Comparing {wildcards.variant} with its parent, seed {wildcards.seed}"
    script:
        "../scripts/compare.py"


rule count_cost:
    output:
        architecture="results/{study}/variants/{variant}/architecture.json",
    log:
        "results/{study}/logs/count_cost/{variant}.log",
    localrule: True
    conda:
        "../../envs/slimdit.yaml"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        variant="{variant}",
        structure=structure,
        operations=operations,
        code=count_code,
    message:
        "Counting the cost of {wildcards.variant}"
    script:
        "../scripts/count_cost.py"


rule measure_speed:
    input:
        unpack(base_checkpoint),
        checkpoint=first_checkpoint,
    output:
        speed="results/{study}/variants/{variant}/speed.json",
    log:
        "results/{study}/logs/measure_speed/{variant}.log",
    conda:
        "../../envs/slimdit.yaml"
    threads: all_cores()
    resources:
        gpu=1,
        mem_mb=4000,
    params:
        variant="{variant}",
        base=parent,
        measurement=measurement(),
        code=speed_code,
    message:
        "Measuring the speed of {wildcards.variant}, alone on the machine"
    script:
        "../scripts/measure_speed.py"

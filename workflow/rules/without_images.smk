# What takes the place of data.smk in a study of published checkpoints and published statistics.


rule describe_latents:
    output:
        **output_of("describe_latents"),
    log:
        log_of("describe_latents"),
    localrule: True
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("describe_latents")
    resources:
        **resources_of("describe_latents", mem_mb=2000),
    params:
        **params_of("describe_latents"),
    message:
        "Describing the latents that the checkpoints were trained on"
    script:
        "../scripts/describe_latents.py"


rule evaluate_by_statistics:
    input:
        unpack(extractor_graph),
        # What the array holds is in the JSON file, by digest.
        samples=ancient(LAYOUT.run("samples.npz")),
        samples_json=LAYOUT.run("samples.json"),
    output:
        **output_of("evaluate_by_statistics"),
    log:
        log_of("evaluate_by_statistics"),
    conda:
        EXTRACTOR_ENV
    threads: threads_of("evaluate_by_statistics")
    resources:
        **resources_of("evaluate_by_statistics", mem_mb=4000),
    params:
        **run_params("evaluate_by_statistics"),
    message:
        "Evaluating {wildcards.variant}, seed {wildcards.seed}, by a reference's statistics"
    script:
        "../scripts/evaluate_by_statistics.py"

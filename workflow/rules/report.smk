# JSON files to tables, figures and the report.


rule architecture_table:
    input:
        architecture=variants("architecture.json"),
    output:
        **shown(
            "architecture_table",
            "Tables",
            {"architecture_csv": "architecture", "architecture_paper_md": "paper"},
        ),
    log:
        log_of("architecture_table"),
    localrule: True
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("architecture_table")
    resources:
        **resources_of("architecture_table", mem_mb=500),
    params:
        **params_of("architecture_table"),
    message:
        "Writing the architecture table"
    script:
        "../scripts/architecture_table.py"


rule tables:
    input:
        architecture=variants("architecture.json"),
        speed=variants("speed.json"),
        quality=runs("quality.json"),
        reference_quality=reference_quality(),
        training=runs("training.json", STUDY.trained),
        autoencoder=[output_of("train_autoencoder")["report"]] if AUTOENCODER["train"] else [],
        # No table has them, the record of the study does.
        record_only=[LAYOUT.data("latents.json"), *runs("samples.json")],
    output:
        **shown(
            "tables",
            "Tables",
            {
                "table1_csv": "table1",
                "table2_csv": "table2",
                "recommendation_md": "recommendation",
                "paper_csv": "paper",
                "paper_md": "paper",
            },
        ),
    log:
        log_of("tables"),
    localrule: True
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("tables")
    resources:
        **resources_of("tables", mem_mb=500),
    params:
        **params_of("tables"),
    message:
        "Writing the tables"
    script:
        "../scripts/tables.py"


rule figures:
    input:
        architecture=variants("architecture.json"),
        speed=variants("speed.json"),
        quality=runs("quality.json"),
        reference_quality=reference_quality(),
        training=runs("training.json", STUDY.trained),
        losses=runs("losses.csv", STUDY.trained),
        prompts=[LAYOUT.run("prompts.npz", row["variant"], STUDY.seeds[0]) for row in STUDY.rows()],
    output:
        **shown("figures", "Figures", {f"{name}_png": name for name in FIGURES}),
    log:
        log_of("figures"),
    localrule: True
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("figures")
    resources:
        **resources_of("figures", mem_mb=1000),
    params:
        **params_of("figures"),
    message:
        "Drawing the figures"
    script:
        "../scripts/figures.py"


rule explore:
    input:
        architecture=variants("architecture.json"),
        speed=variants("speed.json"),
        quality=runs("quality.json"),
        training=runs("training.json", STUDY.trained),
        prompts=[LAYOUT.run("prompts.npz", row["variant"], STUDY.seeds[0]) for row in STUDY.rows()],
    output:
        **shown("explore", "Tables", {"page": "explore"}),
    log:
        log_of("explore"),
    localrule: True
    conda:
        "../../envs/slimdit.yaml"
    threads: threads_of("explore")
    resources:
        **resources_of("explore", mem_mb=1000),
    params:
        **params_of("explore"),
    message:
        "Writing the page to explore"
    script:
        "../scripts/explore.py"

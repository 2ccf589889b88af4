# JSON files to tables, figures and the report.

ROWS = canonical(STUDY.rows())
FIGURES = ("samples", "differences", "losses", "pareto", "savings", "expert_load")


localrules:
    architecture_table,
    tables,
    figures,


rule architecture_table:
    input:
        architecture=variant_files("architecture.json"),
    output:
        **beside_paper("architecture_paper.md"),
        table=table_report("architecture.csv", "architecture"),
    log:
        f"results/{STUDY.name}/logs/architecture_table.log",
    conda:
        "../../envs/slimdit.yaml"
    threads: 1
    resources:
        mem_mb=500,
    params:
        rows=ROWS,
        paper=canonical(PAPER),
        code=code_of("architecture_table"),
    message:
        "Writing the architecture table"
    script:
        "../scripts/architecture_table.py"


rule tables:
    input:
        architecture=variant_files("architecture.json"),
        speed=variant_files("speed.json"),
        quality=run_files("quality.json", STUDY.variants),
        difference=run_files("difference.json", STUDY.compared),
        training=run_files("training.json", STUDY.trained),
        samples=run_files("samples.json", STUDY.variants),
        autoencoder=autoencoder_report(),
        # No table has it, the record of the study does.
        record_only=f"results/{STUDY.name}/data/latents.json",
    output:
        **beside_paper("paper.csv", "paper.md"),
        table1_csv=table_report("table1.csv", "table1"),
        table1_md=f"results/{STUDY.name}/tables/table1.md",
        table2_csv=table_report("table2.csv", "table2"),
        study_json=f"results/{STUDY.name}/tables/study.json",
    log:
        f"results/{STUDY.name}/logs/tables.log",
    conda:
        "../../envs/slimdit.yaml"
    threads: 1
    resources:
        mem_mb=500,
    params:
        rows=ROWS,
        paper=canonical(PAPER),
        speed_batch_size=config["speed"]["table_batch_size"],
        config=whole_config,
        code=code_of("tables"),
    message:
        "Writing the tables"
    script:
        "../scripts/tables.py"


rule figures:
    input:
        architecture=variant_files("architecture.json"),
        speed=variant_files("speed.json"),
        quality=run_files("quality.json", STUDY.variants),
        training=run_files("training.json", STUDY.trained),
        losses=run_files("losses.csv", STUDY.trained),
        prompts=expand(
            "results/{study}/variants/{variant}/seed-{seed}/prompts.npz",
            study=STUDY.name,
            variant=[row["variant"] for row in STUDY.rows()],
            seed=STUDY.seeds[0],
        ),
    output:
        **{f"{name}_png": figure_report(name) for name in FIGURES},
        **{f"{name}_svg": f"results/{STUDY.name}/figures/{name}.svg" for name in FIGURES},
    log:
        f"results/{STUDY.name}/logs/figures.log",
    conda:
        "../../envs/slimdit.yaml"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        rows=ROWS,
        speed_batch_size=config["speed"]["table_batch_size"],
        code=code_of("figures"),
    message:
        "Drawing the figures"
    script:
        "../scripts/figures.py"

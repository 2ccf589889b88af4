from snakemake.utils import min_version

min_version("9.25")


configfile: "config.yaml"


scattergather:
    samples=1,


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


onstart:
    if workflow.is_main_process and not workflow.touch:
        try:
            check_recognised()
            check_space(ours for _, ours in jobs_to_run())
            if workflow.local_exec:
                check_compiler(STUDY.compile_choices)
            if not AUTOENCODER["train"] and not Path(LAYOUT.data("latents.json")).exists():
                # Here, since the nodes of a cluster may have no network.
                autoencoder_folder(AUTOENCODER["source"], AUTOENCODER["revision"])
        except InputError as error:
            sys.exit(str(error))


onerror:
    if errors := error_summary(f"{LAYOUT.root}/logs"):
        print(f"Logs that end with an error:\n{errors}", file=sys.stderr)


rule all:
    default_target: True
    input:
        table1=LAYOUT.table("table1.csv"),
        figures=LAYOUT.figure("samples.png"),
    localrule: True

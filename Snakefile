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
    if not workflow.touch and (found := unrecognised()):
        sys.exit(found)


onerror:
    if errors := error_summary(f"{LAYOUT.root}/logs"):
        print(f"Logs that end with an error:\n{errors}", file=sys.stderr)


rule all:
    default_target: True
    input:
        table1=LAYOUT.table("table1.csv"),
        figures=LAYOUT.figure("samples.png"),
    localrule: True

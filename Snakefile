from snakemake.utils import min_version

min_version("9.25")


configfile: "config.yaml"


scattergather:
    samples=1,


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"


if STUDY.has_images:

    include: "workflow/rules/data.smk"

else:

    include: "workflow/rules/without_images.smk"


include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


onstart:
    if not workflow.touch:
        try:
            check_recognised()
            jobs = [ours for _, ours in jobs_to_run()]
            check_statistics(jobs)
            check_space(jobs)
            if workflow.local_exec and any(STEPS[job.step].compiles for job in jobs):
                check_compiler(STUDY.compile_choices)
            # Here, since the nodes of a cluster may have no network.
            if not AUTOENCODER["train"] and any("source" in job.settings for job in jobs):
                folder = autoencoder_folder(AUTOENCODER["source"], AUTOENCODER["revision"])
                check_autoencoder(folder, AUTOENCODER)
            download_checkpoints(jobs)
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
        explore=LAYOUT.page("explore.html"),
    localrule: True

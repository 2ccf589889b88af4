"""Draw the study's figures from its JSON files, loss curves and prompt images."""

from slimdit.core.canonical import fingerprint
from slimdit.reporting.figures.differences import draw_differences
from slimdit.reporting.figures.expert_load import draw_expert_load
from slimdit.reporting.figures.losses import draw_losses
from slimdit.reporting.figures.pareto import draw_pareto
from slimdit.reporting.figures.passes import draw_passes
from slimdit.reporting.figures.samples import draw_samples, read_prompts
from slimdit.reporting.figures.savings import draw_savings
from slimdit.reporting.figures.style import save, styled
from slimdit.reporting.results import read_study


def figures(
    architecture,
    speed,
    quality,
    reference_quality,
    training,
    losses,
    prompts,
    rows,
    speed_batch_size,
    recipe,
    **paths,
):
    """Inputs are lists of files: `losses` goes with `training`, one losses.csv per training.json;
    `prompts` with `rows`, one prompts.npz per row, all of one seed. `rows` are the table's
    rows; the recipe's digest is kept in the files' metadata. paths: <figure>_png and <figure>_svg
    of each figure."""
    files = {
        "architecture": architecture,
        "speed": speed,
        "quality": quality,
        "reference_quality": reference_quality,
        "training": training,
    }
    study = read_study(rows, speed_batch_size, **files)
    images, names = read_prompts(study, prompts)
    with styled("".join([*names, *study.table["group"]])):
        drawn = {
            "samples": draw_samples(study, images, names),
            "differences": draw_differences(study, images, names),
            "losses": draw_losses(study, training, losses),
            "pareto": draw_pareto(study),
            "passes": draw_passes(study),
            "savings": draw_savings(study),
            "expert_load": draw_expert_load(study),
        }
        for name, figure in drawn.items():
            save(figure, paths[f"{name}_png"], paths[f"{name}_svg"], fingerprint(recipe))


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        figures(**snakemake.input, **snakemake.params, **snakemake.output)

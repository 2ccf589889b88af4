"""Draw the study's figures from its JSON files, loss curves and prompt images."""

from slimdit.core.canonical import fingerprint
from slimdit.reporting.figures import study_figures as draw
from slimdit.reporting.figures.style import save, styled
from slimdit.reporting.results import read_rows, read_study


def figures(
    architecture,
    speed,
    quality,
    training,
    losses,
    prompts,
    rows,
    speed_batch_size,
    recipe,
    samples_png,
    samples_svg,
    differences_png,
    differences_svg,
    losses_png,
    losses_svg,
    pareto_png,
    pareto_svg,
    savings_png,
    savings_svg,
    expert_load_png,
    expert_load_svg,
):
    """Inputs are lists of files: `losses` goes with `training`, one losses.csv per training.json;
    `prompts` with `rows`, one prompts.npz per row, all of one seed. `rows` are the table's
    rows; the recipe's digest is kept in the files' metadata."""
    rows = read_rows(rows)
    study = read_study(
        rows,
        speed_batch_size,
        architecture=architecture,
        speed=speed,
        quality=quality,
        training=training,
    )
    images, names = draw.read_prompts(rows, prompts)
    made_by = fingerprint(recipe)
    with styled():
        save(draw.draw_samples(rows, images, names), samples_png, samples_svg, made_by)
        save(draw.draw_differences(rows, images, names), differences_png, differences_svg, made_by)
        save(draw.draw_losses(study, training, losses), losses_png, losses_svg, made_by)
        save(draw.draw_pareto(study), pareto_png, pareto_svg, made_by)
        save(draw.draw_savings(study), savings_png, savings_svg, made_by)
        save(draw.draw_expert_load(study), expert_load_png, expert_load_svg, made_by)


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        figures(**snakemake.input, **snakemake.params, **snakemake.output)

"""Write the page on which the rows of a study are compared by hand."""

from slimdit.core.canonical import fingerprint
from slimdit.reporting.explore.page import explore_page
from slimdit.reporting.figures.samples import read_prompts
from slimdit.reporting.recommendation.recommend import recommend
from slimdit.reporting.results import read_study
from slimdit.storage.files import write_text


def explore(
    architecture,
    speed,
    quality,
    training,
    prompts,
    rows: list[dict],
    speed_batch_size: int,
    recipe: dict,
    page,
):
    """Inputs are lists of files: `prompts` one prompts.npz for each of `rows`, the table's, all of
    one seed. page: the HTML file that is written."""
    files = {"architecture": architecture, "speed": speed, "quality": quality, "training": training}
    study = read_study(rows, speed_batch_size, **files)
    images, names = read_prompts(study, prompts)
    write_text(page, explore_page(study, recommend(study), images, names, fingerprint(recipe)))


if __name__ == "__main__":
    from slimdit.jobs.job import job

    with job(snakemake):
        explore(**snakemake.input, **snakemake.params, **snakemake.output)

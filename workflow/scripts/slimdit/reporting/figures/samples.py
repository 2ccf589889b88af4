"""Figure 3: every variant's images of the same prompts from the same noise."""

import itertools

import numpy as np
from matplotlib.figure import Figure

from slimdit.reporting.figures.style import (
    PAGE_WIDTH_INCH,
    SMALL_PT,
    page,
    row_positions,
    wrapped,
)
from slimdit.reporting.results import StudyResults
from slimdit.storage.files import load_npz

LABEL_INCH = 1.1
GROUP_INCH = 0.16  # from the left, middle of a group's name
LINE_INCH = 0.12
GROUP_GAP = 0.13  # of an image's height
CELL_MARGIN = 0.02  # of an image's side, white on every side

Images = dict[str, np.ndarray]  # (P, H, W, 3) uint8 of each variant, of P prompts


def draw_samples(study: StudyResults, images: Images, names: list[str]) -> Figure:
    groups = study.table["group"].items()
    return samples_figure([(group, variant, images[variant]) for variant, group in groups], names)


def read_prompts(study: StudyResults, paths: list[str]) -> tuple[Images, list[str]]:
    """Each variant's images, and the names of the prompts.

    paths: a prompts.npz for each row of the table.
    """
    files = [load_npz(path) for path in paths]
    images = (file["arr_0"] for file in files)
    return dict(zip(study.table.index, images, strict=True)), files[0]["names"].tolist()


def samples_figure(
    strips: list[tuple[str, str, np.ndarray]], names: list[str], bottom_inch: float = 0.02
) -> Figure:
    """One row of images per (group, label, images); columns are the prompts `names`.

    images: (P, H, W, 3) uint8, P = len(names), H = W. A little space separates groups;
    `bottom_inch` of space is left below.
    """
    groups, labels, images = zip(*strips, strict=True)
    picture, middles = _picture(images, row_positions(groups, GROUP_GAP))
    width_inch = PAGE_WIDTH_INCH - LABEL_INCH
    pixel_inch = width_inch / picture.shape[1]
    height_inch = picture.shape[0] * pixel_inch
    cell_inch = width_inch / len(names)
    headings = [wrapped(name, cell_inch) for name in names]
    top_inch = 0.1 + LINE_INCH * max(heading.count("\n") + 1 for heading in headings)
    figure = page(height_inch + bottom_inch + top_inch, layout="none")
    axes = axes_at(figure, LABEL_INCH, bottom_inch, width_inch, height_inch)
    axes.imshow(picture, interpolation="antialiased", aspect="auto")
    axes.set_frame_on(False)
    axes.set_xticks((np.arange(len(names)) + 0.5) * cell_inch / pixel_inch, headings)
    axes.set_yticks(middles, labels, linespacing=1.3)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    for group, rows in itertools.groupby(zip(groups, middles, strict=True), lambda row: row[0]):
        middles_of = [middle for _, middle in rows]
        axes.annotate(
            wrapped(group, len(middles_of) * cell_inch),
            (GROUP_INCH / PAGE_WIDTH_INCH, np.mean(middles_of)),
            xycoords=("figure fraction", "data"),
            rotation=90,
            ha="center",
            va="center",
            weight="bold",
            fontsize=SMALL_PT,
        )
    return figure


def axes_at(
    figure: Figure, left_inch: float, bottom_inch: float, width_inch: float, height_inch: float
):
    """Axes at a place of the figure that is given in inches."""
    size_inch = np.tile(figure.get_size_inches(), 2)
    return figure.add_axes(np.array([left_inch, bottom_inch, width_inch, height_inch]) / size_inch)


def _picture(images: list[np.ndarray], positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All images (P, H, W, 3) in one, a row of it for each, and where the rows' middles are."""
    margin = max(1, round(CELL_MARGIN * images[0].shape[1]))
    around = ((0, 0), (margin, margin), (margin, margin), (0, 0))
    rows = [np.concatenate(np.pad(each, around, constant_values=255), axis=1) for each in images]
    height, width, _ = rows[0].shape
    tops = np.round(height * positions).astype(int)
    picture = np.full((tops[-1] + height, width, 3), 255, np.uint8)
    for row, top in zip(rows, tops, strict=True):
        picture[top : top + height] = row
    return picture, tops + height / 2

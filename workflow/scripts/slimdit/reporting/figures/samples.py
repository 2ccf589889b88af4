"""Figure 3: every variant's images of the same prompts from the same noise."""

import itertools
import textwrap

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from slimdit.reporting.figures.style import PAGE_WIDTH_INCH, SMALL_PT, axes_at

LABEL_INCH = 1.1
GROUP_INCH = 0.32  # of LABEL_INCH, for the group's name
GROUP_GAP_INCH = 0.1
LINE_INCH = 0.12
CELL_MARGIN = 0.02  # of an image's side, white on every side


def samples_figure(
    strips: list[tuple[str, str, np.ndarray]],
    names: list[str],
    named_groups: bool = True,
    bottom_inch: float = 0.02,
) -> Figure:
    """One row of images per (group, label, images); columns are the prompts `names`.

    images: (P, H, W, 3) uint8, P = len(names). A little space separates groups; `bottom_inch` of
    space is left below.
    """
    cell_inch = (PAGE_WIDTH_INCH - LABEL_INCH) / max(len(names), 1)
    headings = [wrapped(name.replace("_", " "), cell_inch) for name in names]
    heading_inch = 0.08 + LINE_INCH * max(heading.count("\n") + 1 for heading in headings)
    groups = [list(members) for _, members in itertools.groupby(strips, lambda strip: strip[0])]
    gaps_inch = (len(groups) - 1) * GROUP_GAP_INCH
    height_inch = heading_inch + len(strips) * cell_inch + gaps_inch + bottom_inch
    figure = plt.figure(figsize=(PAGE_WIDTH_INCH, height_inch))

    def write(left_inch: float, up_inch: float, text: str, **style) -> None:
        style = {"fontsize": SMALL_PT, "linespacing": 1.3, **style}
        figure.text(left_inch / PAGE_WIDTH_INCH, up_inch / height_inch, text, **style)

    top_inch = height_inch - heading_inch
    for column, heading in enumerate(headings):
        centre_inch = LABEL_INCH + (column + 0.5) * cell_inch
        write(centre_inch, top_inch + 0.04, heading, ha="center", va="bottom", linespacing=1.1)
    for members in groups:
        if named_groups:
            span_inch = len(members) * cell_inch
            name = wrapped(members[0][0], span_inch)
            centred = {"ha": "center", "va": "center", "weight": "bold", "linespacing": 1.1}
            write(GROUP_INCH / 2, top_inch - span_inch / 2, name, rotation=90, **centred)
        for _, label, images in members:
            top_inch -= cell_inch
            middle_inch = top_inch + cell_inch / 2
            write(LABEL_INCH - 0.06, middle_inch, label, ha="right", va="center")
            _draw_row(figure, images, top_inch, cell_inch)
        top_inch -= GROUP_GAP_INCH
    return figure


def _draw_row(figure: Figure, images: np.ndarray, bottom_inch: float, cell_inch: float) -> None:
    """Images (P, H, W, 3) side by side in one picture, each with a white margin."""
    num_images, side, _, _ = images.shape
    margin = max(1, round(CELL_MARGIN * side))
    padded = np.pad(images, ((0, 0), *[(margin, margin)] * 2, (0, 0)), constant_values=255)
    axes = axes_at(figure, LABEL_INCH, bottom_inch, num_images * cell_inch, cell_inch)
    axes.imshow(np.concatenate(padded, axis=1), interpolation="antialiased", aspect="auto")
    axes.axis("off")


def wrapped(name: str, width_inch: float) -> str:
    """A name in lines that fit the width: hubble deep field -> hubble deep / field."""
    num_characters = max(6, int(width_inch / (0.6 * SMALL_PT / 72)))
    return textwrap.fill(name, num_characters, break_long_words=False)

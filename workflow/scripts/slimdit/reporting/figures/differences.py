"""Figure 4: where the images of a compressed variant deviate from its parent's."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from slimdit.reporting.figures.samples import LABEL_INCH, Images, axes_at, samples_figure
from slimdit.reporting.figures.style import SMALL_PT, message
from slimdit.reporting.results import StudyResults

MAGENTA = np.array([255.0, 0.0, 255.0])
LEVELS = np.array([0, 4, 16, 64, 128, 255])
SCALE_INCH = 0.6


def draw_differences(study: StudyResults, images: Images, names: list[str]) -> Figure:
    """Per parent a row of its images, then per variant made from it a row of its own and one of
    overlays on the parent's."""
    strips = []
    for parent, children in study.table.groupby("derived_from", sort=False):
        strips.append((parent, parent, images[parent]))
        for child in children.index:
            mean = np.abs(images[parent].astype(np.int16) - images[child]).mean()
            label = f"mean difference\n{mean:.3g} levels"
            strips.append((parent, child, images[child]))
            strips.append((parent, label, overlay(images[parent], images[child])))
    if not strips:
        return message("No variant of this study is made from another's weights.")
    figure = samples_figure(strips, names, bottom_inch=SCALE_INCH)
    _draw_scale(figure)
    return figure


def overlay(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """`images` in grey, magenta where `others` deviate; all (..., H, W, 3) uint8.

    The fraction of magenta is `magenta_fraction` of the largest deviation among the three channels:
    a pixel with none stays grey.
    """
    difference = np.abs(images.astype(np.int16) - others).max(axis=-1, keepdims=True)
    fraction = magenta_fraction(difference)
    grey = images @ np.array([0.299, 0.587, 0.114])
    mixed = (1 - fraction) * grey[..., None] + fraction * MAGENTA
    return np.round(mixed).astype(np.uint8)


def magenta_fraction(difference: np.ndarray) -> np.ndarray:
    """sqrt(d / 255) of a difference d in 0..255 levels, so that small ones can be seen as well."""
    return np.sqrt(difference / 255)


def _draw_scale(figure: Figure) -> None:
    colours = LinearSegmentedColormap.from_list("differences", ["#808080", "#FF00FF"])
    axes = axes_at(figure, LABEL_INCH + 0.02, SCALE_INCH - 0.22, 2.4, 0.09)
    bar = figure.colorbar(ScalarMappable(cmap=colours), cax=axes, orientation="horizontal")
    bar.set_ticks(magenta_fraction(LEVELS), labels=map(str, LEVELS), fontsize=SMALL_PT)
    bar.outline.set_linewidth(0.4)
    meaning = "largest difference of a pixel's three channels, of 255 levels (square-root scale)"
    bar.set_label(meaning, fontsize=SMALL_PT, loc="left")

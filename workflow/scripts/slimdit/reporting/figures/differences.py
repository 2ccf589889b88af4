"""Figure 4: where the images of a compressed variant deviate from its parent's."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from slimdit.reporting.figures.samples import LABEL_INCH, samples_figure
from slimdit.reporting.figures.style import PAGE_WIDTH_INCH, SMALL_PT, axes_at

MAGENTA = np.array([255.0, 0.0, 255.0])
SCALE_INCH = 0.5


def overlay(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """`images` in grey, magenta where `others` deviate; all (..., H, W, 3) uint8.

    The fraction of magenta is `magenta_fraction` of the largest deviation among the three channels:
    a pixel with none stays grey.
    """
    difference = np.abs(images.astype(np.int16) - others).max(axis=-1, keepdims=True)
    fraction = magenta_fraction(difference)
    grey = images @ np.array([0.299, 0.587, 0.114])
    mixed = (1 - fraction) * np.repeat(grey[..., None], 3, axis=-1) + fraction * MAGENTA
    return np.round(mixed).astype(np.uint8)


def magenta_fraction(difference: np.ndarray) -> np.ndarray:
    """sqrt(d / 255) of a difference d in 0..255 levels, so that small ones can be seen as well."""
    return np.sqrt(difference / 255)


def differences_figure(
    pairs: list[tuple[str, np.ndarray, list[tuple[str, np.ndarray]]]], names: list[str]
) -> Figure:
    """Per (label, images, [(child's label, child's images), ...]): a row of the parent's images,
    then per child a row of its own and one of overlays on the parent's; images (P, H, W, 3) uint8,
    P = len(names)."""
    strips = []
    for parent, images, children in pairs:
        strips.append((parent, parent, images))
        for child, others in children:
            mean = np.abs(images.astype(np.int16) - others).mean()
            digits = f"{mean:.2g}" if mean < 99 else f"{mean:.0f}"
            label = f"difference\nmean {digits} levels"
            strips += [(parent, child, others), (parent, label, overlay(images, others))]
    figure = samples_figure(strips, names, named_groups=False, bottom_inch=SCALE_INCH)
    _draw_scale(figure)
    return figure


def _draw_scale(figure: Figure) -> None:
    height_inch = figure.get_size_inches()[1]
    fraction = np.linspace(0, 1, 256)[:, None]
    colours = ListedColormap(((1 - fraction) * 127.5 + fraction * MAGENTA) / 255)
    axes = axes_at(figure, LABEL_INCH + 0.02, 0.27, 2.4, 0.09)
    scale = plt.cm.ScalarMappable(plt.Normalize(0, 1), colours)
    levels = np.array([0, 4, 16, 64, 128, 255])
    bar = figure.colorbar(scale, cax=axes, orientation="horizontal")
    bar.set_ticks(magenta_fraction(levels), labels=map(str, levels), fontsize=SMALL_PT)
    bar.ax.minorticks_off()
    bar.outline.set_linewidth(0.4)
    figure.text(
        (LABEL_INCH + 2.55) / PAGE_WIDTH_INCH,
        0.24 / height_inch,
        "largest difference of a pixel's three channels,\nof 255 levels (square-root scale)",
        va="center",
        fontsize=SMALL_PT,
    )

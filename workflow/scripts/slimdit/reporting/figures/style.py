"""How every figure looks, and how it is written: equal inputs give equal bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from slimdit.storage.files import atomic_path

PAGE_WIDTH_INCH = 7.0
SMALL_PT = 7
DOTS_PER_INCH = 200

# Okabe and Ito's colours, without the yellow that is too pale for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#777777"

SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
    "legend.fontsize": SMALL_PT,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    "figure.dpi": 100,
    "svg.hashsalt": "slimdit",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the project's style; figures left open are closed."""
    with plt.rc_context({**matplotlib.rcParamsDefault, **SETTINGS, "backend": "Agg"}):
        try:
            yield
        finally:
            plt.close("all")


def save(figure: Figure, png: str | Path, svg: str | Path, source: str) -> None:
    """Write both files, without dates; `source` goes into their metadata."""
    description = f"slimdit {source}"
    metadata = {"png": {"Software": None, "Source": description}, "svg": {"Date": None}}
    metadata["svg"] |= {"Creator": None, "Source": description}
    for path, kind in ((png, "png"), (svg, "svg")):
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=DOTS_PER_INCH, metadata=metadata[kind])


def grid_of_panels(
    shape: tuple[int, int],
    height_inch: float,
    bottom_inch: float,
    top_inch: float,
    sharex: bool = False,
    **grid: object,
) -> tuple[Figure, np.ndarray]:
    """A figure as wide as the page, and its panels (rows, columns) between the margins.

    grid: of matplotlib's GridSpec, left and right as fractions of the width.
    """
    grid |= {"bottom": bottom_inch / height_inch, "top": 1 - top_inch / height_inch}
    size = (PAGE_WIDTH_INCH, height_inch)
    return plt.subplots(*shape, squeeze=False, sharex=sharex, figsize=size, gridspec_kw=grid)


def axes_at(
    figure: Figure, left_inch: float, bottom_inch: float, width_inch: float, height_inch: float
):
    """Axes at a place of the figure that is given in inches."""
    total_inch, up_inch = figure.get_size_inches()
    place = (left_inch / total_inch, bottom_inch / up_inch)
    return figure.add_axes((*place, width_inch / total_inch, height_inch / up_inch))


def message(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = plt.figure(figsize=(PAGE_WIDTH_INCH, 1.0))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def line_style(index: int) -> dict:
    """Colour and dashes of line `index`: 28 that can be told apart."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": LINES[index // len(COLOURS) % len(LINES)],
    }


def point_style(index: int) -> dict:
    """Colour and marker of group `index`."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def logarithmic(axis, low: float, high: float) -> None:
    """Make the axis logarithmic, with plain numbers at about as many ticks whatever its range."""
    subs = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if high < 5 * low else (1, 2, 3, 5)
    if high > 30 * low:
        subs = (1,) if high > 1000 * low else (1, 3)
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(plt.LogLocator(subs=subs, numticks=50))
    axis.set_minor_locator(plt.NullLocator())
    axis.set_major_formatter(plt.FuncFormatter(lambda value, _: f"{value:g}"))

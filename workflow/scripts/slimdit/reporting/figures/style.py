"""How every figure looks, and how it is written: equal inputs give equal bytes. All are dark on
opaque white, so that they are read on a dark page as on a light one."""

import contextlib
import itertools
import logging
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib import cycler
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from slimdit.storage.files import atomic_path

PAGE_WIDTH_INCH = 7.0
SMALL_PT = 7

# Okabe and Ito's colours, without the yellow that is too pale for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#777777"
# 28 that can be told apart.
LINE_STYLES = cycler(linestyle=("-", "--", ":", "-.")) * cycler(color=COLOURS)


class Marker(NamedTuple):
    """A shape of points, as Matplotlib and Bokeh call it, and the letter that looks like it."""

    matplotlib: str
    bokeh: str
    letter: str


MARKERS = (
    Marker("o", "circle", "●"),
    Marker("s", "square", "■"),
    Marker("^", "triangle", "▲"),
    Marker("D", "diamond", "◆"),
    Marker("v", "inverted_triangle", "▼"),
    Marker("P", "plus", "✚"),
    Marker("h", "hex", "⬢"),
    Marker("*", "star", "★"),
)

WORD_ENDS = re.compile(r"(\s+|(?<=[\w-][_-])(?=\w))")
log = logging.getLogger(__name__)
FONT = "DejaVu Sans"
BOXES = ("Last Resort", "LastResort", ".LastResort")  # fonts that have a box for every letter
SETTINGS = {
    "font.family": FONT,
    "text.parse_math": False,  # a $ in a name is a $
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
    "legend.fontsize": SMALL_PT,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "figure.facecolor": "white",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    "savefig.dpi": 200,
    "svg.hashsalt": "slimdit",
}


def group_styles(groups: Iterable[str]) -> dict[str, tuple[str, Marker]]:
    """By group, in order, the colour and the shape of its points; 56 that can be told apart."""
    styles = zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False)
    return dict(zip(dict.fromkeys(groups), styles, strict=False))


@contextlib.contextmanager
def styled(letters: str = "") -> Iterator[None]:
    """Within it, figures are in the project's style, in fonts that have these letters."""
    settings = {**SETTINGS, "font.family": fonts_with(letters)} if letters else SETTINGS
    with (
        matplotlib.rc_context({**matplotlib.rcParamsDefault, **settings, "backend": "Agg"}),
        warnings.catch_warnings(),
    ):
        if letters:  # what is missing has been told
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def fonts_with(letters: str) -> list[str]:
    """The project's font, and for what it lacks the first others that are installed; one sentence
    in the log tells of letters that none has."""
    fonts, missing = [FONT], {letter for letter in letters if not letter.isspace()}
    missing -= _letters_of(fontManager.findfont(FONT))
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        if missing and not font.name.startswith(BOXES):
            with contextlib.suppress(OSError, RuntimeError):  # it was there when fonts were listed
                found = missing & _letters_of(font.fname, font.index)
                fonts += [font.name] if found else []
                missing -= found
    if missing:
        log.warning(
            "No font of this machine has the letters %s: figures show boxes in their place; "
            "install a font that has them, such as Noto Sans CJK for Chinese.",
            " ".join(sorted(missing)),
        )
    return fonts


def _letters_of(path: str, index: int = 0) -> set[str]:
    return set(map(chr, FT2Font(path, face_index=index).get_charmap()))


def save(figure: Figure, png: str | Path, svg: str | Path, source: str) -> None:
    """Write both files, without dates; `source` goes into their metadata."""
    without = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    for path, kind in ((png, "png"), (svg, "svg")):
        metadata = without[kind] | {"Source": f"slimdit {source}"}
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=kind, metadata=metadata)


def page(height_inch: float, layout: str = "constrained") -> Figure:
    """An empty figure as wide as the page; layout: of its panels, "none" where axes are placed."""
    return Figure(figsize=(PAGE_WIDTH_INCH, height_inch), layout=layout)


def message(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = page(1.0, layout="none")
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def row_positions(groups: Sequence[str], gap: float) -> np.ndarray:
    """Of rows in order, in heights of one row: `gap` more where the group changes."""
    changes = [before != after for before, after in itertools.pairwise(groups)]
    return np.arange(len(groups)) + gap * np.cumsum([False, *changes])


def wrapped(name: str, width_inch: float) -> str:
    """A name in lines that fit the width: hubble_deep_field -> hubble_deep_ / field."""
    num_characters = max(6, int(width_inch / (0.6 * SMALL_PT / 72)))
    wrapper = textwrap.TextWrapper(num_characters, break_long_words=False)
    wrapper.wordsep_re = WORD_ENDS
    return wrapper.fill(name)


def logarithmic(axis, low: float, high: float) -> None:
    """Make the axis logarithmic, with plain numbers at about as many ticks whatever its range."""
    subs = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if high < 5 * low else (1, 2, 3, 5)
    if high > 30 * low:
        subs = (1,) if high > 1000 * low else (1, 3)
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=subs, numticks=50))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))

"""Times, tables and values as people read them on a terminal."""

import re
from collections.abc import Sequence

MARKUP = re.compile(r"[\\`*_\[\]<>|~$&#^]")
LONGEST_SHOWN = 60  # characters of a value


def duration(seconds: float) -> str:
    """Two units at most: 45 s, 12 min, 6 h 17 min, 3 d 4 h."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns of equal width, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def in_markdown(text: str) -> str:
    """A line that Markdown shows as the text is written, in a cell of a table too."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def shortened(value) -> str:
    """A value as Python writes it, or as much of it as fits a line."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."

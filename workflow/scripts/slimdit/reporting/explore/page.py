"""One page of a study, for a browser without a network: any cost against any quality, the rows'
samples, and the Pareto front of the families that are chosen."""

import html
import re
from collections.abc import Iterable
from importlib.resources import files

import numpy as np
from bokeh.document import Document
from bokeh.embed import components
from bokeh.events import DocumentReady
from bokeh.layouts import column, row
from bokeh.models import (
    BoxAnnotation,
    CheckboxGroup,
    ColumnDataSource,
    CustomJS,
    Div,
    HoverTool,
    LabelSet,
    Select,
)
from bokeh.models.ui import UIElement
from bokeh.plotting import figure
from bokeh.resources import Resources

from slimdit.reporting.columns import LOWER
from slimdit.reporting.explore.axes import PageAxis, cost_axes, quality_axes
from slimdit.reporting.explore.strips import strips
from slimdit.reporting.figures.samples import Images
from slimdit.reporting.figures.style import COLOURS, GREY, group_styles
from slimdit.reporting.recommendation.recommend import Recommendation
from slimdit.reporting.recommendation.text import advice, numbers_of
from slimdit.reporting.results import StudyResults

UNIQUE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
HEIGHT_PIXELS = 480
BLACK, WHITE, INK = "#000000", "#ffffff", "CanvasText"  # INK: the page's, white on a dark one
OF_A_ROW = ("name", "group", "colour", "marker", "edge", "edge_width", "size", "strip", "numbers")
OF_A_NAME = ("x", "y", "name", "across", "up", "align", "colour")
OF_A_POINT = tuple(f"{axis}{end}" for axis in "xy" for end in ("", "_low", "_high"))
# Styles of parts, which the page's own do not reach; Canvas is the page's colour, light or dark.
CHOICE = """
:host {--background-color: Canvas}
.bk-input {appearance: auto !important; background-image: none !important}
"""
PLOT = """
:host {--bokeh-icon-color: GrayText}
.bk-Canvas {clip-path: inset(0 0 0 1px)} /* a column that Bokeh does not clear */
@media (prefers-color-scheme: dark) {
  :host {
    --bk-background-fill-color: #121212; --bk-border-fill-color: #121212;
    --bk-grid-line-color: #444; --bk-outline-line-color: #444;
    --bk-axis-line-color: #ccc; --bk-major-tick-line-color: #ccc; --bk-minor-tick-line-color: #ccc;
    --bk-axis-label-text-color: #ddd; --bk-major-label-text-color: #ddd;
  }
}
"""
PICTURES = """
.bk-clearfix {display: block !important}
figure {margin: 0 0 .6rem}
figcaption {font: 14px/1.6 sans-serif}
img {width: 100%; max-width: 64rem; display: block}
.difference {position: relative; max-width: 64rem; isolation: isolate; filter: brightness(4)}
.difference img + img {position: absolute; inset: 0; mix-blend-mode: difference}
"""


def explore_page(
    study: StudyResults, answer: Recommendation, images: Images, prompts: list[str], source: str
) -> str:
    """The HTML of the page, with all that it needs inside.

    images: (P, H, W, 3) uint8 of each variant, of the P prompts. source: what the page names as
    its recipe.
    """
    script, div = components(_content(study, answer, strips(images), prompts))
    resources = Resources(mode="inline", components=["bokeh", "bokeh-widgets"])
    text = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    filled = {
        "title": "Rows of the study",
        "source": html.escape(source),
        "advice": _bold(advice(answer)),
        "library": resources.render_js(),
        "content": div,
        "script": script,
    }
    for name, part in filled.items():
        text = text.replace(f"<!-- {name} -->", part)
    return _numbered(text)


def _content(
    study: StudyResults, answer: Recommendation, pictures: dict[str, str], prompts: list[str]
) -> UIElement:
    costs, qualities = cost_axes(study, answer), quality_axes(study, answer)
    axes = {f"c{i}": axis for i, axis in enumerate(costs)}
    axes |= {f"q{i}": axis for i, axis in enumerate(qualities)}
    every = _rows(study, answer, pictures, axes)
    shown = ColumnDataSource({name: [] for name in (*OF_A_ROW, *OF_A_POINT)})
    front = ColumnDataSource({"x": [], "y": [], "name": []})
    names = ColumnDataSource({name: [] for name in OF_A_NAME})
    plot, band = _plot(shown, front, names)
    x = _choice("Cost", costs, "c")
    y = _choice("Quality", qualities, "q")
    groups = group_styles(study.table["group"])
    families = CheckboxGroup(
        labels=[f"{marker.letter} {group}" for group, (_, marker) in groups.items()],
        active=list(range(len(groups))),
        inline=True,
        name="families",
        sizing_mode="stretch_width",
        stylesheets=[_wrapped(colour for colour, _ in groups.values())],
    )
    left_out = Div(text="", name="left_out", styles={"color": GREY})
    update = CustomJS(
        args={
            **{"all": every, "shown": shown, "front": front, "x": x, "y": y},
            **{"families": families, "groups": list(groups), "band": band, "left_out": left_out},
            **{"x_axis": plot.xaxis[0], "y_axis": plot.yaxis[0]},
            "axes": {key: _told(axis) for key, axis in axes.items()},
        },
        code=_code("update.js"),
    )
    label = CustomJS(
        args={
            **{"plot": plot, "shown": shown, "front": front, "names": names},
            **{"x_range": plot.x_range, "y_range": plot.y_range},
        },
        code=_code("names.js"),
    )
    plot.js_on_change("inner_width", label)
    front.js_on_change("data", label)
    for scale in (plot.x_range, plot.y_range):
        scale.js_on_change("end", label)
        scale.js_on_change("start", label)
    first, second = _choices_of_rows(study, answer)
    compared = Div(text="", name="pictures", stylesheets=[PICTURES], sizing_mode="stretch_width")
    compare = CustomJS(
        args={"all": every, "first": first, "second": second, "pictures": compared},
        code=_code("compare.js"),
    )
    for widget in (x, y):
        widget.js_on_change("value", update)
    families.js_on_change("active", update)
    for widget in (first, second):
        widget.js_on_change("value", compare)
    tapped = CustomJS(
        args={"shown": shown, "first": first, "second": second}, code=_code("tapped.js")
    )
    shown.selected.js_on_change("indices", tapped)
    whole = column(
        row(x, y, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}),
        families,
        plot,
        left_out,
        Div(text=html.escape(f"Cost: {answer.cost.heading}, {answer.cost.measured}.")),
        Div(text=f"Samples of the same noise: {html.escape(', '.join(prompts))}."),
        row(first, second, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"}),
        compared,
        sizing_mode="stretch_width",
    )
    document = Document()
    document.add_root(whole)
    document.js_on_event(DocumentReady, update, compare)
    return whole


def _wrapped(colours: Iterable[str]) -> str:
    """Styles of a list of choices, each in its colour, in as many lines as it needs."""
    seen = (INK if colour == BLACK else colour for colour in colours)
    each = (f"label:nth-of-type({i}) {{color: {one}}}" for i, one in enumerate(seen, start=1))
    lines = ".bk-input-group {flex-wrap: wrap; row-gap: .3rem} label {font-weight: bold}"
    return " ".join([lines, *each])


def _rows(
    study: StudyResults,
    answer: Recommendation,
    pictures: dict[str, str],
    axes: dict[str, PageAxis],
) -> ColumnDataSource:
    table, styles = study.table, group_styles(study.table["group"])
    is_marked = [name in (answer.row, answer.base) for name in table.index]
    data = {
        "name": list(table.index),
        "group": list(table["group"]),
        "colour": [styles[group][0] for group in table["group"]],
        "marker": [styles[group][1].bokeh for group in table["group"]],
        "edge": [BLACK if marked else WHITE for marked in is_marked],
        "edge_width": [2.5 if marked else 0.8 for marked in is_marked],
        "size": [16 if marked else 13 for marked in is_marked],
        "strip": [pictures[name] for name in table.index],
        "numbers": [_as_list(numbers_of(answer, name).items()) for name in table.index],
    }
    for key, axis in axes.items():
        for part, end in {"value": "", "low": "_low", "high": "_high"}.items():
            data[key + end] = axis.values[part].to_numpy(np.float64)
    return ColumnDataSource(data)


def _plot(shown: ColumnDataSource, front: ColumnDataSource, names: ColumnDataSource):
    hover = HoverTool(
        tooltips='<div style="width: min(22rem, 78vw)"><b>@name</b> (@group)<br>'
        '<img src="@strip" style="width: 100%"><br>@numbers{safe}</div>',
        limit=1,
        attachment="vertical",
        point_policy="snap_to_data",
    )
    plot = figure(
        name="plot",
        height=HEIGHT_PIXELS,
        sizing_mode="stretch_width",
        tools=["pan", "wheel_zoom", "box_zoom", "reset", "tap", hover],
        active_scroll=None,
        toolbar_location="above",
        min_border_left=64,
        stylesheets=[PLOT],
    )
    plot.toolbar.logo = None
    window = {"fill_color": COLOURS[2], "fill_alpha": 0.12, "level": "underlay"}
    band = BoxAnnotation(name="band", top=0, **window)
    plot.add_layout(band)
    plot.line("x", "y", source=front, color=GREY, line_width=1.5)
    whisker = {"source": shown, "color": "colour", "line_width": 1.2, "alpha": 0.45}
    whisker |= {"nonselection_alpha": 0.45}
    plot.segment("x", "y_low", "x", "y_high", **whisker)
    plot.segment("x_low", "y", "x_high", "y", **whisker)
    points = plot.scatter(
        *("x", "y"),
        source=shown,
        marker="marker",
        size="size",
        fill_color="colour",
        line_color="edge",
        line_width="edge_width",
        nonselection_alpha=1.0,
        name="points",
    )
    hover.renderers = [points]
    for scale in (plot.x_range, plot.y_range):
        scale.renderers, scale.range_padding = [points], 0.2
    offsets = {"x_offset": "across", "y_offset": "up", "text_align": "align"}
    text = {"text_font_size": "12px", "text_baseline": "middle", "text_color": "colour"}
    plot.add_layout(
        LabelSet(x="x", y="y", text="name", source=names, name="names", **offsets, **text)
    )
    return plot, band


def _choice(title: str, axes: list[PageAxis], prefix: str) -> Select:
    options = [(f"{prefix}{i}", axis.label) for i, axis in enumerate(axes)]
    return Select(
        title=title,
        options=options,
        value=options[0][0],
        name=title.lower(),
        sizing_mode="stretch_width",
        min_width=260,
        stylesheets=[CHOICE],
    )


def _choices_of_rows(study: StudyResults, answer: Recommendation) -> list[Select]:
    """The base, and what is recommended in its place or else the next row."""
    names = list(study.table.index)
    others = [name for name in (answer.row, *names) if name != answer.base]
    values = {"Compare": answer.base, "with": (others or names)[0]}
    return [
        Select(
            title=title,
            options=names,
            value=value,
            name=title.lower(),
            width=260,
            stylesheets=[CHOICE],
        )
        for title, value in values.items()
    ]


def _told(axis: PageAxis) -> dict:
    sign = 1 if axis.better == LOWER else -1
    return {"label": f"{axis.label} {axis.better}", "sign": sign, "window": axis.window}


def _as_list(numbers: Iterable[tuple[str, str]]) -> str:
    return "<br>".join(f"{html.escape(name)}: {html.escape(value)}" for name, value in numbers)


def _bold(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(text)).replace(" %", "&nbsp;%")


def _code(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _numbered(text: str) -> str:
    """The library's random names as numbers, so that equal results give equal pages."""
    numbers = {name: f"id-{i}" for i, name in enumerate(dict.fromkeys(UNIQUE.findall(text)))}
    return UNIQUE.sub(lambda found: numbers[found[0]], text)

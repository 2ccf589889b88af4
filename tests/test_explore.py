"""The page of a study, in a browser without a window."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from browser import PROGRAM, Browser
from PIL import Image
from test_figures import SMALL, write_study

from explore import explore
from slimdit.reporting.explore.strips import MOST_BYTES, strips
from slimdit.storage.files import write_json

ARGUMENTS = ("architecture", "speed", "quality", "training", "prompts")
ARGUMENTS += ("rows", "speed_batch_size", "recipe")
MOST_PAGE_BYTES = 6_000_000
PHONE, DESKTOP = (390, 844), (1280, 900)
needs_browser = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")
MODEL = "Bokeh.documents[0].get_model_by_name({!r})"
SHOWN = MODEL.format("points") + ".data_source"


def written(folder, variants=SMALL):
    """The page of a study of these variants, whose groups may be any text."""
    arguments = write_study(folder / "study", variants)
    random = np.random.default_rng(1)
    shared = random.normal(size=20)
    for path in map(Path, arguments["quality"]):
        content = json.loads(path.read_text())
        whole = content["metrics"]["fd"]
        left_out = whole + shared + random.normal(scale=0.02, size=20)
        drawn = {"whole": whole, "left_out": left_out.tolist(), "drawn_from": [0]}
        write_json(path, content | {"jackknife": {"fd": drawn}})
    page = folder / "explore.html"
    explore(**{name: arguments[name] for name in ARGUMENTS}, page=page)
    return page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return written(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def opened(browser, page, request):
    browser.errors.clear()
    browser.requests.clear()
    browser.resize(*request.param)
    load(browser, page)
    yield browser
    assert browser.errors == []
    assert {url for url in browser.requests if not url.startswith("data:")} == {page.as_uri()}


def load(browser, page):
    browser.open(page)
    browser.wait("globalThis.Bokeh?.documents[0]?.is_idle")
    browser.wait(f"{SHOWN}.data.name.length > 0")


def value(browser, name, key):
    return browser.evaluate(f"{MODEL.format(name)}.{key}")


def choose(browser, name, key, chosen):
    browser.evaluate(f"{MODEL.format(name)}.{key} = {json.dumps(chosen)}; 0")


def place(browser, row):
    """Of a row's point in the window, in pixels."""
    return browser.evaluate(f"""(() => {{
      const view = Bokeh.index.find_one({MODEL.format("plot")})
      const data = {SHOWN}.data
      const i = data.name.indexOf({row!r})
      const box = view.canvas_view.el.getBoundingClientRect()
      return [box.x + view.frame.x_scale.compute(data.x[i]),
              box.y + view.frame.y_scale.compute(data.y[i])]
    }})()""")


def show_plot(browser):
    browser.evaluate(f"Bokeh.index.find_one({MODEL.format('plot')}).el.scrollIntoView(); 0")


DEEP = """(() => {
  const found = []
  const walk = (node) => {
    if (node.matches?.(%r)) found.push(node)
    if (node.shadowRoot) walk(node.shadowRoot)
    for (const child of node.children ?? []) walk(child)
  }
  walk(document.documentElement)
  return %s
})()"""


@needs_browser
def test_the_page_fits_its_window(opened):
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.evaluate("document.body.innerText").count("Keep base") == 1


@needs_browser
def test_an_axis_that_is_chosen_is_drawn(opened):
    band, axes = MODEL.format("band"), f"{MODEL.format('plot')}.left[0].axis_label"
    assert opened.evaluate(f"[{band}.visible, {band}.top]") == [True, pytest.approx(2)]
    options = dict(value(opened, "quality", "options"))
    (distance,) = (key for key, label in options.items() if label.startswith("FD-10"))
    choose(opened, "quality", "value", distance)
    assert opened.evaluate(axes).startswith("FD-10")
    assert opened.evaluate(f"{band}.visible") is False
    rows = dict(
        zip(
            *(opened.evaluate(f"Array.from({SHOWN}.data.{key})") for key in ("name", "y")),
            strict=True,
        )
    )
    assert rows["base"] == 50 and rows["experts"] == 49


@needs_browser
def test_the_front_follows_the_families_that_are_checked(opened):
    choose(opened, "cost", "value", "c2")  # one that every row has
    everything = opened.evaluate(f"{SHOWN}.data.name")
    labels = value(opened, "families", "labels")
    (sampled,) = (i for i, label in enumerate(labels) if label.endswith(" sampled"))
    choose(opened, "families", "active", [sampled])
    assert opened.evaluate(f"{SHOWN}.data.name") == ["steps-10", "steps-20"]
    choose(opened, "families", "active", [])
    assert opened.evaluate(f"{SHOWN}.data.name") == []
    choose(opened, "families", "active", list(range(len(labels))))
    assert opened.evaluate(f"{SHOWN}.data.name") == everything


@needs_browser
def test_pointing_at_a_row_shows_its_numbers_and_samples(opened):
    choose(opened, "cost", "value", "c2")
    show_plot(opened)
    strips = "found.filter((each) => !each.closest('figure')).map((each) => each.naturalWidth)"
    for _ in range(20):  # On a busy machine the page can be drawn after the pointer has moved.
        opened.wait("Bokeh.documents[0].is_idle")
        x, y = place(opened, "quantized")
        opened.move(x, y + 60)
        opened.move(x, y)
        time.sleep(0.5)
        if opened.evaluate(DEEP % ("img", strips)) == [64]:
            break
    assert opened.evaluate(DEEP % ("img", strips)) == [64]
    numbers = "found.map((each) => each.textContent).join().includes('quantized (derived)')"
    assert opened.evaluate(DEEP % ("div", numbers))


@needs_browser
def test_two_rows_that_are_clicked_are_compared(opened):
    choose(opened, "cost", "value", "c2")
    show_plot(opened)
    for row in ("quantized", "steps-10"):
        for _ in range(20):  # On a busy machine a click can be long enough to be a press.
            opened.wait("Bokeh.documents[0].is_idle")
            opened.click(*place(opened, row))
            time.sleep(0.5)
            if value(opened, "with", "value") == row:
                break
    compared = [value(opened, name, "value") for name in ("compare", "with")]
    assert compared == ["quantized", "steps-10"]
    pictures = "found.filter((each) => each.closest('figure')).map((each) => each.naturalWidth)"
    assert opened.evaluate(DEEP % ("img", pictures)) == [64] * 4


# Of each name, from the left edge of the plot: left, top, right, bottom and the plot's width.
NAME_BOXES = f"""(() => {{
  const {{frame}} = Bokeh.index.find_one({MODEL.format("plot")})
  const {{x, y, name, across, up, align}} = {MODEL.format("names")}.source.data
  const pen = document.createElement("canvas").getContext("2d")
  pen.font = "12px Helvetica, Arial, sans-serif"
  return name.map((text, i) => {{
    const middle = frame.y_scale.compute(y[i]) - up[i]
    const edge = frame.x_scale.compute(x[i]) - frame.bbox.left + across[i]
    const length = pen.measureText(text).width
    const left = edge - length * {{left: 0, center: 0.5, right: 1}}[align[i]]
    return [left, middle - 6, left + length, middle + 6, frame.bbox.width]
  }})
}})()"""


@needs_browser
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_names_are_where_there_is_room(browser, tmp_path, size):
    variants = {f"a-row-of-a-long-name-{i}": ("plain", "base") for i in range(20)}
    page = written(tmp_path, {"base": ("plain", None)} | variants)
    browser.resize(*size)
    load(browser, page)
    choose(browser, "cost", "value", "c2")
    choose(browser, "quality", "value", "q1")
    browser.wait("Bokeh.documents[0].is_idle")
    browser.wait(f"{MODEL.format('names')}.source.data.name.length > 0")
    boxes = np.array(browser.evaluate(NAME_BOXES))
    low, high, widths = boxes[:, :2], boxes[:, 2:4], boxes[:, 4]
    meet = ((low[:, None] < high) & (low < high[:, None])).all(-1)
    assert meet.sum() == len(boxes)  # each with itself
    assert (low[:, 0] >= -1).all() and (high[:, 0] <= widths + 1).all()


@needs_browser
@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_the_page_is_light_or_dark_as_is_preferred(browser, page, tmp_path, scheme, is_dark):
    browser.prefer(scheme)
    browser.resize(*DESKTOP)
    load(browser, page)
    browser.picture(tmp_path / "page.png")
    browser.prefer("light")
    grey = np.array(Image.open(tmp_path / "page.png").convert("L"))[:700]  # above the samples
    near, far = (grey < 64, grey > 160) if is_dark else (grey > 192, grey < 96)
    assert near.mean() > 0.8 and 0.01 < far.mean() < 0.1


def test_the_page_is_small_and_the_same_each_time(page):
    text = page.read_text()
    assert len(text.encode()) < MOST_PAGE_BYTES
    assert "http-equiv" in text and "default-src 'none'" in text


@pytest.mark.parametrize("name", ["</script><b>", 'a & b\'s "c"', "$x$ {y} @z"])
def test_names_are_shown_as_they_are_written(tmp_path, name):
    variants = {name_of: (kind, parent) for name_of, (kind, parent) in SMALL.items()}
    arguments = write_study(tmp_path / "study", variants)
    for row in arguments["rows"]:
        row["group"] = name
    explore(**{key: arguments[key] for key in ARGUMENTS}, page=tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.count("</script>") == text.count("<script")


def test_pictures_of_many_rows_are_made_smaller():
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (8, 256, 256, 3), np.uint8)
    made = strips({f"row-{i}": noise for i in range(60)})
    assert sum(map(len, made.values())) <= MOST_BYTES
    assert all(uri.startswith("data:image/webp;base64,") for uri in made.values())
    small = strips({"row": noise[:, :32, :32]})
    assert small["row"] != made["row-0"] and Image.MIME["WEBP"] == "image/webp"

"""The rendered book, opened in a browser. Build it first (`nox -s book`)."""

import functools
import http.server
import io
import json
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlparse

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from axe_playwright_python.base import AXE_SCRIPT
from conftest import HTML, ROOT, needs_browser
from test_figures import contrast

from kanvae.figures import style
from kanvae.studies import paper

CONTENTS = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
PAGES = [CONTENTS["root"]] + [
    page["file"]
    for part in CONTENTS["parts"]
    for chapter in part["chapters"]
    for page in (chapter, *chapter.get("sections", []))
]

pytestmark = pytest.mark.skipif(
    not (HTML / "index.html").exists(), reason="the book is not built: run `nox -s book`"
)


class Links(HTMLParser):
    """What a page refers to, and the anchors it offers."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.alternatives: list[str | None] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag in ("img", "script", "iframe", "source") and values.get("src"):
            self.loads.append(values["src"])
        if tag == "link" and "stylesheet" in (values.get("rel") or ""):
            self.loads.append(values["href"])
        if tag == "img":
            self.alternatives.append(values.get("alt"))


@functools.cache
def links(page: str) -> Links:
    return Links(HTML / page)


@pytest.mark.parametrize("page", PAGES)
def test_nothing_loads_from_another_host(page):
    for target in links(f"{page}.html").loads:
        assert not urlparse(target).netloc, target
        assert (HTML / f"{page}.html").parent.joinpath(unquote(urlparse(target).path)).exists()


@pytest.mark.parametrize("page", PAGES)
def test_internal_links_lead_somewhere(page):
    for target in links(f"{page}.html").links:
        address = urlparse(urljoin(f"{page}.html", target))
        if address.scheme or address.netloc:
            continue
        path = unquote(address.path)
        assert (HTML / path).exists(), target
        if address.fragment and path.endswith(".html"):
            anchors = links(path).anchors
            assert unquote(address.fragment) in anchors, target


@pytest.mark.parametrize("page", PAGES)
def test_every_image_has_an_alternative_text(page):
    for text in links(f"{page}.html").alternatives:
        assert text
        assert not text.endswith((".png", ".svg")), text


def test_colab_and_download_buttons_lead_to_the_committed_notebook():
    slug = re.search(r"github\.com/([\w-]+/[\w-]+)", (ROOT / "pyproject.toml").read_text())[1]
    for page in PAGES:
        if page.startswith("notebooks/"):
            assert (ROOT / f"{page}.ipynb").exists()
            wanted = f"https://colab.research.google.com/github/{slug}/blob/main/{page}.ipynb"
            targets = links(f"{page}.html").links
            assert targets.count(wanted) >= 2  # the button and the badge
            assert any(target.endswith(f"_sources/{page}.ipynb") for target in targets)


def test_figures_and_equations_are_numbered_and_referred_to():
    for page in PAGES:
        if page.startswith("notebooks/"):
            text = (HTML / f"{page}.html").read_text()
            assert 'class="caption-number"' in text
            assert 'class="std std-numref"' in text
            assert "{numref}" not in text


def test_all_nine_rows_appear():
    text = (HTML / "notebooks" / "05_table1.html").read_text()
    text = re.sub(r"</?span[^>]*>", "", text)
    for row in paper.TABLE_I:
        name = re.escape(paper.title(row.architecture))
        assert re.search(rf'<th class="stub[^"]*" scope="row"><p>{name}</p></th>', text)
        assert f"<p>{row.parameters:,}</p></td>" in text


class Tables(HTMLParser):
    """The tables of a page: the heads and cells of each, its caption, and its place."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tables: list[dict] = []
        self.open: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.tables.append({"id": dict(attributes).get("id"), "cells": [], "caption": ""})
        if tag in ("th", "td", "caption"):
            self.open.append(tag)
            if tag != "caption":
                self.tables[-1]["cells"].append([tag, dict(attributes).get("scope"), ""])

    def handle_endtag(self, tag):
        if self.open and tag == self.open[-1]:
            self.open.pop()

    def handle_data(self, data):
        if self.open == ["caption"]:
            self.tables[-1]["caption"] += data
        elif self.open:
            self.tables[-1]["cells"][-1][2] += data


@pytest.mark.parametrize("page", PAGES)
def test_every_head_of_a_table_says_what_it_heads(page):
    tables = Tables(HTML / f"{page}.html").tables
    for table in tables:
        heads = [cell for cell in table["cells"] if cell[0] == "th"]
        formulas = any(re.fullmatch(r"\s*\\\(.*\\\)\s*", text) for _, _, text in table["cells"])
        scopes = {scope for _, scope, _ in heads}
        assert scopes == {"row", "col"} or (formulas and scopes == {"col"})  # these name no row
        assert all(text.strip() for _, _, text in heads)
        for _, _, text in table["cells"]:
            assert not re.search(r"(?<![\w-])-\d", text), text  # a hyphen for a minus sign
            assert not re.fullmatch(r"\d{5,}", text.strip()), text  # 10,000


def test_tables_of_the_chapters_are_numbered_and_captioned():
    names = set()
    chapters = [page for page in PAGES if page.startswith("notebooks/")]
    for chapter, page in enumerate(chapters, 1):
        text = (HTML / f"{page}.html").read_text()
        numbered = Tables(HTML / f"{page}.html").tables
        assert all(t["id"] and t["caption"] for t in numbered)
        captions = [" ".join(t["caption"].split()) for t in numbered]
        for i, caption in enumerate(captions, 1):
            assert caption.startswith(f"Table {chapter}.{i} "), caption
        names |= {t["id"] for t in numbered}
        assert "dataframe" not in text  # no table goes to the page as pandas writes it
    assert {"tab-parameters", "tab-scores", "tab-equal", "tab-against-vae"} <= names


def test_what_folds_names_itself_by_its_visible_words():
    for page in PAGES:
        text = (HTML / f"{page}.html").read_text()
        assert "Toggle hidden content" not in text


def test_front_page_says_what_the_chapters_found():
    text = " ".join((HTML / "book" / "index.html").read_text().split())
    assert "<!--" not in text[text.index("<article") : text.index("</article")]
    assert "<strong>we find</strong>" in text
    assert 'href="../notebooks/12_what_we_found.html#found-1"' in text
    for name in ("fig-by-size", "fig-prior"):
        assert f"_images/{name}.png" in text


def test_front_page_is_short():
    page = (HTML / "book" / "index.html").read_text()
    article = page[page.index("<article") : page.index("</article")]
    article = re.sub(r'<a class="[^"]*sd-hide-link-text.*?</a>', " ", article)  # not to be seen
    words = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", article, flags=re.DOTALL).split()
    assert len([word for word in words if re.search(r"[^\W\d_]", word)]) < 300
    found = page[page.index("<h2>What was found") : page.index("<figure")]
    found = re.sub(r"<a .*?</a>|<[^>]+>", "", found, flags=re.DOTALL)
    assert len(re.findall(r"[.?!](?!\w)", found)) == 2  # the paper's answer, and ours


@pytest.fixture(scope="module")
def address():
    """The book served from this machine: search works only over http."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(HTML))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@needs_browser
def test_search_finds_a_chapter(address, browser):
    tab = browser.new_page()
    tab.goto(f"{address}/search.html?q=reparameterisation", wait_until="networkidle")
    tab.wait_for_selector("#search-results li a")
    found = tab.locator("#search-results li a").evaluate_all("links => links.map(l => l.href)")
    tab.close()
    assert any("03_vae_elbo" in link for link in found)


@needs_browser
def test_excerpts_of_the_search_hold_no_tex(address, browser):
    tab = browser.new_page()
    tab.goto(f"{address}/search.html?q=posterior", wait_until="networkidle")
    excerpts = tab.locator("#search-results .context").all_text_contents()
    page = r'<p role="main"><i class="math">\(z\)</i> of <i class="math">\[\mu(x)\]</i></p>'
    text = tab.evaluate("page => Search.htmlToText(page, '')", page)
    tab.close()
    assert len(excerpts) > 5
    assert not any(re.search(r"\\[()[\]]|\\[A-Za-z]{2}", excerpt) for excerpt in excerpts)
    assert text == "z of …"


THEMES = ("light", "dark")
WIDTHS = (390, 768, 900, 1100, 1280)
# What axe finds in pages as the programs under the book write them. All of it is mended here.
#   region                       #pst-primary-sidebar  pydata-sphinx-theme, pull 1454   book.js
#   aria-dialog-name             dialog                pydata-sphinx-theme, unreported  book.js
#   label-content-name-mismatch  summary               myst-nb, unreported              pages.py
#   label-content-name-mismatch  .search-button-field  pydata-sphinx-theme, unreported  book.js
#   label-content-name-mismatch  .theme-switch-button  pydata-sphinx-theme, unreported  book.js
#   summary-name                 .bd-sidenav summary   pydata-sphinx-theme, unreported  book.js
#   aria-allowed-role            .citation             docutils, unreported             pages.py
#   aria-deprecated-role         .citation             docutils, unreported             pages.py
#   aria-required-children       .citation-list        docutils, unreported             pages.py
#   empty-table-header           th                    pandas, by design                tables.py


TYPESET = """[...document.querySelectorAll('.math')].every(
    formula => formula.querySelector('mjx-assistive-mml'))"""  # what screen readers read comes last


def open_page(browser, address, page, width=1280, theme="light"):
    tab = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=theme)
    return load(tab, f"{address}/{page}.html")


def load(tab, url):
    tab.goto(url, wait_until="networkidle")
    tab.wait_for_function(TYPESET)
    return tab


BOXES = ".pst-scrollable-table-container, div.math > mjx-container, .highlight > pre"
WIDE = f"""() => [...document.querySelectorAll('.bd-content :is({BOXES})')]
    .filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1)"""
NOT_INSIDE = f"""() => {{
    const problems = [];
    for (const box of ({WIDE})()) {{
        const style = getComputedStyle(box);
        if (style.overflowX !== 'auto') problems.push(['no scroll', box.innerText]);
        if (!style.backgroundAttachment.includes('local')) problems.push(['no edge', box.id]);
        box.scrollLeft = 50;
        for (const row of box.querySelectorAll('tr')) {{
            const off = row.cells[0].getBoundingClientRect().left
                - box.getBoundingClientRect().left;
            if (Math.abs(off) > 2) problems.push(['first column moved', row.innerText]);
        }}
    }}
    return problems;
}}"""
CUT = f"""() => [...document.querySelectorAll('.bd-content :is({BOXES})')]
    .filter(e => e.offsetParent)
    .filter(e => getComputedStyle(e).overflowX !== 'visible'
        || e.getBoundingClientRect().left + e.scrollWidth > innerWidth + 1)
    .map(e => e.innerText)"""
SETTLED = "Promise.allSettled(document.getAnimations().map(animation => animation.finished))"
EVERYTHING = {"rules": {"label-content-name-mismatch": {"enabled": True}}}
COLOURS = {"runOnly": ["color-contrast"]}
# Contrast takes axe minutes on a page of thousands of words in code. It is asked for the first of
# those that look alike: of the same colour and weight, as large in its sense, before the same
# backgrounds all the way up; the first in the book, of what a theme shows at a width.
CONTRAST = {"id": "color-contrast", "selector": "[data-first]"}
AXE = f"{AXE_SCRIPT};axe.configure({json.dumps({'rules': [CONTRAST]})})"
FOUND = """async ([within, options]) => (await axe.run(within, options)).violations.flatMap(
    ({id, nodes}) => nodes.map(({target, html}) => [id, target, html.slice(0, 200)]))"""
FIRST = """before => {
    const seen = new Set(before), behind = new Map();
    const ground = e => {
        if (e === null) return '';
        if (!behind.has(e)) {
            const {backgroundColor, backgroundImage, opacity} = getComputedStyle(e), own = [];
            if (backgroundColor !== 'rgba(0, 0, 0, 0)') own.push(backgroundColor);
            if (backgroundImage !== 'none') own.push(backgroundImage);
            if (opacity !== '1') own.push(opacity);
            behind.set(e, [...own, ground(e.parentElement)].join(' before '));
        }
        return behind.get(e);
    };
    for (const e of document.querySelectorAll('body *')) {
        e.removeAttribute('data-first');
        const words = [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.data.trim());
        if (!words || !e.checkVisibility()) continue;
        const {color, fontSize, fontWeight, textShadow} = getComputedStyle(e);
        const large = parseFloat(fontSize) >= (fontWeight >= 700 ? 18.66 : 24);
        const look = [color, fontWeight, large, textShadow, ground(e)].join();
        if (!seen.has(look)) e.setAttribute('data-first', '');
        seen.add(look);
    }
    return [...seen];
}"""


class Visit(NamedTuple):
    """What a browser saw of a page, which it loaded once."""

    problems: list[str]  # errors in the console, failed requests
    elsewhere: list[str]  # requests to other hosts
    formulas: tuple[int, int, int]  # in the page, typeset, faulty
    broken: list[str]  # images
    wide: list[str]  # what needs scrolling on a desktop
    cut: list[str]  # what paper would not show whole
    not_inside: list[list[str]]  # what is wrong with what scrolls on a phone
    phone: int  # width of the page on a phone
    images: list[list[int]]  # of the still figures on a phone: width and natural width
    axe: list[list]  # what it found, and where


def violations(tab, seen, kind) -> list[list]:
    """What axe finds in a page as it stands: the rule, where, and the HTML there.

    Args:
        seen: what contrast has been asked of, by theme and width; what this page has is added.
        kind: EVERYTHING, or COLOURS alone.
    """
    tab.evaluate(SETTLED)  # colours fade from one theme to the other
    shown = tab.evaluate("document.documentElement.dataset.theme"), tab.viewport_size["width"]
    seen[shown] = tab.evaluate(FIRST, seen.get(shown, []))
    within = "html"
    if kind is COLOURS:
        if not tab.locator("[data-first]").count():
            return []
        within = {"include": [["[data-first]"]]}
    if not tab.evaluate("'axe' in window"):
        tab.evaluate(AXE)
    return tab.evaluate(FOUND, [within, {"resultTypes": ["violations"], **kind}])


@pytest.fixture(scope="module")
def seen():
    """What contrast has been asked of in pages before this one."""
    return {}


@pytest.fixture(scope="module")
def desktop(browser):
    """A browser's window with one tab, which keeps what pages have in common."""
    tab = browser.new_page(viewport={"width": 1280, "height": 844}, color_scheme="light")
    speed = {"playbackRate": 1000}  # of the themes' colours, which fade into each other
    tab.context.new_cdp_session(tab).send("Animation.setPlaybackRate", speed)
    return tab


@pytest.fixture(scope="module", params=[*PAGES, "search", "genindex"])
def visit(request, address, desktop, seen) -> Visit:
    """A page as on a desktop in both themes, then on paper, then on a phone in both."""
    problems, elsewhere = [], []
    own = ("data:", address)
    heard = {
        "console": lambda m: problems.append(m.text) if m.type == "error" else None,
        "pageerror": lambda error: problems.append(str(error)),
        "requestfailed": lambda r: problems.append(r.url),
        "request": lambda r: None if r.url.startswith(own) else elsewhere.append(r.url),
    }
    tab = desktop
    tab.goto("about:blank")  # so that nothing of the page before is heard, nor of one that failed
    tab.emulate_media(media="screen")
    tab.set_viewport_size({"width": 1280, "height": 844})
    for event, listener in heard.items():
        tab.on(event, listener)
    load(tab, f"{address}/{request.param}.html")
    counts = [tab.locator(name).count() for name in (".math", "mjx-container", "mjx-merror")]
    loaded = [*problems], [*elsewhere]
    axe = violations(tab, seen, EVERYTHING)
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    axe += violations(tab, seen, COLOURS)
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    wide = tab.evaluate(f"({WIDE})().map(e => e.innerText)")
    broken = tab.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.src)")
    tab.set_viewport_size({"width": 718, "height": 844})  # A4 between margins of a centimetre
    tab.emulate_media(media="print")
    cut = tab.evaluate(CUT)
    tab.emulate_media(media="screen")
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.wait_for_timeout(500)  # the theme sees 300 ms later what scrolls now
    not_inside = tab.evaluate(NOT_INSIDE)
    phone = tab.evaluate("document.documentElement.scrollWidth")
    images = tab.locator(".bd-content :is(figure, .cell_output) img:visible").evaluate_all(
        "all => all.map(i => [i.getBoundingClientRect().width, i.naturalWidth])"
    )
    axe += violations(tab, seen, EVERYTHING)  # still dark
    tab.evaluate("document.documentElement.dataset.theme = 'light'")
    axe += violations(tab, seen, COLOURS)
    for event, listener in heard.items():
        tab.remove_listener(event, listener)
    return Visit(*loaded, tuple(counts), broken, wide, cut, not_inside, phone, images, axe)


@needs_browser
class TestPageInABrowser:
    def test_it_loads_whole_and_from_here_alone(self, visit):
        formulas, typeset, faulty = visit.formulas
        assert typeset >= formulas
        assert faulty == 0
        assert (visit.broken, visit.problems, visit.elsewhere) == ([], [], [])

    def test_tables_and_code_fit_a_desktop(self, visit):
        assert visit.wide == []

    def test_tables_and_code_are_printed_whole(self, visit):
        assert visit.cut == []

    def test_on_a_phone_what_is_wide_scrolls_inside_itself(self, visit):
        assert visit.not_inside == []
        assert visit.phone <= 390

    def test_figures_can_be_read_on_a_phone(self, visit):
        for width, natural in visit.images:
            inches = natural / style.STYLE["figure.dpi"]
            assert style.TEXT * width / (72 * inches) >= 9  # no text is smaller: test_figures.py

    def test_axe_finds_nothing_of_our_making(self, visit):
        assert visit.axe == []


@needs_browser
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
def test_menu_and_page_contents_open_and_close(theme, width, address, browser):
    tab = open_page(browser, address, "notebooks/18_sweeps", width, theme)
    for kind in ("primary", "secondary"):
        side = tab.locator(f"#pst-{kind}-sidebar")
        dialog = tab.locator(f"#pst-{kind}-sidebar-modal")
        shown = side.is_visible()
        button = tab.locator(f".{kind}-toggle:visible")
        if shown and kind == "secondary":  # wide screens show the contents all the time
            assert button.count() == 0
            assert side.locator("a:visible").count() > 5
        elif shown:
            button.click()
            side.wait_for(state="hidden")
            button.focus()
            tab.keyboard.press("Enter")
            side.wait_for(state="visible")
        else:
            for opens in (button.click, lambda: tab.keyboard.press("Enter")):
                opens()
                dialog.wait_for(state="visible")
                assert dialog.locator("a:visible").count() > 5
                tab.keyboard.press("Escape")
                dialog.wait_for(state="hidden")
                assert button.evaluate("b => b === document.activeElement")
            button.click()
            tab.mouse.click(width - 5, 840) if kind == "primary" else tab.mouse.click(5, 840)
            dialog.wait_for(state="hidden")
    tab.close()


@needs_browser
def test_a_choice_in_the_page_contents_of_a_phone_leads_there(address, browser):
    tab = open_page(browser, address, "notebooks/02_kan_layers", 390)
    tab.locator(".secondary-toggle:visible").click()
    dialog = tab.locator("#pst-secondary-sidebar-modal")
    dialog.get_by_text("Counting parameters").click()
    dialog.wait_for(state="hidden")
    tab.wait_for_function(
        "Math.abs(document.getElementById('counting-parameters').getBoundingClientRect().top) < 200"
    )
    tab.close()


@needs_browser
def test_paper_is_light(address, browser):
    tab = open_page(browser, address, "notebooks/05_table1", 718, "dark")
    seen = tab.evaluate("""() => {
        const theme = () => document.documentElement.dataset.theme;
        const seen = [theme()];
        for (const event of ['beforeprint', 'afterprint']) {
            dispatchEvent(new Event(event));
            seen.push(theme());
        }
        return seen;
    }""")
    tab.close()
    assert seen == ["dark", "light", "dark"]


def pixels(tab, clip):
    """The colours of a part of the window: (rows, columns, 3) in 0 to 255."""
    data = tab.screenshot(clip=clip)
    return np.round(255 * plt.imread(io.BytesIO(data))[..., :3]).astype(int)


@needs_browser
@pytest.mark.parametrize(
    ("page", "selector"),
    [
        ("notebooks/05_table1", ".pst-scrollable-table-container:has(#tab-scores)"),
        ("notebooks/11_why", "div.math > mjx-container"),
        ("notebooks/17_layer_cost", ".cell_input .highlight > pre"),
    ],
)
def test_the_edge_of_a_box_shows_that_there_is_more(page, selector, address, browser):
    tab = open_page(browser, address, page, 390)
    boxes = tab.locator(selector)
    at = boxes.evaluate_all("all => all.findIndex(e => e.scrollWidth > e.clientWidth + 20)")
    box = boxes.nth(at)
    box.scroll_into_view_if_needed()
    place = box.bounding_box()
    top = max(place["y"], 60)
    height = min(place["y"] + place["height"], 830) - top
    edge = {"x": place["x"] + place["width"] - 2, "y": top, "width": 1, "height": height}
    for theme in THEMES:
        tab.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        tab.evaluate(SETTLED)
        ends = []
        for left in ("0", "e.scrollWidth"):
            box.evaluate(f"e => e.scrollLeft = {left}")
            ends.append(int(np.median(pixels(tab, edge))))
        assert abs(ends[0] - ends[1]) > 40, theme
    tab.close()


@needs_browser
@pytest.mark.parametrize("theme", THEMES)
def test_figures_read_on_light_and_dark_pages(theme, address, browser):
    tab = open_page(browser, address, "notebooks/05_table1", 1280, theme)
    image = tab.locator("figure img").first
    image.scroll_into_view_if_needed()
    place = image.bounding_box()
    colours = pixels(tab, place).reshape(-1, 3)
    page = pixels(tab, {"x": place["x"] - 12, "y": place["y"] + 20, "width": 1, "height": 1})[0, 0]
    tab.close()
    values, counts = np.unique(colours, axis=0, return_counts=True)
    np.testing.assert_allclose(values[counts.argmax()], page, atol=1)  # no box around the figure
    ratios = [contrast(value / 255, page / 255) for value in values[counts > 100]]
    assert max(ratios) > 7  # ink
    assert sum(ratio > 3 for ratio in ratios) >= 3  # ink and both kinds of points


@needs_browser
def test_an_icon_that_becomes_a_drawing_late_adds_no_words(address, browser):
    tab = open_page(browser, address, "book/index")
    icon = "document.querySelector('.theme-switch-button').firstElementChild"
    tab.evaluate(f"{icon}.outerHTML = '<svg><title>Light</title></svg>'")
    found = tab.evaluate(f"[{icon}.textContent, {icon}.getAttribute('aria-hidden')]")
    tab.close()
    assert found == ["", "true"]


@needs_browser
def test_contrast_is_asked_once_for_each_style(address, browser):
    tab, seen = open_page(browser, address, "book/references"), {}
    assert violations(tab, seen, COLOURS) == []
    faint = "document.querySelector('article h1').insertAdjacentHTML('afterend', '<p {}>faint</p>')"
    for kind, colour in ((COLOURS, "#ddd"), (EVERYTHING, "#ddc")):
        tab.evaluate(faint.format(f'style="color: {colour}"'))
        assert [rule for rule, _, _ in violations(tab, seen, kind)] == ["color-contrast"]
        assert violations(tab, seen, kind) == []
    tab.close()


@needs_browser
@pytest.mark.parametrize("kind", ["primary", "secondary"])
def test_axe_finds_nothing_in_an_open_menu(kind, address, browser):
    tab = open_page(browser, address, "notebooks/02_kan_layers", 390)
    tab.locator(f".{kind}-toggle:visible").click()
    tab.locator(f"#pst-{kind}-sidebar-modal").wait_for(state="visible")
    tab.wait_for_timeout(500)  # it slides in
    found = violations(tab, {}, EVERYTHING)
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    found += violations(tab, {}, COLOURS)
    tab.close()
    assert found == []

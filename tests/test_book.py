"""The rendered book, opened in a browser. Build it first (`nox -s book`)."""

import functools
import http.server
import re
import shutil
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlparse

import pytest
import yaml
from conftest import ROOT

from kanvae.studies import paper

HTML = ROOT / "book" / "_build" / "html"
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
CONTENTS = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
PAGES = [CONTENTS["root"]] + [
    chapter["file"] for part in CONTENTS["parts"] for chapter in part["chapters"]
]

pytestmark = pytest.mark.skipif(
    not (HTML / "index.html").exists(), reason="the book is not built: run `nox -s book`"
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


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
    for row in paper.TABLE_I:
        assert f"<th>{row.architecture}</th>" in text
        assert f"<td>{row.parameters}</td>" in text


def test_front_page_says_what_the_chapters_found():
    text = (HTML / "book" / "index.html").read_text()
    assert "<!-- found" not in text
    for sentence in ("Rank correlation with the paper", "The best test ELBO has", "Active units:",
                     "survives most often with", "<strong>Generation.</strong>",
                     "Recognised most often:", "are on the front:"):  # fmt: skip
        assert sentence in text


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


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        yield browser
        browser.close()


@needs_browser
@pytest.mark.parametrize("page", PAGES)
def test_page_in_a_browser(page, address, browser):
    tab = browser.new_page()
    problems, elsewhere = [], []
    tab.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("requestfailed", lambda request: problems.append(request.url))
    tab.on(
        "request",
        lambda r: elsewhere.append(r.url) if not r.url.startswith(("data:", address)) else None,
    )
    tab.goto(f"{address}/{page}.html", wait_until="networkidle")
    tab.wait_for_function("window.MathJax === undefined || MathJax.startup.promise !== undefined")
    tab.evaluate("window.MathJax ? MathJax.startup.promise : null")
    formulas = tab.locator(".math").count()
    assert tab.locator("mjx-container").count() >= formulas
    assert tab.locator("mjx-merror").count() == 0
    broken = tab.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.src)")
    tab.close()
    assert broken == []
    assert problems == []
    assert elsewhere == []


@needs_browser
@pytest.mark.parametrize("page", PAGES)
def test_page_fits_a_phone(page, address, browser):
    tab = browser.new_page(viewport={"width": 390, "height": 844})
    tab.goto(f"{address}/{page}.html", wait_until="networkidle")
    width = tab.evaluate("document.documentElement.scrollWidth")
    tab.close()
    assert width <= 390


@needs_browser
def test_search_finds_a_chapter(address, browser):
    tab = browser.new_page()
    tab.goto(f"{address}/search.html?q=reparameterisation", wait_until="networkidle")
    tab.wait_for_selector("#search-results li a")
    found = tab.locator("#search-results li a").evaluate_all("links => links.map(l => l.href)")
    tab.close()
    assert any("03_vae_elbo" in link for link in found)


@needs_browser
def test_dark_mode_keeps_figures_readable(address, browser):
    tab = browser.new_page()
    tab.goto(f"{address}/notebooks/01_bsplines.html", wait_until="networkidle")
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    image = tab.locator("figure img").first
    style = image.evaluate("i => [getComputedStyle(i).backgroundColor, getComputedStyle(i).filter]")
    tab.close()
    assert style == ["rgba(0, 0, 0, 0)", "none"]

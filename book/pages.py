"""What the book adds to Sphinx: pages that screen readers and phones can use.

jupyter-book loads this file as an extension (`local_extensions` in `_config.yml`).
"""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx_exercise.nodes import solution_node

# What the programs under the book write, and what it should be.
MENDS = (
    # myst-nb 1.4 names every fold alike, against its visible words. Not reported upstream.
    (re.compile(r'<summary aria-label="Toggle hidden content">'), "<summary>"),
    # docutils gives the heads of a table no direction. Not reported upstream.
    (re.compile(r'<th class="head([^"]*)">'), r'<th class="head\1" scope="col">'),
    (re.compile(r'<th class="stub([^"]*)">'), r'<th class="stub\1" scope="row">'),
    # docutils gives references a role that DPUB-ARIA has given up (w3c/dpub-aria pull request 22),
    # in a list, which must have list items.
    (re.compile(r' role="doc-biblioentry">'), ' role="listitem">'),
    # sphinx-exercise 1.2 gives every exercise of a page the same name. Not reported upstream.
    (re.compile(r'<section id="(exercise|solution)-content">'), r'<section class="\1-content">'),
)


INSIDE = 100_000  # letters of a figure's data that a page holds itself
SHORT = 11  # letters of a cell that stays on one line


def set_tables(app: Sphinx, document: nodes.document) -> None:
    """Make the first cell of every row the head of its row, and mark short cells for book.css."""
    for columns in document.findall(nodes.tgroup):
        heads = [row[0] for body in columns.findall(nodes.tbody) for row in body]
        for text in [text for cell in heads for text in cell.findall(nodes.Text)]:
            name, space, sizes = str(text).rpartition(" ")
            if re.fullmatch(r"\d+–\d+", sizes):  # of a model: they stay on one line
                whole = nodes.inline("", sizes, classes=["short"])
                text.parent.replace(text, [nodes.Text(name + space), whole])
        if all(map(_has_words, heads)):  # a formula alone is no name for a screen reader
            next(columns.findall(nodes.colspec))["stub"] = 1
        for cell in columns.findall(nodes.entry):
            if len(cell.astext()) <= SHORT and not isinstance(cell.parent.parent, nodes.thead):
                cell["classes"].append("short")


def _has_words(cell: nodes.entry) -> bool:
    return any(not isinstance(text.parent, nodes.math) for text in cell.findall(nodes.Text))


def fold_solution(writer: Any, solution: nodes.Element) -> None:
    """Begin the solution of an exercise: folded, but not in an EPUB, whose readers may not fold."""
    if writer.builder.name == "epub":
        writer.body.append(writer.starttag(solution, "div", CLASS="admonition"))
        return
    title = solution.pop(0)
    writer.body.append(writer.starttag(solution, "details"))
    writer.body.append(f"<summary>{writer.encode(title.astext())}</summary>\n")


def end_solution(writer: Any, solution: nodes.Element) -> None:
    """End the solution of an exercise."""
    writer.body.append("</div>\n" if writer.builder.name == "epub" else "</details>\n")


class CitedIn(SphinxPostTransform):
    """Says, behind each work cited, which pages cite it, with links to the places.

    Works stand by their authors' names, as they are cited, and not by numbers.
    """

    default_priority = 6  # right after sphinxcontrib.bibtex has made the list
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Add the links of this page's works."""
        domain: Any = self.env.get_domain("cite")
        for citation in domain.citations:
            if citation.bibliography_key.docname != self.env.docname:
                continue
            places: dict[str, str] = {}  # of each page, the first
            for reference in domain.citation_refs:
                if citation.key in {target.key for target in reference.targets}:
                    places.setdefault(reference.docname, reference.citation_ref_id)
            entry = domain.bibliographies[citation.bibliography_key].citation_nodes[citation.key]
            line = nodes.inline("", " Cited in ", classes=["cited-in"])
            for i, page in enumerate(sorted(places)):
                uri = self.app.builder.get_relative_uri(self.env.docname, page)
                title = self.env.titles[page].astext()
                line += nodes.Text(", " if i else "")
                line += nodes.reference("", title, refuri=f"{uri}#{places[page]}", internal=True)
            entry[-1] += [line, nodes.Text(".")]
            entry.remove(next(entry.findall(nodes.label)))


def renew_citations(app: Sphinx, env: Any) -> list[str]:
    """The pages with a bibliography, to be written again if other pages cite otherwise now."""
    domain = env.get_domain("cite")
    cited = sorted((r.docname, r.citation_ref_id) for r in domain.citation_refs)
    changed, env.book_cited = cited != getattr(env, "book_cited", None), cited
    return sorted({key.docname for key in domain.bibliographies}) if changed else []


def mend(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Put right, in the HTML of a page, what no setting of Sphinx reaches."""
    if body := context.get("body"):
        for wrong, right in MENDS:
            body = wrong.sub(right, body)
        context["body"] = body


def add_figures(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Give a page the data of its interactive figures, which build.py left beside it, and scripts.

    Nothing of it goes into other formats than pages for browsers.
    """
    beside = Path(app.srcdir, f"{page}.figures.json")
    if app.builder.name == "html" and context.get("body") and beside.exists():
        figures = json.loads(beside.read_text(encoding="utf-8"))
        context["body"] += figure_tags(figures, Path(app.outdir), "../" * page.count("/"))
        app.add_css_file("figure.css")
        for name in figure_scripts(figures):
            app.add_js_file(name, loading_method="defer")


def figure_tags(figures: dict[str, Any], outdir: Path, root: str = "") -> str:
    """The data of figures (id of the figure -> kind and data) as tags of a page.

    Data of more than `INSIDE` letters go into scripts of their own under _static of `outdir`, whose
    address from the page begins with `root`.
    """
    tags = []
    for name, figure in figures.items():
        text = json.dumps(figure["data"], separators=(",", ":")).replace("<", "\\u003c")
        about = f'data-figure="{name}" data-kind="{figure["kind"]}"'
        if len(text) > INSIDE:
            address = f"_static/figures/{name}-{zlib.crc32(text.encode()):08x}.js"
            script = outdir / address
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(f'kanvae.beside["{name}"] = {text};\n', encoding="utf-8")
            about, text = f'{about} data-beside="{root}{address}"', ""
        tags.append(f'<script type="application/json" {about}>{text}</script>\n')
    return "".join(tags)


def figure_scripts(figures: dict[str, Any]) -> list[str]:
    """The scripts that draw them, the shared one first."""
    kinds = sorted({figure["kind"] for figure in figures.values()})
    return ["figure.js", *(f"figure-{kind}.js" for kind in kinds)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx when to call the functions above."""
    app.setup_extension("sphinx_exercise")
    app.add_node(solution_node, override=True, html=(fold_solution, end_solution))
    app.add_post_transform(CitedIn)
    app.connect("env-updated", renew_citations)
    app.connect("doctree-read", set_tables)
    app.connect("html-page-context", mend)
    app.connect("html-page-context", add_figures)
    version = zlib.crc32(Path(__file__).read_bytes())  # pages are made anew when this file changes
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": version}

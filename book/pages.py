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


SHORT = 11  # letters of a cell that stays on one line


def set_tables(app: Sphinx, document: nodes.document) -> None:
    """Make the first cell of every row the head of its row, and mark short cells for book.css."""
    for columns in document.findall(nodes.tgroup):
        heads = [row[0] for body in columns.findall(nodes.tbody) for row in body]
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
        context["body"] += figure_tags(figures)
        app.add_css_file("figure.css")
        for name in figure_scripts(figures):
            app.add_js_file(name, loading_method="defer")


def figure_tags(figures: dict[str, Any]) -> str:
    """The data of figures (id of the figure -> kind and data) as tags of a page."""
    tags = []
    for name, figure in figures.items():
        text = json.dumps(figure["data"], separators=(",", ":")).replace("<", "\\u003c")
        about = f'data-figure="{name}" data-kind="{figure["kind"]}"'
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
    app.connect("doctree-read", set_tables)
    app.connect("html-page-context", mend)
    app.connect("html-page-context", add_figures)
    version = zlib.crc32(Path(__file__).read_bytes())  # pages are made anew when this file changes
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": version}

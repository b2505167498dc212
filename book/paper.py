"""What the book adds to Sphinx for the PDF and the EPUB: book/press.py loads it as an extension.

An EPUB has its formulas as MathML, which its readers draw and speak themselves. MathJax writes it,
as on the pages, and what few readers know of it is put in simpler terms.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import shutil
import subprocess
import unicodedata
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.math import get_node_equation_number

MATHML = "http://www.w3.org/1998/Math/MathML"
THIN = "0.167em"
ARROW = re.compile(r"<svg .*?</svg>", re.DOTALL)
FOLD = re.compile(r"<details\b")
ALPHABETS = {"double-struck": "DOUBLE-STRUCK", "script": "SCRIPT", "bold": "BOLD"}


def formula(writer: Any, node: nodes.math) -> None:
    """Write a formula of a line of text."""
    writer.body.append(mathml(node.astext(), False))
    raise nodes.SkipNode


def equation(writer: Any, node: nodes.math_block) -> None:
    """Write an equation, with its number if it has one."""
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    if node["number"]:
        number = get_node_equation_number(writer, node)
        writer.body.append(f'<span class="eqno">({number})</span>')
    writer.body.append(f"{mathml(node.astext(), True)}</div>\n")
    raise nodes.SkipNode


def simplify(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Leave out what extensions bring for screens: styles, and folds that are shut."""
    if body := context.get("body"):
        context["body"] = FOLD.sub('<details open="open"', ARROW.sub("", body))
    if "css_files" in context:
        kept = ("epub.css", "pygments.css", "paper.css")
        context["css_files"] = [
            file for file in context["css_files"] if str(file.filename).endswith(kept)
        ]


@functools.cache
def mathml(tex: str, display: bool) -> str:
    """A formula as MathML that needs no more than MathML Core.

    Raises:
        ValueError: MathJax does not understand the formula.
    """
    process = _mathjax()
    process.stdin.write(json.dumps([tex.strip(), display]) + "\n")
    process.stdin.flush()
    root = ElementTree.fromstring(json.loads(process.stdout.readline()))
    for element in root.iter():
        if element.tag == f"{{{MATHML}}}merror":
            raise ValueError(f"{tex!r}: {''.join(element.itertext()).strip()}")
        if element.tag != f"{{{MATHML}}}mtext":
            element.text = (element.text or "").strip() or None
        element.tail = None
        for name in [name for name in element.attrib if name.startswith("data-")]:
            del element.attrib[name]
        if alphabet := ALPHABETS.get(element.get("mathvariant", "")):
            element.text = "".join(_letter(alphabet, letter) for letter in element.text or "")
            del element.attrib["mathvariant"]
    for element in list(root.iter()):
        if element.tag == f"{{{MATHML}}}mtable":
            _align(element)
        else:
            _space(element)
    ElementTree.register_namespace("", MATHML)
    return ElementTree.tostring(root, encoding="unicode")


def _space(row: ElementTree.Element) -> None:
    """Set the names of functions off their arguments, and off what stands before: log p, not logp.

    MathJax leaves it to the reader, in the place of an invisible sign.
    """
    for i, sign in reversed(list(enumerate(row))):
        if sign.text != "\N{FUNCTION APPLICATION}" or i == 0:
            continue
        argument = row[i + 1] if i + 1 < len(row) else None
        if argument is not None and argument.text not in ("(", "["):
            sign.set("rspace", THIN)
        if i > 1 and row[i - 2].tag != f"{{{MATHML}}}mo":
            row.insert(i - 1, ElementTree.Element(f"{{{MATHML}}}mspace", width=THIN))


def _align(table: ElementTree.Element) -> None:
    """Align the cells of a table one by one: readers know no alignment of columns."""
    sides = table.attrib.pop("columnalign", "center").split()
    gaps = ["0em", *table.attrib.pop("columnspacing", "1em").split()]
    table.attrib.pop("rowspacing", None)
    for row in table:
        for i, cell in enumerate(row):
            side, gap = sides[min(i, len(sides) - 1)], gaps[min(i, len(gaps) - 1)]
            cell.set("style", f"text-align: {side}; padding: 0.15em 0 0.15em {gap}")


def _letter(alphabet: str, letter: str) -> str:
    """A letter of an alphabet of its own, such as the double-struck E."""
    size = "CAPITAL" if letter.isupper() else "SMALL"
    for name in (f"MATHEMATICAL {alphabet} {size} {letter}", f"{alphabet} {size} {letter}"):
        try:
            return unicodedata.lookup(name)
        except KeyError:
            continue
    return letter


@functools.cache
def _mathjax() -> Any:
    node = shutil.which("node")
    if node is None:
        raise RuntimeError("the EPUB's formulas need Node.js: on Debian, apt-get install nodejs")
    module = importlib.util.find_spec("sphinx-mathjax-offline")
    assert module is not None
    assert module.origin is not None
    folder = Path(module.origin).parent / "static" / "mathjax"
    script = Path(__file__).with_name("mathml.js")
    command = [node, str(script), str(folder)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the functions above."""
    app.add_html_math_renderer("mathml", (formula, None), (equation, None))
    app.connect("html-page-context", simplify)
    version = zlib.crc32(Path(__file__).read_bytes())
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": version}

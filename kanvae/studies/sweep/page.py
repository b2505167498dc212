"""The pages of a sweep: its index with table and plots, and executed notebooks as HTML.

Both work offline and from an object store: everything that they need stands in them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from kanvae.studies.sweep.values import Best, number, short

if TYPE_CHECKING:
    import pandas as pd

PLOTS = 60  # of numbers against parameters, at most: a page that draws more is slow to open
SMALL = re.compile(  # the words of a name whose lowest value is the best
    r"loss|nll|kl|error|err|distance|frechet|fid|kid|mse|rmse|mae|perplexity|reconstruction|cost"
    r"|seconds|time|memory|megabytes|bytes"
)


@cache
def _template(name: str) -> jinja2.Template:
    folder = Path(__file__).with_name("templates")
    loader = jinja2.FileSystemLoader(folder)
    environment = jinja2.Environment(autoescape=True, loader=loader, trim_blocks=True)
    for file in ("page.css", "table.js"):
        environment.globals[file.replace(".", "_")] = Markup((folder / file).read_text("utf-8"))
    return environment.get_template(name)


def render_notebook(file: Path) -> bytes:
    """An executed notebook as a page of its own, by nbconvert.

    Formulas are MathML, which browsers draw without a script. What links to neighbours of the
    chapter, which are not here, becomes plain text.
    """
    from latex2mathml.converter import convert
    from nbconvert import HTMLExporter
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def inline_math(self, body: str) -> str:
            return self._formula(body, "inline")

        def block_math(self, body: str) -> str:
            return self._formula(body, "block")

        def latex_environment(self, name: str, body: str) -> str:
            return self._formula(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")

        def _formula(self, body: str, display: str) -> str:
            try:
                return convert(body, display=display)
            except Exception:  # whatever it makes of what is no formula
                return f"<code>{escape(body)}</code>"

        def link(self, text: str, url: str, title: str | None = None) -> str:
            here = url.startswith("#") or re.match(r"[a-z]+:", url)
            return super().link(text, url, title) if here else text or url

    @jinja2.pass_context
    def markdown(context: jinja2.runtime.Context, source: str) -> str:
        kept = context["cell"].get("attachments", {})  # pictures within the cell
        return MarkdownWithMath(renderer=Renderer(escape=False, attachments=kept)).render(source)

    exporter = HTMLExporter(template_name="basic", filters={"markdown2html": markdown})
    body, _ = exporter.from_filename(str(file))
    page = _template("notebook.html").render(title=file.parent.name, body=Markup(body))
    return page.encode("utf-8", "replace")


def render_page(
    title: str,
    table: pd.DataFrame,
    kinds: Mapping[str, str],
    curves: Mapping[str, Mapping[str, list[float]]],
    pages: Mapping[str, str],
) -> bytes:
    """The page that shows a sweep: the best points, plots, and a table that sorts and filters.

    Args:
        title: the name of the chapter.
        table: a line a point, as in `table.csv`.
        kinds: of the table's columns, "parameter" or "recorded".
        curves: by the name of a point, what it recorded as lists.
        pages: by the name of a point, the page that shows its notebook, "" where there is none.
    """
    from kanvae.studies.sweep import plots  # with matplotlib, which workers do without

    done = table[table["status"] == "done"] if len(table) else table
    varied = [name for name in kinds if table[name].astype(str).nunique() > 1]
    swept = [name for name in varied if kinds[name] == "parameter"]
    recorded = [name for name, kind in kinds.items() if kind == "recorded"]
    numbers = [n for n in recorded if any(number(value) is not None for value in done[n])]
    best = [_best(done, name) for name in numbers]
    shown = [b for b in best if swept][: PLOTS // max(1, len(swept))]
    drawn = [(b, [plots.plot(done, name, b) for name in swept]) for b in shown]
    names = sorted({name for own in curves.values() for name in own})
    first = best[0].line if best else None
    bundles = [
        plots.overlay(
            name, {k: own[name] for k, own in curves.items() if name in own}, table, swept, first
        )
        for name in names
    ]
    columns = [*varied, *([] if "seconds" in varied or table.empty else ["seconds"])]
    marked = {(b.line, b.name) for b in best}
    rows = []
    for i, line in zip(table.index, table.to_dict("records"), strict=True):
        name = line["point"]
        file = "executed.ipynb" if line["status"] == "done" else "failed.ipynb"
        rows.append(
            {
                "name": name,
                "status": line["status"],
                "error": str(line["error"] or "")[:500] if line["status"] != "done" else "",
                "page": f"{name}/{pages[name]}" if pages.get(name) else "",
                "notebook": f"{name}/{file}",
                "cells": [
                    {"text": short(line[c]), "number": number(line[c]), "best": (i, c) in marked}
                    for c in columns
                ],
                "curves": [Markup(sparkline(curves.get(name, {}).get(c, []))) for c in names],
            }
        )
    fixed = {name: short(table[name].iloc[0]) for name in kinds if name not in varied}
    page = _template("index.html").render(
        title=title, done=len(done), failed=len(table) - len(done), fixed=fixed, plots=drawn,
        left_out=len(best) - len(shown),
        bundles=bundles, columns=[*columns, *names], rows=rows, swept=swept,
        best=[(b, short(table[b.name][b.line]), _place(table, b.line, swept)) for b in best],
    )  # fmt: skip
    return page.encode("utf-8", "replace")


def _place(table: pd.DataFrame, line: int, swept: Iterable[str]) -> dict[str, str]:
    """Where a line of the table is: its point, and its values of the swept parameters."""
    words = ", ".join(f"{name} = {short(table[name][line])}" for name in swept)
    return {"name": table["point"][line], "words": words}


def _best(done: pd.DataFrame, name: str) -> Best:
    lowest = any(SMALL.fullmatch(word) for word in name.lower().split("_"))
    values = {line: number(value) for line, value in done[name].items()}
    numbers = {line: value for line, value in values.items() if value is not None}
    return Best(name, lowest, (min if lowest else max)(numbers, key=numbers.__getitem__))


def sparkline(values: Sequence[float]) -> str:
    """A small curve as SVG; its ends are said to those who cannot see it."""
    values = [value for value in values if math.isfinite(value)]
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    points = " ".join(
        f"{100 * i / (len(values) - 1):.0f},{22 - 20 * (v - low) / ((high - low) or 1):.0f}"
        for i, v in enumerate(values)
    )
    return (
        '<svg viewBox="-2 0 104 24" width="104" height="24" role="img" '
        f'aria-label="from {values[0]:.6g} to {values[-1]:.6g}">'
        f'<polyline points="{points}"/></svg>'
    )

"""The pages of a sweep: its index with table and plots, and executed notebooks as HTML.

Both work offline and from an object store: everything that they need stands in them.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from kanvae.figures import INK, PALETTE, STYLE

PLOTS = 60  # of numbers against parameters, at most: a page that draws more is slow to open
SMALL = re.compile(  # the words of a name whose lowest value is the best
    r"loss|nll|kl|error|err|distance|frechet|fid|kid|mse|rmse|mae|perplexity|reconstruction|cost"
    r"|seconds|time|memory|megabytes|bytes"
)
SVG: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": "kanvae", "path.simplify": False}


class Best(NamedTuple):
    """The best value of a recorded number, and the line of the table that it stands in."""

    name: str
    lowest: bool  # whether the lowest value is the best, or the highest
    line: int


@cache
def _template(name: str) -> jinja2.Template:
    folder = Path(__file__).with_name("templates")
    loader = jinja2.FileSystemLoader(folder)
    environment = jinja2.Environment(autoescape=True, loader=loader, trim_blocks=True)
    for file in ("page.css", "table.js"):
        environment.globals[file.replace(".", "_")] = Markup((folder / file).read_text("utf-8"))
    return environment.get_template(name)


def render_notebook(file: Path) -> bytes:
    """An executed notebook as a page of its own, by nbconvert."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic")
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
    done = table[table["status"] == "done"] if len(table) else table
    varied = [name for name in kinds if _is_varied(table, name)]
    swept = [name for name in varied if kinds[name] == "parameter"]
    numbers = [name for name in kinds if kinds[name] == "recorded" and _is_number(done[name])]
    best = [_best(done, name) for name in numbers]
    plots = [(b, [plot(done, name, b) for name in swept]) for b in best if swept]
    names = sorted({name for own in curves.values() for name in own})
    first = best[0].line if best else None
    bundles = [
        overlay(name, {k: own[name] for k, own in curves.items() if name in own}, table, swept, first)
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
                    {"text": short(line[c]), "number": _number(line[c]), "best": (i, c) in marked}
                    for c in columns
                ],
                "curves": [Markup(sparkline(curves.get(name, {}).get(c, []))) for c in names],
            }
        )
    fixed = {name: short(table[name].iloc[0]) for name in kinds if name not in varied}
    page = _template("index.html").render(
        title=title, done=len(done), failed=len(table) - len(done), fixed=fixed, plots=plots[:PLOTS],
        bundles=bundles, columns=[*columns, *names], rows=rows, swept=swept,
        best=[(b, short(table[b.name][b.line]), _place(table, b.line, swept)) for b in best],
    )  # fmt: skip
    return page.encode("utf-8", "replace")


def _place(table: pd.DataFrame, line: int, swept: Iterable[str]) -> dict[str, str]:
    """Where a line of the table is: its point, and its values of the swept parameters."""
    words = ", ".join(f"{name} = {short(table[name][line])}" for name in swept)
    return {"name": table["point"][line], "words": words}


def _is_varied(table: pd.DataFrame, name: str) -> bool:
    return table[name].astype(str).nunique() > 1


def _is_number(values: pd.Series) -> bool:
    return any(_number(value) is not None for value in values)


def _number(value: Any) -> float | None:
    """A value as a number that can be drawn, None where it is none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return None
    return float(value) if math.isfinite(value) else None


def _best(done: pd.DataFrame, name: str) -> Best:
    lowest = any(SMALL.fullmatch(word) for word in name.lower().split("_"))
    values = {line: _number(value) for line, value in done[name].items()}
    numbers = {line: value for line, value in values.items() if value is not None}
    return Best(name, lowest, (min if lowest else max)(numbers, key=numbers.__getitem__))


def short(value: Any) -> str:
    """A value in few letters."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else str(value)


def plot(done: pd.DataFrame, parameter: str, best: Best) -> Markup:
    """A number against a parameter as SVG, a dot a point, the best one a star."""
    shown = [(value, _number(y)) for value, y in zip(done[parameter], done[best.name], strict=True)]
    pairs = [(value, y) for value, y in shown if y is not None]
    x, labels = _axis([value for value, _ in pairs])
    y = np.array([y for _, y in pairs])
    with rc_context({**STYLE, **SVG, "font.size": 9}):
        figure = Figure(figsize=(3.3, 2.3))
        axes = figure.subplots()
        # Dots are strokes without length, all of them one path: thousands stay quick to show.
        nothing = np.full_like(x, np.nan)
        axes.plot(
            np.stack((x, x, nothing), 1).ravel(), np.stack((y, y, nothing), 1).ravel(),
            linewidth=4.5, solid_capstyle="round", alpha=0.7,
        )  # fmt: skip
        at = done.index.get_indexer([best.line])[0] - sum(
            y is None for _, y in shown[: done.index.get_indexer([best.line])[0]]
        )
        axes.plot(x[at], y[at], "*", markersize=12, color=PALETTE[1], markeredgecolor=INK)
        axes.set(xlabel=parameter, ylabel=best.name)
        if labels is not None:
            step = math.ceil(len(labels) / 8)
            axes.set_xticks(range(0, len(labels), step), labels[::step])
            if max(map(len, labels)) * len(labels) > 40:
                axes.tick_params("x", rotation=30)
        elif (x > 0).all() and x.max() / x.min() >= 100:
            axes.set_xscale("log")
        axes.margins(0.08)
        alt = (
            f"{best.name} against {parameter}, {len(y)} points from {y.min():.6g} to "
            f"{y.max():.6g}; the best, {y[at]:.6g}, at {parameter} = {short(pairs[at][0])}"
        )
        return svg(figure, alt)


def _axis(values: Sequence[Any]) -> tuple[np.ndarray, list[str] | None]:
    """Where values stand on an axis: numbers where they are, anything else side by side."""
    numbers = [_number(value) for value in values]
    if None not in numbers:
        return np.array(numbers, dtype=float), None
    labels = list(dict.fromkeys(map(str, values)))
    return np.array([labels.index(str(value)) for value in values], dtype=float), labels


def overlay(
    name: str, curves: Mapping[str, list[float]], table: pd.DataFrame, swept: Collection[str],
    best: int | None,
) -> Markup:  # fmt: skip
    """The curves of all points over each other as SVG, coloured by a parameter that was swept."""
    line_of = {point: line for line, point in table["point"].items()}
    few = [p for p in swept if table[p].astype(str).nunique() <= len(PALETTE)]
    groups: dict[str, list[list[float]]] = {}
    for point, curve in curves.items():
        group = f"{few[0]} = {short(table[few[0]][line_of[point]])}" if few else ""
        groups.setdefault(group, []).append(curve)
    with rc_context({**STYLE, **SVG, "font.size": 9}):
        figure = Figure(figsize=(6.6, 3.2))
        axes = figure.subplots()
        faint = max(0.15, min(0.8, 10 / len(curves)))
        for group, members in sorted(groups.items()):
            steps = [np.append(np.arange(1.0, len(curve) + 1), np.nan) for curve in members]
            heights = [np.append(np.asarray(curve, float), np.nan) for curve in members]
            axes.plot(
                np.concatenate(steps), np.concatenate(heights), label=group, alpha=faint,
                linewidth=1, marker="." if max(map(len, members)) == 1 else None,
            )  # fmt: skip
        own = [curve for point, curve in curves.items() if line_of[point] == best]
        if own:
            axes.plot(range(1, len(own[0]) + 1), own[0], color=INK, linewidth=2.5, label="best point")
        axes.set(xlabel="step", ylabel=name)
        if few or own:
            handles = axes.legend(fontsize="small").legend_handles
            for handle in filter(None, handles):
                handle.set_alpha(1)
        return svg(figure, f"{name} of {len(curves)} points, a line each")


def svg(figure: Figure, alt: str) -> Markup:
    """A figure as SVG in a page: its ink in the colour of the page's text, without repeated ids."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()[buffer.getvalue().index("<svg") :]
    text = re.sub(r'(<g|<path) id="[\w.]+"(?=[ >\n])', r"\1", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor").replace("\n", " ")
    label = Markup('<svg role="img" aria-label="{}"').format(alt)
    return Markup(text.replace("<svg", label, 1))


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

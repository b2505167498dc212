"""The plots of a sweep's page, as SVG in the style of the book."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from kanvae.figures.style import INK, PALETTE, STYLE, plain_ticks
from kanvae.studies.sweep.values import Best, number, short

RC: Any = {
    **STYLE, "figure.facecolor": "none", "savefig.facecolor": "none", "font.size": 9,
    "svg.fonttype": "none", "svg.hashsalt": "kanvae", "path.simplify": False,
}  # fmt: skip


def plot(done: pd.DataFrame, parameter: str, best: Best) -> Markup:
    """A number against a parameter as SVG, a dot a point, the best one a star."""
    shown = [(value, number(y)) for value, y in zip(done[parameter], done[best.name], strict=True)]
    pairs = [(value, y) for value, y in shown if y is not None]
    x, labels = _axis([value for value, _ in pairs])
    y = np.array([y for _, y in pairs])
    with rc_context(RC):
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
        elif (x > 0).all() and x.max() / x.min() >= (100 if (x == x.round()).all() else 10):
            axes.set_xscale("log")
            if len(few := sorted(set(x.tolist()))) <= 6:
                axes.set_xticks(few, map(short, few))
                axes.minorticks_off()
            else:
                plain_ticks(axes, "x")
        axes.margins(0.08)
        alt = (
            f"{best.name} against {parameter}, {len(y)} points from {y.min():.6g} to "
            f"{y.max():.6g}; the best, {y[at]:.6g}, at {parameter} = {short(pairs[at][0])}"
        )
        return svg(figure, alt)


def _axis(values: Sequence[Any]) -> tuple[np.ndarray, list[str] | None]:
    """Where values stand on an axis: numbers where they are, anything else side by side."""
    numbers = [number(value) for value in values]
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
    with rc_context(RC):
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
            axes.plot(
                range(1, len(own[0]) + 1), own[0], color=INK, linewidth=2.5, label="best point"
            )
        axes.set(xlabel="step", ylabel=name)
        if few or own:
            handles = axes.legend(fontsize="small").legend_handles
            for handle in filter(None, handles):
                handle.set_alpha(1)
        return svg(figure, f"{name} of {len(curves)} points, a line each")


def svg(figure: Figure, alt: str) -> Markup:
    """A figure as SVG in a page, without repeated ids; dark pages invert it (`page.css`)."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()[buffer.getvalue().index("<svg") :]
    text = re.sub(r'(<g) id="[\w.]+"(?=[ >\n])', r"\1", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace("\n", " ")
    label = Markup('<svg role="img" aria-label="{}"').format(alt)
    return Markup(text.replace("<svg", label, 1))

"""The book's figures: each function takes arrays and returns a matplotlib `Figure`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kanvae.figures.scores import by_size, front, intervals, points, ratio_bars, score_chart
from kanvae.figures.style import DASHES, INK, PALETTE, SHAPES, WIDTH, legend, plain_ticks, styled

__all__ = [
    "bundles", "by_size", "densities", "front", "image_rows", "intervals", "learning_curves",
    "lines", "points", "ratio_bars", "scatter_digits", "score_chart",
]  # fmt: skip


@styled
def lines(
    x: Any,
    curves: Mapping[str, Any],
    xlabel: str,
    ylabel: str,
    marks: Sequence[float] = (),
    dashed: Sequence[str] = (),
    log: str = "",
) -> Figure:
    """Curves over one axis.

    Args:
        x: (N,) positions, shared by all curves.
        curves: label -> (N,) values, or (N, n) for n curves in the palette's colours under one
            label.
        marks: positions of vertical dotted lines (knots, say).
        dashed: labels of curves to draw dashed.
        log: the axes that are logarithmic, "x", "y" or "xy".
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.2))
    for mark in marks:
        ax.axvline(mark, color=INK, linewidth=0.8, linestyle=":")
    for i, (label, values) in enumerate(curves.items()):
        style = "--" if label in dashed else "-"
        shape = _shape(i, len(x), len(curves)) if label else {}
        drawn = ax.plot(x, np.asarray(values), style, **shape)
        drawn[0].set_label(label if label else "_")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        ax.set(**{f"{axis}scale": "log" for axis in log})
        plain_ticks(ax, log)
    if any(curves):
        legend(figure, ax)
    return figure


def _shape(i: int, points: int, curves: int) -> dict[str, Any]:
    """The marker of curve i: some eight on the curve, beside those of the others."""
    apart = max(1, points // 8)
    return {"marker": SHAPES[i % len(SHAPES)], "markevery": (i * apart // curves, apart)}


@styled
def bundles(x: Any, groups: Mapping[str, Sequence[Any]], xlabel: str, ylabel: str) -> Figure:
    """Groups of curves, each in one colour and with one shape.

    Args:
        x: (N,) positions.
        groups: label -> curves, each of N values or fewer.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.2))
    places = np.asarray(x)
    for i, (label, curves) in enumerate(groups.items()):
        look = {"color": PALETTE[i], "marker": SHAPES[i], "linestyle": DASHES[i]}
        for j, values in enumerate(curves):
            drawn = places[: len(values)]
            ax.plot(drawn, values, linewidth=1, label="_" if j else label, markersize=4, **look)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.xaxis.set_major_locator(plt.MaxNLocator(integer=True))
    legend(figure, ax)
    return figure


@styled
def densities(
    edges: Any, panels: Mapping[str, Mapping[str, Any]], marks: Sequence[float]
) -> Figure:
    """Densities of values, a panel a model.

    Args:
        edges: (N + 1,) of the bins of a histogram.
        panels: title -> label -> (N,) densities, with the same labels in each.
        marks: positions of vertical dotted lines.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.4), sharey=True, squeeze=False)
    middles = (np.asarray(edges)[1:] + np.asarray(edges)[:-1]) / 2
    for ax, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for mark in marks:
            ax.axvline(mark, color=INK, linewidth=0.8, linestyle=":")
        for dash, (label, values) in zip(DASHES, curves.items(), strict=False):
            ax.plot(middles, values, linestyle=dash, label=label)
        ax.set(title=title, xlabel="input of the layer")
    axes[0, 0].set_ylabel("density")
    legend(figure, axes[0, 0])
    return figure


@styled
def learning_curves(
    histories: Mapping[str, Any],
    ends: Mapping[str, tuple[float, float]] | None = None,
    smooth: int = 50,
) -> Figure:
    """Reconstruction and KL at every weight update, a panel a model (the paper's Figure 6).

    Args:
        histories: title -> a run's history (`runs.Run.history`).
        ends: title -> the paper's end values, drawn as dotted lines, if given.
        smooth: updates in the running mean drawn over the raw values.
    """
    height = 0.9 + (1.8 if len(histories) > 1 else 2.6) * len(histories)
    figure, axes = plt.subplots(
        len(histories), 1, figsize=(WIDTH, height), sharex=True, sharey=True, squeeze=False
    )
    for ax, (title, history) in zip(axes[:, 0], histories.items(), strict=True):
        ax.set(title=title, ylim=(0, 300), ylabel="nats per image")
        for i, (field, label) in enumerate((("reconstruction", "reconstruction"), ("kl", "KL"))):
            values = history[field]
            window = min(smooth, len(values))
            mean = np.convolve(values, np.ones(window) / window, "valid")
            ax.plot(history["update"], values, color=PALETTE[i], alpha=0.3, linewidth=0.5)
            ax.plot(
                history["update"][window - 1 :], mean, color=PALETTE[i], linestyle=DASHES[i],
                label=label,
            )  # fmt: skip
            if ends:
                ax.axhline(ends[title][i], color=INK, linestyle=":", linewidth=1)
        kind = "validation" if "validation_kl" in history.dtype.names else "test"
        tested = history[np.isfinite(history[f"{kind}_kl"])]
        for i, field in enumerate((f"{kind}_reconstruction", f"{kind}_kl")):
            label = (f"reconstruction, {kind} images", f"KL, {kind} images")[i]
            ax.plot(
                tested["update"], tested[field], SHAPES[i], color=PALETTE[i], markersize=4,
                label=label,
            )  # fmt: skip
    axes[-1, 0].set_xlabel("weight updates")
    axes[-1, 0].xaxis.set_major_locator(plt.MaxNLocator(4))
    axes[-1, 0].xaxis.set_major_formatter("{x:,.0f}")
    legend(figure, axes[0, 0])
    return figure


@styled
def scatter_digits(panels: Mapping[str, Any], labels: Any) -> Figure:
    """Points in the plane, a panel a model, each digit named in its middle (Figure 7).

    Args:
        panels: title -> (N, 2) points.
        labels: (N,) digits.
    """
    rows = (len(panels) + 1) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(WIDTH, 2.9 * rows), squeeze=False)
    labels = np.asarray(labels)
    colours = (0, 1, 2, 3, 4, 1, 3, 0, 4, 2)  # two digits a colour: a dot and a cross
    for ax in axes.flat[len(panels) :]:
        ax.axis("off")
    for ax, (title, places) in zip(axes.flat, panels.items(), strict=False):
        places = np.asarray(places)
        for digit in np.unique(labels):
            own = places[labels == digit]
            shape = "." if digit < 5 else "x"
            colour = PALETTE[colours[digit]]
            ax.scatter(*own.T, s=4, marker=shape, color=colour, linewidths=0.5, label=str(digit))
        for digit in np.unique(labels):
            ax.annotate(
                str(digit), np.median(places[labels == digit], 0), ha="center", va="center",
                fontweight="bold", bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": INK},
            )  # fmt: skip
        ax.set(title=title, xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set_visible(True)
    handles, names = axes[0, 0].get_legend_handles_labels()
    key = figure.legend(
        handles, names, loc="outside lower center", ncols=5, markerscale=3, frameon=False
    )
    key.set_title("digit")
    return figure


@styled
def image_rows(
    rows: Mapping[str, Any], hatched: Mapping[str, Collection[int]] | None = None
) -> Figure:
    """Rows of digits, ink on paper, each group of rows under its label (Figures 8 and 9).

    Args:
        rows: label -> (n, D) square images in [0, 1], the same number in every row. What follows a
            `#` in a label tells rows of one group apart and is not shown.
        hatched: label -> the places of images that get a frame and hatching.
    """
    columns = len(next(iter(rows.values())))
    names = [label.split("#")[0] for label in rows]
    titled = [i == 0 or name != names[i - 1] for i, name in enumerate(names)]
    side = WIDTH / columns
    height = sum(side + (0.28 if shown else 0.04) for shown in titled)
    figure, axes = plt.subplots(len(rows), 1, figsize=(WIDTH, height), squeeze=False)
    look: dict[str, Any] = {"fill": False, "hatch": "///", "edgecolor": PALETTE[1]}
    for ax, (label, images), name, shown in zip(
        axes[:, 0], rows.items(), names, titled, strict=True
    ):
        pixels = math.isqrt(np.asarray(images).size // columns)  # on a side
        strip = np.concatenate(np.asarray(images).reshape(columns, pixels, pixels), axis=1)
        ax.imshow(strip, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        for place in (hatched or {}).get(label, ()):
            ax.add_patch(Rectangle((pixels * place, 0), pixels - 1, pixels - 1, **look))
        if shown:
            ax.set_title(name, loc="left", pad=3)
        ax.axis("off")
    return figure

"""The book's figures: each function takes arrays and returns a matplotlib `Figure`."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from kanvae.figures.style import DASHES, INK, PALETTE, SHAPES, WIDTH, legend, plain_ticks, styled


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
def front(groups: Mapping[str, Any], steps: Any, ylabel: str) -> Figure:
    """A score against the number of parameters, groups of points, and the front of both.

    Args:
        groups: label -> (N, 2) of parameters and score; an empty group is left out.
        steps: (M, 2) of the front, by rising number of parameters.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.8))
    ax.step(*np.asarray(steps, float).T, where="post", color=INK, linewidth=1, label="front")
    for i, (label, points) in enumerate(groups.items()):
        if len(points) == 0:
            continue
        ax.plot(*np.asarray(points, float).T, SHAPES[i], color=PALETTE[i], label=label)
    ax.set(xscale="log", xlabel="parameters", ylabel=ylabel)
    plain_ticks(ax, "x")
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
        histories: title -> a run's history (`runs.Run.history`), or None for a run that is not
            there: its panel says so.
        ends: title -> the paper's end values, drawn as dotted lines, if given.
        smooth: updates in the running mean drawn over the raw values.
    """
    height = 0.9 + (1.8 if len(histories) > 1 else 2.6) * len(histories)
    figure, axes = plt.subplots(
        len(histories), 1, figsize=(WIDTH, height), sharex=True, sharey=True, squeeze=False
    )
    for ax, (title, history) in zip(axes[:, 0], histories.items(), strict=True):
        ax.set(title=title, ylim=(0, 300), ylabel="nats per image")
        if history is None:
            ax.text(0.5, 0.5, "missing", transform=ax.transAxes, ha="center")
            continue
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
    drawn = [ax for ax in axes[:, 0] if ax.lines]
    if drawn:
        legend(figure, drawn[0])
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
    for ax, (title, points) in zip(axes.flat, panels.items(), strict=False):
        points = np.asarray(points)
        for digit in np.unique(labels):
            own = points[labels == digit]
            shape = "." if digit < 5 else "x"
            colour = PALETTE[colours[digit]]
            ax.scatter(*own.T, s=4, marker=shape, color=colour, linewidths=0.5, label=str(digit))
        for digit in np.unique(labels):
            ax.annotate(
                str(digit), np.median(points[labels == digit], 0), ha="center", va="center",
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
    for ax, (label, images), name, shown in zip(
        axes[:, 0], rows.items(), names, titled, strict=True
    ):
        pixels = math.isqrt(np.asarray(images).size // columns)  # on a side
        strip = np.concatenate(np.asarray(images).reshape(columns, pixels, pixels), axis=1)
        ax.imshow(strip, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        for place in (hatched or {}).get(label, ()):
            ax.add_patch(
                Rectangle(
                    (pixels * place, 0),
                    pixels - 1,
                    pixels - 1,
                    fill=False,
                    hatch="///",
                    edgecolor=PALETTE[1],
                )
            )
        if shown:
            ax.set_title(name, loc="left", pad=3)
        ax.axis("off")
    return figure


@styled
def points(
    groups: Mapping[str, Any], xlabel: str, ylabel: str, marks: tuple[float, float]
) -> Figure:
    """Groups of points, with a dotted line across each axis.

    Args:
        groups: label -> (N, 2).
        marks: where the lines are, on the horizontal and on the vertical axis.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.4))
    for i, (label, places) in enumerate(groups.items()):
        x, y = np.asarray(places, float).reshape(-1, 2).T
        face = PALETTE[i] if i % 2 == 0 else "none"
        ax.plot(x, y, SHAPES[i], color=PALETTE[i], markerfacecolor=face, label=label)
    ax.axvline(marks[0], color=INK, linewidth=0.8, linestyle=":")
    ax.axhline(marks[1], color=INK, linewidth=0.8, linestyle=":")
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    legend(figure, ax)
    return figure


@styled
def score_chart(
    names: Sequence[str],
    parameters: Sequence[int],
    mean: Any,
    spread: Any,
    ylabel: str,
    labelled: Collection[str] | None = None,
    pairs: Mapping[str, str] | None = None,
    log: str = "x",
) -> Figure:
    """A score against the number of parameters, a point a model, with error bars.

    Args:
        names: of the models; those that begin with "vae" have another colour and shape.
        mean, spread: (M,) of the score over seeds.
        labelled: the models whose names are written beside their points, all by default.
        pairs: model -> another, to which a line leads from it.
        log: the axes that are logarithmic.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 4.4))
    mean, spread = np.asarray(mean, float), np.asarray(spread, float)
    place = dict(zip(names, zip(parameters, mean, strict=True), strict=True))
    for first, second in (pairs or {}).items():
        if first in place and second in place:
            ends = np.array([place[first], place[second]]).T
            ax.plot(*ends, color=INK, linewidth=0.8, linestyle=":", zorder=1)
    for i, kind in enumerate(("KAN-VAE", "VAE")):
        own = [j for j, name in enumerate(names) if name.startswith("vae") == (kind == "VAE")]
        if own:
            ax.errorbar(
                np.asarray(parameters)[own], mean[own], spread[own], fmt=SHAPES[i], capsize=2,
                color=PALETTE[i], label=kind,
            )  # fmt: skip
    ax.set(**{f"{axis}scale": "log" for axis in log}, xlabel="parameters", ylabel=ylabel)
    ax.margins(x=0.12, y=0.08)
    plain_ticks(ax, log)
    legend(figure, ax)
    _write_names(figure, ax, {k: v for k, v in place.items() if labelled is None or k in labelled})
    return figure


def _write_names(figure: Figure, ax: Axes, places: Mapping[str, tuple[float, float]]) -> None:
    """Write names beside points, each where it covers the least."""
    figure.draw_without_rendering()  # settles the limits, on which the places depend
    figure.set_layout_engine("none")
    unit = figure.dpi / 72
    taken = []
    for line in ax.lines:
        points = ax.transData.transform(line.get_xydata())
        if line.get_marker() not in ("None", None, ""):
            taken += [Bbox.from_bounds(x - 4 * unit, y - 4 * unit, 8 * unit, 8 * unit)
                      for x, y in points]  # fmt: skip
    frame = ax.get_window_extent()
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        options: list[tuple[float, int, Any, Bbox]] = []
        for dx, dy in itertools.product((6, -6, 0), (0, 8, -8, 16, -16, 24, -24)):
            if dx == 0 and abs(dy) < 16:
                continue
            side = "left" if dx > 0 else "right" if dx < 0 else "center"
            text = ax.annotate(
                name, place, (dx, dy), textcoords="offset points", ha=side, va="center",
            )  # fmt: skip
            box = text.get_window_extent()
            cost = sum(_overlap(box, other) for other in taken)
            cost += 4 * (box.width * box.height - _overlap(box, frame))
            options.append((cost + 0.5 * unit**2 * (abs(dx) + abs(dy)), len(options), text, box))
        best = min(options)
        for option in options:
            if option is not best:
                option[2].remove()
        taken.append(best[3])


def _overlap(a: Bbox, b: Bbox) -> float:
    """The area that two boxes share."""
    both = Bbox.intersection(a, b)
    return both.width * both.height if both else 0.0


@styled
def intervals(groups: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> Figure:
    """Estimates with their intervals, a panel a group, with a line at zero.

    Args:
        groups: label of the axis -> name of a line -> (estimate, lower end, upper end), with the
            same lines in each; the ends may be nan.
    """
    names = list(next(iter(groups.values())))
    height = 1.1 + 0.3 * len(names)
    figure, axes = plt.subplots(1, len(groups), figsize=(WIDTH, height), sharey=True, squeeze=False)
    for ax, (label, values) in zip(axes[0], groups.items(), strict=True):
        for place, name in enumerate(names):
            middle, low, high = values[name]
            if np.isfinite(low):
                ax.plot([low, high], [place, place], color=PALETTE[0], linewidth=2)
            ax.plot(middle, place, "o", color=PALETTE[1])
        ax.axvline(0, color=INK, linewidth=1, linestyle=":")
        ax.xaxis.set_major_locator(plt.MaxNLocator(3))
        ax.set_xlabel("\n".join(textwrap.wrap(label, 15)))
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    return figure


@styled
def ratio_bars(ratios: Mapping[str, Mapping[str, float]], ylabel: str) -> Figure:
    """Groups of bars on a logarithmic axis, with a line at 1.

    Args:
        ratios: candidate -> group -> ratio, with the same groups for each candidate.
    """
    groups = list(next(iter(ratios.values())))
    figure, ax = plt.subplots(figsize=(WIDTH, 4.0))
    width = 0.85 / len(ratios)
    hatches = ("", "////", "....", "xxxx", "----", "\\\\\\\\")
    for i, (name, values) in enumerate(ratios.items()):
        places = np.arange(len(groups)) + (i - (len(ratios) - 1) / 2) * width
        ax.bar(
            places, [values[group] for group in groups], width, label=name, fill=False,
            edgecolor=PALETTE[i % len(PALETTE)], hatch=hatches[i % len(hatches)],
        )  # fmt: skip
    ax.axhline(1, color=INK, linewidth=1)
    ax.set(yscale="log", ylabel=ylabel)
    ax.set_xticks(range(len(groups)), [group.replace(", ", "\n") for group in groups])
    plain_ticks(ax, "y")
    legend(figure, ax)
    return figure

"""Figures of scores: what models cost and what they reach, and how sure that is."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from kanvae.figures.style import DASHES, INK, PALETTE, SHAPES, WIDTH, legend, plain_ticks, styled


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
        names: of the models; those that begin with "VAE" have another colour and shape.
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
        own = [j for j, name in enumerate(names) if name.startswith("VAE") == (kind == "VAE")]
        if own:
            ax.errorbar(
                np.asarray(parameters)[own], mean[own], spread[own], fmt=SHAPES[i], capsize=2,
                color=PALETTE[i], label=kind, zorder=3 - i, markersize=6 + 2 * i,
                markerfacecolor="none" if i else PALETTE[i],  # so that neither hides the other
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
    taken: list[Bbox] = []
    written: list[Bbox] = []
    for line in ax.lines:
        points = ax.transData.transform(line.get_xydata())
        if line.get_marker() not in ("None", None, ""):
            taken += [Bbox.from_bounds(x - 4 * unit, y - 4 * unit, 8 * unit, 8 * unit)
                      for x, y in points]  # fmt: skip
    frame = ax.get_window_extent()
    points = ax.transData.transform(list(places.values()))
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        options: list[tuple[float, int, Any, Bbox]] = []
        for dx, dy in itertools.product((6, -6, 0, 18, -18), range(-32, 40, 8)):
            if dx == 0 and abs(dy) < 16:
                continue
            side = "left" if dx > 0 else "right" if dx < 0 else "center"
            text = ax.annotate(
                name, place, (dx, dy), textcoords="offset points", ha=side, va="center",
            )  # fmt: skip
            box = text.get_window_extent()
            cost = sum(_overlap(box, other) for other in taken)
            cost += 10.0 * sum(_overlap(box, other) for other in written)  # then none is read
            cost += 4 * (box.width * box.height - _overlap(box, frame))
            own = _gap(box, ax.transData.transform(place))
            if min(_gap(box, point) for point in points) < own:
                cost += 2000 * unit**2  # it would seem to be another's
            options.append((cost + 0.5 * unit**2 * (abs(dx) + abs(dy)), len(options), text, box))
        best = min(options)
        for option in options:
            if option is not best:
                option[2].remove()
        if _gap(best[3], ax.transData.transform(place)) > 12 * unit:
            leader = {"arrowstyle": "-", "color": INK, "lw": 0.6, "shrinkA": 1, "shrinkB": 3}
            ax.annotate("", place, best[2].xyann, textcoords="offset points", arrowprops=leader)
        written.append(best[3])


def _gap(box: Bbox, point: Any) -> float:
    """How far a point is from a box."""
    outside = np.maximum([box.x0, box.y0] - point, point - [box.x1, box.y1])
    return float(np.hypot(*np.maximum(outside, 0)))


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
def by_size(
    panels: Mapping[str, Mapping[str, Any]], tops: Mapping[str, float] | None = None
) -> Figure:
    """Scores against the number of parameters, a panel a score, a line a kind of model.

    Args:
        panels: label of the axis -> label of a line -> (N, 3) of parameters, mean and spread.
        tops: label of an axis -> where it ends; what lies above is written at its end.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.4), squeeze=False)
    for ax, (label, lines) in zip(axes[0], panels.items(), strict=True):
        for i, (name, values) in enumerate(lines.items()):
            size, mean, spread = np.asarray(values, float).T
            ax.errorbar(
                size / 1000, mean, spread, marker=SHAPES[i], linestyle=DASHES[i], color=PALETTE[i],
                capsize=2, label=name,
            )  # fmt: skip
            top = (tops or {}).get(label, np.inf)
            for x, y in zip(size[mean > top], mean[mean > top], strict=True):
                ax.annotate(
                    f"↑ {y:.0f}", (x / 1000, top), (4, -2), textcoords="offset points", va="top",
                    color=PALETTE[i],
                )  # fmt: skip
        ax.set(xlabel="parameters, thousands", ylabel=label)
        ax.margins(x=0.1)
        ax.set_ylim(top=(tops or {}).get(label))
    legend(figure, axes[0, 0])
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

"""The book's figures: each function takes arrays and returns a matplotlib `Figure`.

One style for all: transparent background and mid-grey ink, which read on light and on dark pages,
and the colour-blind-safe palette of Okabe and Ito (2008).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

INK = "#808080"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE: Any = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.framealpha": 0.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=PALETTE),
    "axes.titlesize": "medium",
    "font.size": 10,
    "figure.dpi": 160,
    "figure.constrained_layout.use": True,
}
P = ParamSpec("P")


def _styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the book's style, without leaving the figure open in pyplot."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with plt.rc_context(STYLE):
            figure = draw(*args, **kwargs)
        plt.close(figure)  # a notebook shows the returned figure; it must not show it a second time
        return figure

    return wrapper


@_styled
def lines(
    x: Any,
    curves: Mapping[str, Any],
    xlabel: str,
    ylabel: str,
    marks: Sequence[float] = (),
    dashed: Sequence[str] = (),
    log: bool = False,
) -> Figure:
    """Curves over one axis.

    Args:
        x: (N,) positions, shared by all curves.
        curves: label -> (N,) values, or (N, n) for n curves in the palette's colours under one
            label.
        marks: positions of vertical dotted lines (knots, say).
        dashed: labels of curves to draw dashed.
        log: whether both axes are logarithmic.
    """
    figure, ax = plt.subplots(figsize=(7, 3))
    for mark in marks:
        ax.axvline(mark, color=INK, linewidth=0.7, linestyle=":")
    for label, values in curves.items():
        style = "--" if label in dashed else "-"
        drawn = ax.plot(x, np.asarray(values), style)
        drawn[0].set_label(label if label else "_")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        ax.set(xscale="log", yscale="log")
    if any(curves):
        ax.legend()
    return figure


@_styled
def bundles(x: Any, groups: Mapping[str, Sequence[Any]], xlabel: str, ylabel: str) -> Figure:
    """Groups of curves, each in one colour.

    Args:
        x: (N,) positions.
        groups: label -> curves, each of N values or fewer.
    """
    figure, ax = plt.subplots(figsize=(7, 3))
    places = np.asarray(x)
    for i, (label, curves) in enumerate(groups.items()):
        for j, values in enumerate(curves):
            drawn = places[: len(values)]
            ax.plot(drawn, values, ".-", color=PALETTE[i], linewidth=1, label="_" if j else label)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.xaxis.set_major_locator(plt.MaxNLocator(integer=True))
    ax.legend()
    return figure


@_styled
def front(groups: Mapping[str, Any], steps: Any, ylabel: str) -> Figure:
    """A score against the number of parameters, groups of points, and the front of both.

    Args:
        groups: label -> (N, 2) of parameters and score; an empty group is left out.
        steps: (M, 2) of the front, by rising number of parameters.
    """
    figure, ax = plt.subplots(figsize=(7, 3.4))
    ax.step(*np.asarray(steps, float).T, where="post", color=INK, linewidth=1, label="front")
    for i, (label, points) in enumerate(groups.items()):
        if len(points) == 0:
            continue
        shape = "os"[i % 2]
        ax.plot(*np.asarray(points, float).T, shape, color=PALETTE[i], markersize=6, label=label)
    ax.set(xscale="log", xlabel="parameters", ylabel=ylabel)
    ax.legend(fontsize="small")
    return figure


@_styled
def densities(
    edges: Any, panels: Mapping[str, Mapping[str, Any]], marks: Sequence[float]
) -> Figure:
    """Densities of values, a panel a model.

    Args:
        edges: (N + 1,) of the bins of a histogram.
        panels: title -> label -> (N,) densities, with the same labels in each.
        marks: positions of vertical dotted lines.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(7, 2.9), sharey=True, squeeze=False)
    middles = (np.asarray(edges)[1:] + np.asarray(edges)[:-1]) / 2
    for ax, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for mark in marks:
            ax.axvline(mark, color=INK, linewidth=0.7, linestyle=":")
        for label, values in curves.items():
            ax.plot(middles, values, label=label)
        ax.set(title=title, xlabel="input of the layer")
    axes[0, 0].set_ylabel("density")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="small")
    return figure


@_styled
def control_curves(panels: Mapping[str, tuple[Any, Any]], joints: Any = None) -> Figure:
    """Plane curves beside each other, each with its control polygon.

    Args:
        panels: title -> (control points (n, 2), curve (N, 2)).
        joints: title -> (J, 2) points of the curve where its pieces join, or None.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(7, 2.8), sharex=True, sharey=True, squeeze=False
    )
    for ax, (title, (points, curve)) in zip(axes[0], panels.items(), strict=True):
        points, curve = np.asarray(points), np.asarray(curve)
        ax.plot(
            *points.T, "o--", color=PALETTE[1], linewidth=0.8, markersize=5, label="control points"
        )
        ax.plot(*curve.T, color=PALETTE[0], linewidth=2, label="curve")
        if joints is not None:
            ax.plot(*np.asarray(joints[title]).T, "|", color=INK, markersize=12, label="joints")
        ax.set(title=title, xlabel="first coordinate", aspect="equal")
    axes[0, 0].set_ylabel("second coordinate")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="small")
    return figure


@_styled
def networks(widths: Sequence[int], curves: Any) -> Figure:
    """An MLP and a KAN of the same widths: numbers or functions on the edges (Figures 2, 3).

    Args:
        widths: nodes a layer, from the inputs to the outputs.
        curves: (E, N) one curve for each edge, taken in turn.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.4))
    columns = [[(layer, (i + 0.5) / n) for i in range(n)] for layer, n in enumerate(widths)]
    pairs = list(itertools.pairwise(columns))
    edges = [(a, b) for left, right in pairs for b in right for a in left]
    for ax, title in zip(
        axes, ("MLP: a number on every edge", "KAN: a function on every edge"), strict=True
    ):
        is_kan = title.startswith("KAN")
        ink = {"color": PALETTE[0] if is_kan else INK, "alpha": 0.5 if is_kan else 1.0}
        for i, (a, b) in enumerate(edges):
            ax.plot(*zip(a, b, strict=True), linewidth=0.8, zorder=1, **ink)
            if (
                is_kan
            ):  # each source has its own place along its edges, so that the boxes keep clear
                at = 0.2 + 0.6 * a[1]
                _thumbnail(ax, (a[0] + at, a[1] + at * (b[1] - a[1])), curves[i % len(curves)])
        for layer, column in enumerate(columns):
            for x, y in column:
                ax.plot(x, y, "o", color=PALETTE[1], markersize=13, zorder=3)
                inner = (
                    "+"
                    if is_kan and layer
                    else (r"$\sigma$" if 0 < layer < len(widths) - 1 else "")
                )
                ax.annotate(inner, (x, y), color="white", ha="center", va="center", zorder=4)
        ax.set(title=title, xlim=(-0.2, len(widths) - 0.8), ylim=(0, 1))
        ax.axis("off")
    return figure


def _thumbnail(ax: Axes, centre: tuple[float, float], curve: Any) -> None:
    box = (centre[0] - 0.1, centre[1] - 0.05, 0.2, 0.1)
    inset = ax.inset_axes(box, transform=ax.transData, zorder=2)
    inset.plot(np.asarray(curve), color=PALETTE[2], linewidth=1.6)
    inset.set(xticks=[], yticks=[])
    for spine in inset.spines.values():
        spine.set(visible=True, linewidth=0.6)


@_styled
def vae_schematic(pixels: int, hidden: int, latent: int) -> Figure:
    """The auto-encoder of the paper's Figure 1, with the widths of one architecture."""
    figure, ax = plt.subplots(figsize=(7, 2.5))
    boxes = {
        "x": (0.0, 0.5, f"$x$\n{pixels} pixels", INK),
        "h": (1.35, 0.5, f"hidden\n{hidden}", PALETTE[0]),
        "m": (2.7, 0.8, f"mean $\\mu$\n{latent}", PALETTE[0]),
        "v": (2.7, 0.2, f"log-variance $s$\n{latent}", PALETTE[0]),
        "z": (4.2, 0.5, f"latent $z$\n{latent}", PALETTE[1]),
        "e": (4.2, 0.05, r"noise $\epsilon$", INK),
        "d": (5.55, 0.5, f"hidden\n{hidden}", PALETTE[2]),
        "y": (6.9, 0.5, f"logits\n{pixels}", PALETTE[2]),
    }
    for a, b in ("xh", "hm", "hv", "mz", "vz", "ez", "zd", "dy"):
        (x0, y0), (x1, y1) = boxes[a][:2], boxes[b][:2]
        ax.annotate(
            "",
            (x1, y1),
            (x0, y0),
            arrowprops={"arrowstyle": "->", "color": INK, "shrinkA": 29, "shrinkB": 29},
        )
    for x, y, text, colour in boxes.values():
        box = FancyBboxPatch(
            (x - 0.5, y - 0.11), 1.0, 0.22, boxstyle="round,pad=0.04", fc="none", ec=colour
        )
        ax.add_patch(box)
        ax.text(x, y, text, ha="center", va="center", fontsize="small")
    for x, text in ((1.35, "encoder $q(z|x)$"), (6.2, "decoder $p(x|z)$")):
        ax.text(x, 1.05, text, ha="center", fontsize="medium")
    ax.set(xlim=(-0.7, 7.6), ylim=(-0.15, 1.15))
    ax.axis("off")
    return figure


@_styled
def learning_curves(
    histories: Mapping[str, Any],
    ends: Mapping[str, tuple[float, float]] | None = None,
    smooth: int = 50,
) -> Figure:
    """Reconstruction and KL at every weight update, a panel a model (the paper's Figure 6).

    Args:
        histories: title -> a run's history (`runs.Run.history`), or None for a run that is not
            there: its panel says so.
        ends: title -> the paper's end values, drawn as dashed lines, if given.
        smooth: updates in the running mean drawn over the raw values.
    """
    width = 7 if len(histories) > 1 else 6
    figure, axes = plt.subplots(1, len(histories), figsize=(width, 2.8), sharey=True, squeeze=False)
    for ax, (title, history) in zip(axes[0], histories.items(), strict=True):
        ax.set(title=title, xlabel="weight updates", ylim=(0, 300))
        if history is None:
            ax.text(0.5, 0.5, "missing", transform=ax.transAxes, ha="center")
            ax.set_xticks([])
            continue
        for i, (field, label) in enumerate((("reconstruction", "reconstruction"), ("kl", "KL"))):
            values = history[field]
            window = min(smooth, len(values))
            mean = np.convolve(values, np.ones(window) / window, "valid")
            ax.plot(history["update"], values, color=PALETTE[i], alpha=0.3, linewidth=0.5)
            ax.plot(history["update"][window - 1 :], mean, color=PALETTE[i], label=label)
            if ends:
                ax.axhline(ends[title][i], color=PALETTE[i], linestyle="--", linewidth=0.8)
        kind = "validation" if "validation_kl" in history.dtype.names else "test"
        tested = history[np.isfinite(history[f"{kind}_kl"])]
        for i, field in enumerate((f"{kind}_reconstruction", f"{kind}_kl")):
            label = f"the same, {kind} set" if i == 0 else "_"
            ax.plot(
                tested["update"], tested[field], "o", color=PALETTE[i], markersize=4, label=label
            )
        ax.xaxis.set_major_locator(plt.MaxNLocator(4))
    axes[0, 0].set_ylabel("nats per image")
    drawn = [ax for ax in axes[0] if ax.lines]
    if drawn:
        drawn[-1].legend(fontsize="small")
    return figure


@_styled
def scatter_digits(panels: Mapping[str, Any], labels: Any) -> Figure:
    """Points in the plane, coloured by digit, a panel a model (the paper's Figure 7).

    Args:
        panels: title -> (N, 2) points.
        labels: (N,) digits.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(7, 2.9), squeeze=False)
    for ax, (title, points) in zip(axes[0], panels.items(), strict=True):
        drawn = ax.scatter(*np.asarray(points).T, c=labels, s=2, cmap="tab10", vmin=-0.5, vmax=9.5)
        ax.set(title=title, xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set_visible(True)
    bar = figure.colorbar(drawn, ax=axes[0].tolist(), ticks=range(10), label="digit", pad=0.01)
    bar.outline.set_visible(False)
    return figure


@_styled
def image_rows(rows: Mapping[str, Any]) -> Figure:
    """Rows of digits, each with a label (the paper's Figures 8 and 9).

    Args:
        rows: label -> (n, 784) images in [0, 1], the same number in every row.
    """
    columns = len(next(iter(rows.values())))
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(7, 7 / (columns + 3) * len(rows) + 0.1), squeeze=False
    )
    for ax, (label, images) in zip(axes[:, 0], rows.items(), strict=True):
        strip = np.asarray(images).reshape(columns, 28, 28).transpose(1, 0, 2).reshape(28, -1)
        ax.imshow(strip, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set_ylabel(label.split("#")[0], rotation=0, ha="right", va="center")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return figure


@_styled
def score_chart(
    names: Sequence[str],
    parameters: Sequence[int],
    mean: Any,
    spread: Any,
    ylabel: str,
    labelled: Collection[str] | None = None,
) -> Figure:
    """A score against the number of parameters, a point a model, with error bars.

    Args:
        names: of the models; those that begin with "vae" are drawn in another colour.
        mean, spread: (M,) of the score over seeds.
        labelled: the models whose names are written beside their points, all by default.
    """
    figure, ax = plt.subplots(figsize=(7, 3.4))
    mean, spread = np.asarray(mean), np.asarray(spread)
    for i, name in enumerate(names):
        colour = PALETTE[1] if name.startswith("vae") else PALETTE[0]
        ax.errorbar(
            parameters[i], mean[i], spread[i], fmt="o", color=colour, capsize=3, markersize=5
        )
    ax.set(xscale="log", xlabel="parameters", ylabel=ylabel)
    ax.margins(x=0.15, y=0.1)
    figure.draw_without_rendering()  # settles the limits, on which the places of the labels depend
    points = ax.transAxes.inverted().transform(
        ax.transData.transform(np.column_stack([parameters, mean]))
    )
    taken = [(x - 0.01, x + 0.01, y - 0.02, y + 0.02) for x, y in points]
    for name, (x, y) in zip(names, points, strict=True):
        if labelled is not None and name not in labelled:
            continue
        width, height = 0.013 * len(name), 0.06
        sides = (0.015, -0.015 - width)
        places = [(side, up) for up in (0.01, -0.07, 0.08, -0.14) for side in sides]
        boxes = [(x + dx, x + dx + width, y + dy, y + dy + height) for dx, dy in places]
        box = min(boxes, key=lambda box: sum(_overlap(box, other) for other in taken))
        taken.append(box)
        ax.text(box[0], box[2], name, transform=ax.transAxes, fontsize="small")
    return figure


@_styled
def intervals(groups: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> Figure:
    """Estimates with their intervals, a panel a group, with a line at zero.

    Args:
        groups: label of the axis -> name of a line -> (estimate, lower end, upper end), with the
            same lines in each; the ends may be nan.
    """
    names = list(next(iter(groups.values())))
    height = 0.6 + 0.32 * len(names)
    figure, axes = plt.subplots(1, len(groups), figsize=(7, height), sharey=True, squeeze=False)
    for ax, (label, values) in zip(axes[0], groups.items(), strict=True):
        for place, name in enumerate(names):
            middle, low, high = values[name]
            if np.isfinite(low):
                ax.plot([low, high], [place, place], color=PALETTE[0], linewidth=2)
            ax.plot(middle, place, "o", color=PALETTE[1], markersize=5)
        ax.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        ax.set_xlabel(label)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    return figure


@_styled
def ratio_bars(ratios: Mapping[str, Mapping[str, float]], ylabel: str) -> Figure:
    """Groups of bars on a logarithmic axis, with a line at 1.

    Args:
        ratios: candidate -> group -> ratio, with the same groups for each candidate.
    """
    groups = list(next(iter(ratios.values())))
    figure, ax = plt.subplots(figsize=(7, 3.6))
    width = 0.85 / len(ratios)
    for i, (name, values) in enumerate(ratios.items()):
        places = np.arange(len(groups)) + (i - (len(ratios) - 1) / 2) * width
        colour = PALETTE[i] if i < len(PALETTE) else str(0.25 + 0.5 * (i % 2))
        ax.bar(places, [values[group] for group in groups], width, label=name, color=colour)
    ax.axhline(1, color=INK, linewidth=1)
    ax.set(yscale="log", ylabel=ylabel)
    ax.set_xticks(range(len(groups)), groups)
    ax.yaxis.set_major_formatter("{x:g}")
    figure.legend(loc="outside upper center", ncols=4, fontsize="small")
    return figure


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two boxes (left, right, bottom, top) meet."""
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]

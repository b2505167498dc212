"""Diagrams of the book: curves with their control points, networks, the auto-encoder."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from kanvae.figures.style import INK, PALETTE, TEXT, WIDTH, styled


@styled
def control_curves(panels: Mapping[str, tuple[Any, Any]], joints: Any = None) -> Figure:
    """Plane curves beside each other, each with its control polygon.

    Args:
        panels: title -> (control points (n, 2), curve (N, 2)).
        joints: title -> (J, 2) points of the curve where its pieces join, or None.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(WIDTH, 3.0), sharex=True, sharey=True, squeeze=False
    )
    for ax, (title, (points, curve)) in zip(axes[0], panels.items(), strict=True):
        points, curve = np.asarray(points), np.asarray(curve)
        ax.plot(*points.T, "o--", color=PALETTE[1], linewidth=1, label="control points")
        ax.plot(*curve.T, color=PALETTE[0], linewidth=2, label="curve")
        if joints is not None:
            ax.plot(*np.asarray(joints[title]).T, "|", color=INK, markersize=12, label="joints")
        ax.set(title=title, xlabel="first coordinate", aspect="equal")
    axes[0, 0].set_ylabel("second coordinate")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


@styled
def networks(widths: Sequence[int], curves: Any) -> Figure:
    """An MLP and a KAN of the same widths: numbers or functions on the edges (Figures 2, 3).

    Args:
        widths: nodes a layer, from the inputs to the outputs.
        curves: (E, N) one curve for each edge, taken in turn.
    """
    figure, axes = plt.subplots(2, 1, figsize=(WIDTH, 6.4))
    columns = [[(layer, (i + 0.5) / n) for i in range(n)] for layer, n in enumerate(widths)]
    pairs = list(itertools.pairwise(columns))
    edges = [(a, b) for left, right in pairs for b in right for a in left]
    titles = ("MLP: a number on every edge", "KAN: a function on every edge")
    for ax, title in zip(axes, titles, strict=True):
        is_kan = title.startswith("KAN")
        for i, (a, b) in enumerate(edges):
            colour = PALETTE[0] if is_kan else INK
            ax.plot(*zip(a, b, strict=True), linewidth=1, zorder=1, color=colour)
            if is_kan:  # where the edges have parted, so that the boxes keep clear of each other
                at = 0.33
                _thumbnail(ax, (a[0] + at, a[1] + at * (b[1] - a[1])), curves[i % len(curves)])
        for layer, column in enumerate(columns):
            is_hidden = 0 < layer < len(widths) - 1
            inner = "+" if is_kan and layer else r"$\sigma$" if is_hidden and not is_kan else ""
            for x, y in column:
                ax.plot(x, y, "o", color=PALETTE[1], markersize=16, zorder=3)
                ax.annotate(
                    inner, (x, y), color="white", ha="center", va="center", zorder=4, fontsize=TEXT
                )
        ax.set(title=title, xlim=(-0.2, len(widths) - 0.8), ylim=(0, 1))
        ax.axis("off")
    return figure


def _thumbnail(ax: Axes, centre: tuple[float, float], curve: Any) -> None:
    box = (centre[0] - 0.1, centre[1] - 0.042, 0.2, 0.084)
    inset = ax.inset_axes(box, transform=ax.transData, zorder=2, facecolor="white")
    inset.plot(np.asarray(curve), color=PALETTE[2], linewidth=1.6)
    inset.set(xticks=[], yticks=[])
    for spine in inset.spines.values():
        spine.set(visible=True, linewidth=0.8)


@styled
def graphs(panels: Mapping[str, tuple[Any, Any, Any]]) -> Figure:
    """Images with graphs drawn over them, a panel each.

    Args:
        panels: title -> (image (H, W) from 0 to 1, places of the nodes (S, 2) in pixels, x first,
            edges (2, E) whole numbers).
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 0.5 + WIDTH / len(panels)))
    for ax, (title, (image, places, edges)) in zip(
        np.atleast_1d(axes), panels.items(), strict=True
    ):
        ax.imshow(1 - np.asarray(image), cmap="gray", vmin=-0.6, vmax=1)  # pale, under the graph
        x, y = np.asarray(places).T
        ax.plot(x[np.asarray(edges)], y[np.asarray(edges)], color=PALETTE[0], linewidth=0.8)
        ax.plot(x, y, "o", color=PALETTE[1], markersize=4)
        ax.set(title=title)
        ax.axis("off")
    return figure


@styled
def vae_schematic(pixels: int, hidden: int, latent: int) -> Figure:
    """The auto-encoder of the paper's Figure 1, with the widths of one architecture."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.2))
    boxes = {
        "x": (0.0, 0.5, f"$x$\n{pixels}\npixels", INK),
        "h": (1.25, 0.5, f"hidden\n{hidden}", PALETTE[0]),
        "m": (2.5, 0.85, f"mean $\\mu$\n{latent}", PALETTE[0]),
        "v": (2.5, 0.15, f"log-\nvariance\n$s$, {latent}", PALETTE[0]),
        "z": (3.75, 0.5, f"latent $z$\n{latent}", PALETTE[1]),
        "e": (3.75, 0.0, "noise $\\epsilon$", INK),
        "d": (5.0, 0.5, f"hidden\n{hidden}", PALETTE[2]),
        "y": (6.25, 0.5, f"logits\n{pixels}", PALETTE[2]),
    }
    drawn = {}
    for key, (x, y, text, colour) in boxes.items():
        half = 0.06 + 0.045 * text.count("\n")
        drawn[key] = FancyBboxPatch(
            (x - 0.42, y - half), 0.84, 2 * half, boxstyle="round,pad=0.05", fc="none", ec=colour
        )
        ax.add_patch(drawn[key])
        ax.text(x, y, text, ha="center", va="center")
    for a, b in ("xh", "hm", "hv", "mz", "vz", "ez", "zd", "dy"):
        arrow = {"arrowstyle": "->", "color": INK, "patchA": drawn[a], "patchB": drawn[b]}
        ax.annotate("", boxes[b][:2], boxes[a][:2], arrowprops=arrow)
    for x, text in ((1.25, "encoder $q(z|x)$"), (5.6, "decoder $p(x|z)$")):
        ax.text(x, 1.08, text, ha="center")
    ax.set(xlim=(-0.52, 6.78), ylim=(-0.15, 1.2))
    ax.axis("off")
    return figure

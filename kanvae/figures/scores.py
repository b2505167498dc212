"""Figures of scores: what models cost and what they reach, and how sure that is."""

from __future__ import annotations

import functools
import itertools
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D, Bbox

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
    _write_names(figure, ax, place, [n for n in names if labelled is None or n in labelled])
    return figure


@dataclass(eq=False)
class _Spot:
    """A place for a name, and what it costs to write it there; lengths are in points."""

    cost: float
    shift: Any  # (2,) from the point
    box: Bbox
    leader: Any  # (N, 2) from the box to the point, empty if the name stands beside it

    @functools.cached_property  # of the hundreds for each name, few come so far that it counts
    def ink(self) -> Any:
        """(M, 2) around the box and along the leader."""
        return np.concatenate([_along(self.box.corners()[[0, 1, 3, 2, 0]]), self.leader])


def _write_names(
    figure: Figure, ax: Axes, places: Mapping[str, tuple[float, float]], names: Collection[str]
) -> None:
    """Write names near their points, where they and their leaders cross the least.

    Args:
        places: of all points, with or without a name.
    """
    figure.draw_without_rendering()  # settles the limits, on which the places depend
    figure.set_layout_engine("none")
    scale = Affine2D().scale(72 / figure.dpi)
    points = (ax.transData + scale).transform(list(places.values()))
    at = dict(zip(places, points, strict=True))
    frame = ax.get_window_extent().transformed(scale)
    drawn = _drawn(ax, scale)
    texts = [
        ax.annotate(name, places[name], (0, 0), textcoords="offset points", va="center")
        for name in names
    ]
    spots = []
    for name, text in zip(names, texts, strict=True):
        box = text.get_window_extent().transformed(scale)
        rivals = np.reshape([point for other, point in at.items() if other != name], (-1, 2))
        spots.append(_spots(box, at[name], rivals, frame, drawn))
    best = _together(spots)
    style = {"arrowstyle": "-", "color": INK, "lw": 0.6, "shrinkA": 0, "shrinkB": 4}
    for i, (name, text) in enumerate(zip(names, texts, strict=True)):
        spot = best[i]
        text.xyann = spot.shift
        if len(spot.leader):
            start = spot.leader[0] - at[name]
            ax.annotate("", text.xy, start, textcoords="offset points", arrowprops=style)


def _together(spots: Sequence[Sequence[_Spot]]) -> dict[int, _Spot]:
    """A spot for each name, by index, such that they cost little together.

    One name after another takes its cheapest spot, which depends on the order. So some names are
    taken up and placed anew, many times, and the best choice is kept.
    """
    rng = np.random.default_rng(0)
    least, best = np.inf, dict[int, _Spot]()
    for _ in range(40):
        order = rng.permutation(len(spots))
        chosen = {i: best[i] for i in order[4:] if i in best}
        costs = {}
        for i in [*order, *order]:
            inks = [spot.ink for j, spot in chosen.items() if j != i]
            others = np.concatenate([np.empty((0, 2)), *inks])
            costs[i] = np.inf
            for spot in spots[i]:
                if spot.cost >= costs[i]:  # and so are all that follow
                    break
                cost = spot.cost + _crossed(spot.box, spot.leader, others)
                if cost < costs[i]:
                    costs[i], chosen[i] = cost, spot
        if sum(costs.values()) < least:
            least, best = sum(costs.values()), chosen
    return best


def _spots(box: Bbox, point: Any, rivals: Any, frame: Any, drawn: Any) -> list[_Spot]:
    """The spots for a name, the cheapest first, as if it were the only name.

    Args:
        box: of the name where it would be without a shift.
        rivals: (N, 2), the points that are not its own.
        drawn: (M, 2), what it should not cross.
    """
    spots = []
    begin, end = frame.min, frame.max
    beside = (7, 12, 18, 26, 36)
    above = (-share * box.width for share in (0.25, 0.5, 0.75))
    across = (*beside, *above, *(-dx - box.width for dx in beside))
    for shift in itertools.product(across, range(-60, 61, 4)):
        own = box.translated(*shift).padded(2)
        low, high = own.min, own.max
        near = np.clip(point, low, high)
        gap = np.hypot(*(near - point))
        rival = np.hypot(*(np.clip(rivals, low, high) - rivals).T).min(initial=np.inf)
        outside = (np.maximum(begin - low, 0) + np.maximum(high - end, 0)).sum()
        cost = gap + 0.3 * abs(shift[1]) + 100 * outside
        if gap > 10 or rival < gap - 1:
            leader = _along([near, point + (near - point) * min(1, 8 / gap)])
            cost += 10
        else:
            leader = np.empty((0, 2))
            cost += max(0, gap + 4 - rival)  # it might be the rival's name
        cost += _crossed(own, leader, drawn)
        spots.append(_Spot(cost, shift, own, leader))
    return sorted(spots, key=lambda spot: spot.cost)


def _drawn(ax: Axes, scale: Affine2D) -> Any:
    """Points on lines, marks and bars, so close that no name fits between them."""
    found = []
    for line in ax.lines:
        path: Any = line.get_path().transformed(line.get_transform() + scale).vertices
        if line.get_linestyle() != "None":
            found.append(_along(path))
        if line.get_marker() in SHAPES:  # the caps of bars lie within the padding of names
            half = line.get_markersize() / 2
            found += [place + half * np.array([*itertools.product((-1, 0, 1), repeat=2)])
                      for place in path]  # fmt: skip
    for bars in ax.collections:
        to_points = bars.get_transform() + scale
        found += [_along(path.transformed(to_points).vertices) for path in bars.get_paths()]
    return np.concatenate(found)


def _crossed(box: Bbox, leader: Any, points: Any) -> float:
    """What it costs that some of the points lie in a name's box or on its leader."""
    crossed = np.sum(_within(points, box.min, box.max))
    if len(leader):
        near = points[_within(points, leader.min(0) - 2.2, leader.max(0) + 2.2)]
        crossed += np.sum(np.hypot(*(leader[:, None] - near).T) < 2.2)
    return 50.0 * float(crossed)


def _within(points: Any, low: Any, high: Any) -> Any:
    """Which of the points (N, 2) lie between two corners (2,)."""
    x, y = points.T
    return (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])


def _along(corners: Any) -> Any:
    """Points at most 3 apart on the lines from corner to corner."""
    steps = [
        np.linspace(a, b, 2 + int(np.hypot(*(b - a)) / 3)) for a, b in itertools.pairwise(corners)
    ]
    return np.concatenate(steps)


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
        again, colour = divmod(i, len(PALETTE))  # a second round of colours has other hatches
        ax.bar(
            places, [values[group] for group in groups], width, label=name, fill=False,
            edgecolor=PALETTE[colour], hatch=hatches[(colour + again) % len(hatches)],
        )  # fmt: skip
    ax.axhline(1, color=INK, linewidth=1)
    ax.set(yscale="log", ylabel=ylabel)
    ax.set_xticks(range(len(groups)), [group.replace(", ", "\n") for group in groups])
    plain_ticks(ax, "y")
    legend(figure, ax)
    return figure

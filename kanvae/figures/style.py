"""One style for all figures of the book.

A figure has a white ground of its own, so that it reads wherever a notebook shows it; the book's
dark pages invert it (`book/_static/book.css`). Ink, palette and sizes are such that text has a
contrast of 4.5 and lines of 3 on both grounds, and that a phone shows text of 9 pixels. What a
colour tells, a shape or a dash tells too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 5.6  # inches, of every figure
TEXT = 10.5  # points: 358 pixels of a phone show WIDTH inches
INK = "#333333"
PALETTE = ("#1667D0", "#DB4A00", "#14503A", "#7F1070", "#968A40", "#4E9AA0")
SHAPES = ("o", "s", "^", "D", "v", "P")
DASHES: Any = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 3)))
STYLE: Any = {
    "figure.facecolor": "white",
    "axes.facecolor": "none",
    "savefig.facecolor": "white",
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
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "legend.fontsize": TEXT,
    "legend.title_fontsize": TEXT,
    "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT,
    "lines.markersize": 5,
    "figure.dpi": 200,
    "figure.constrained_layout.use": True,
}
P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the book's style, without leaving the figure open in pyplot."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with plt.rc_context(STYLE):
            figure = draw(*args, **kwargs)
        plt.close(figure)  # a notebook shows the returned figure; it must not show it a second time
        return figure

    return wrapper


def plain_ticks(ax: Axes, axes: str) -> None:
    """Numbers in full on logarithmic axes: a power's exponent is too small for a phone."""
    for letter in axes:
        axis = getattr(ax, f"{letter}axis")
        low, high = axis.get_view_interval()
        steps = (1.0,) if high / low > 100 else (1.0, 2.0, 5.0)
        axis.set_major_locator(plt.LogLocator(subs=steps))
        unit, name = (1e6, " M") if high >= 1e6 else (1, "")
        axis.set_major_formatter(functools.partial(_in_full, unit, name))
        axis.set_minor_formatter(plt.NullFormatter())


def _in_full(unit: float, name: str, value: float, position: int) -> str:
    return f"{value / unit:,.6g}{name}"


def legend(figure: Figure, ax: Axes, columns: int = 2) -> None:
    """The legend outside the axes, where it covers nothing."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=min(columns, len(labels)), frameon=False
    )

import inspect

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from kanvae import figures
from kanvae.studies import paper

RNG = np.random.default_rng(0)
POINTS, CURVE = RNG.normal(size=(6, 2)), RNG.normal(size=(50, 2))

CALLS = {
    "lines": lambda run: figures.lines(
        np.arange(1, 9), {"a": np.arange(1, 9), "b": np.ones((8, 2))}, "x", "y", [2.0], ["a"], True
    ),
    "bundles": lambda run: figures.bundles(
        [1, 2, 3], {"a": [[1, 2, 3], [2, 3]], "b": [[3, 2, 1]]}, "epoch", "ELBO"
    ),
    "front": lambda run: figures.front(
        {"a": [[10, 3.0], [20, 1.0]], "b": np.empty((0, 2))}, [[10, 3.0], [20, 1.0]], "NLL"
    ),
    "densities": lambda run: figures.densities(
        np.arange(9), {"a": {"z": np.arange(8)}, "b": {"z": np.ones(8)}}, [1.0, 2.0]
    ),
    "control_curves": lambda run: figures.control_curves(
        {"before": (POINTS, CURVE), "after": (POINTS, CURVE)}, {"before": CURVE, "after": CURVE}
    ),
    "networks": lambda run: figures.networks([2, 3, 1], RNG.normal(size=(9, 20))),
    "vae_schematic": lambda run: figures.vae_schematic(784, 400, 20),
    "learning_curves": lambda run: figures.learning_curves(
        {"VAE": run.history, "KAN-VAE*": run.history}, paper.FIGURE_6_ENDS
    ),
    "scatter_digits": lambda run: figures.scatter_digits(
        {"a": RNG.normal(size=(30, 2))}, RNG.integers(0, 10, 30)
    ),
    "image_rows": lambda run: figures.image_rows({"input#0": RNG.random((16, 784))}),
    "intervals": lambda run: figures.intervals(
        {"NLL": {"a": (1.0, 0.5, 1.5), "b": (2.0, np.nan, np.nan)}}
    ),
    "ratio_bars": lambda run: figures.ratio_bars(
        {f"layer {i}": {"784→35": 0.1 + i, "400→784": 2.0} for i in range(8)}, "ratio"
    ),
    "score_chart": lambda run: figures.score_chart(
        ["vae-400-20", "kan-35-15"], [10_000, 5_000], [1.0, 2.0], [0.1, 0.2], "score"
    ),
}


def public_figures():
    return {
        name
        for name, value in inspect.getmembers(figures, inspect.isfunction)
        if value.__module__ == figures.__name__ and not name.startswith("_")
    }


def test_every_figure_is_tested_here():
    assert public_figures() == CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_figure_is_returned_transparent_and_not_left_open(name, trained_run):
    settings = dict(plt.rcParams)
    figure = CALLS[name](trained_run)
    assert isinstance(figure, Figure)
    assert figure.get_facecolor()[3] == 0
    assert all(ax.get_facecolor()[3] == 0 or not ax.axison for ax in figure.axes)
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == settings  # importing and drawing change no global style
    figure.canvas.draw()


@pytest.mark.parametrize("name", ["lines", "learning_curves", "score_chart", "bundles", "front"])
def test_axes_are_labelled(name, trained_run):
    figure = CALLS[name](trained_run)
    assert all(ax.get_xlabel() for ax in figure.axes)
    assert figure.axes[0].get_ylabel()


def test_learning_curves_that_are_not_there_are_shown_as_missing(trained_run):
    figure = figures.learning_curves({"VAE": None, "KAN-VAE": trained_run.history})
    missing, drawn = figure.axes
    assert [text.get_text() for text in missing.texts] == ["missing"]
    assert drawn.lines
    assert not drawn.texts
    figures.learning_curves({"VAE": None}).canvas.draw()


def contrast(a: str, b: str) -> float:
    """The contrast ratio of two colours, as the Web Content Accessibility Guidelines define it."""

    def luminance(colour):
        rgb = np.array(plt.matplotlib.colors.to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_ink_reads_on_light_and_on_dark_pages():
    assert contrast(figures.INK, "#ffffff") > 3.5
    assert contrast(figures.INK, "#14181e") > 3.5  # the theme's dark ground

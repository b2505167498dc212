import inspect
import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from kanvae import Architecture, figures
from kanvae.figures import diagrams, scores, style
from kanvae.studies import paper, results, sizes

RNG = np.random.default_rng(0)
POINTS, CURVE = RNG.normal(size=(6, 2)), RNG.normal(size=(50, 2))

CALLS = {
    "lines": lambda run: figures.lines(
        np.arange(1, 9), {"a": np.arange(1, 9), "b": np.ones((8, 2))}, "x", "y", [2.0], ["a"], "xy"
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
    "control_curves": lambda run: diagrams.control_curves(
        {"before": (POINTS, CURVE), "after": (POINTS, CURVE)}, {"before": CURVE, "after": CURVE}
    ),
    "networks": lambda run: diagrams.networks([2, 3, 1], RNG.normal(size=(9, 20))),
    "vae_schematic": lambda run: diagrams.vae_schematic(784, 400, 20),
    "graphs": lambda run: diagrams.graphs(
        {
            name: (RNG.random((9, 9)), 9 * RNG.random((4, 2)), [[0, 1, 2], [1, 2, 3]])
            for name in "ab"
        }
    ),
    "learning_curves": lambda run: figures.learning_curves(
        {"VAE": run.history, "KAN-VAE*": run.history}, paper.FIGURE_6_ENDS
    ),
    "scatter_digits": lambda run: figures.scatter_digits(
        {name: RNG.normal(size=(30, 2)) for name in "abc"}, np.arange(30) % 10
    ),
    "image_rows": lambda run: figures.image_rows(
        {"input#0": RNG.random((16, 784))}, {"input#0": [0, 15]}
    ),
    "points": lambda run: figures.points(
        {"sure": RNG.random((9, 2)), "weak": [[0.5, 0.5]]}, "index", "rank", (0.5, 0.7)
    ),
    "intervals": lambda run: figures.intervals(
        {"NLL": {"a": (1.0, 0.5, 1.5), "b": (2.0, np.nan, np.nan)}}
    ),
    "by_size": lambda run: figures.by_size(
        {
            "NLL": {"ReLU": [(300_000, 89.0, 0.3), (650_000, 88.0, 0.2)], "SiLU": [(9, 8, 7)]},
            "distance": {"ReLU": [(300_000, 400.0, 9.0)]},
        }
    ),
    "ratio_bars": lambda run: figures.ratio_bars(
        {f"layer {i}": {"784→35": 0.1 + i, "400→784": 2.0} for i in range(8)}, "ratio"
    ),
    "score_chart": lambda run: figures.score_chart(
        ["VAE, 400–20", "KAN-VAE**, 35–15", "VAE, 350–15"],
        [10_000, 5_000, 5_000],
        [1.0, 2.0, 1.5],
        [0.1, 0.2, 0.1],
        "score",
        pairs={"KAN-VAE**, 35–15": "VAE, 350–15", "KAN-VAE, 1–1": "VAE, 10–1"},
        log="xy",
    ),
}


def public_figures():
    return {
        name
        for module in (figures, scores, diagrams)
        for name, value in inspect.getmembers(module, inspect.isfunction)
        if value.__module__ == module.__name__ and not name.startswith("_")
    }


def test_every_figure_is_tested_here():
    assert public_figures() == CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_figure_is_returned_on_white_and_not_left_open(name, trained_run):
    settings = dict(plt.rcParams)
    figure = CALLS[name](trained_run)
    assert isinstance(figure, Figure)
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == settings  # importing and drawing change no global style
    figure.draw_without_rendering()


@pytest.mark.parametrize("name", ["lines", "learning_curves", "score_chart", "bundles", "front"])
def test_axes_are_labelled(name, trained_run):
    figure = CALLS[name](trained_run)
    assert figure.axes[-1].get_xlabel()
    assert figure.axes[0].get_ylabel()


LIGHT, DARK = (1.0, 1.0, 1.0), (18 / 255,) * 3  # the theme's grounds


def luminance(colour):
    rgb = np.array(plt.matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def contrast(a, b) -> float:
    """The contrast ratio of two colours, as the Web Content Accessibility Guidelines define it."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def on_dark(colour) -> np.ndarray:
    """A colour as book.css shows it on dark pages: the matrices of the Filter Effects Module."""
    turned = np.array([[0.213, 0.715, 0.072]] * 3) - [
        [0.787, -0.715, -0.072],
        [-0.213, 0.285, -0.072],
        [-0.213, -0.715, 0.928],
    ]
    inverted = np.clip(turned @ (1 - np.array(plt.matplotlib.colors.to_rgb(colour))), 0, 1)
    return 1 - (1 - inverted) * (1 - np.array(DARK))  # screened


def test_ink_reads_on_light_and_on_dark_pages():
    assert contrast(style.INK, LIGHT) > 4.5
    assert contrast(on_dark(style.INK), DARK) > 4.5
    np.testing.assert_allclose(on_dark(LIGHT), DARK)  # the ground is the page's


@pytest.mark.parametrize("colour", style.PALETTE)
def test_lines_stand_out_on_light_and_on_dark_pages(colour):
    assert contrast(colour, LIGHT) > 3
    assert contrast(on_dark(colour), DARK) > 3


# Machado, Oliveira and Fernandes (2009), table 1, severity 1.0, for linear RGB.
EYES = {
    "all cones": np.eye(3),
    "no L cones": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "no M cones": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                            [-0.011820, 0.042940, 0.968881]]),
    "no S cones": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def lab(colour, eye) -> np.ndarray:
    """CIELAB of a colour as an eye sees it."""
    rgb = np.array(plt.matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                       [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
    xyz = to_xyz @ np.clip(eye @ linear, 0, 1) / (0.95047, 1, 1.08883)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_told_apart(theme, eye):
    shown = [on_dark(c) if theme == "dark" else c for c in style.PALETTE]
    seen = [lab(colour, EYES[eye]) for colour in shown]
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(apart) > 12  # a difference of 2 is just seen; Okabe and Ito's palette reaches 13


@pytest.mark.parametrize("name", CALLS)
def test_text_is_large_enough_for_a_phone(name, trained_run):
    """9 pixels where 358 show the figure and its margin; indices and exponents are 0.7 of that."""
    figure = CALLS[name](trained_run)
    figure.draw_without_rendering()
    assert figure.get_figwidth() == style.WIDTH
    for text in figure.findobj(plt.Text):
        if text.get_visible() and text.get_text():
            assert text.get_fontsize() * 358 / (72 * (style.WIDTH + 0.12)) >= 9, text
            assert not re.search(r"\$.*[_^]", text.get_text()), text


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_drawn_outside_the_figure(name, trained_run):
    figure = CALLS[name](trained_run)
    figure.draw_without_rendering()
    inside = figure.bbox.padded(1)
    ticks = {id(t) for ax in figure.axes for t in (*ax.get_xticklabels(), *ax.get_yticklabels())}
    for text in figure.findobj(plt.Text):
        if text.get_visible() and text.get_text() and id(text) not in ticks:
            box = text.get_window_extent()
            assert inside.contains(box.x0, box.y0), text
            assert inside.contains(box.x1, box.y1), text


@pytest.fixture(scope="module")
def table_one():
    """The runs that chapter 5 shows, by model, and its pairs of equal size."""
    keys = [str(row.architecture) for row in paper.TABLE_I]
    equals = {
        key: str(sizes.baseline(Architecture.parse(key))) for key in keys if key.startswith("kan")
    }
    runs = results.at_paper(regime="paper").dropna(subset=["test_nll"])
    runs = runs[runs["model"].isin([*keys, *equals.values()]) & (runs["reading"] == "last")]
    runs = runs.assign(model=runs["model"].map(paper.title)).groupby("model", sort=False)
    return runs, {paper.title(kan): paper.title(vae) for kan, vae in equals.items()}


def strokes(ax):
    """The ends, in pixels, of all lines, bars and leaders, and of a line across each mark."""
    for line in ax.lines:
        places = line.get_transform().transform(line.get_xydata())
        if line.get_linestyle() != "None":
            yield places
        else:
            half = line.get_markersize() / 2 * ax.figure.dpi / 72 * np.array([1, 0])
            yield from (np.array([place - half, place + half]) for place in places)
    for bars in ax.collections:
        yield from map(bars.get_transform().transform, bars.get_segments())
    for text in ax.texts:
        if text.arrow_patch:
            yield text.arrow_patch.get_path().vertices[[0, -1]]


def test_no_two_candidates_look_the_same():
    figure = figures.ratio_bars({f"layer {i}": {"784→35": 0.1 + i} for i in range(30)}, "ratio")
    bars = [group[0] for group in figure.axes[0].containers]
    looks = {(bar.get_edgecolor(), bar.get_hatch()) for bar in bars}
    assert len(looks) == len(bars) == 30


@pytest.mark.parametrize(
    ("score", "log"),
    [("frechet_digits_grayscale", "xy"), ("frechet_digits_binarized", "xy"), ("test_nll", "x")],
)
def test_names_in_a_score_chart_lie_across_nothing(score, log, table_one):
    runs, pairs = table_one
    counts = runs["parameters"].first()
    named = [*pairs, "VAE, 400–20"]
    figure = figures.score_chart(
        list(counts.index), list(counts), runs[score].mean(), runs[score].std(ddof=1).fillna(0),
        "score", named, pairs, log,
    )  # fmt: skip
    figure.draw_without_rendering()
    (ax,) = figure.axes
    boxes = {text.get_text(): text.get_window_extent() for text in ax.texts if text.get_text()}
    assert boxes.keys() == set(named)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes.values(), 2))
    for start, end in strokes(ax):
        steps = np.linspace(start, end, 2 + int(2 * np.hypot(*(end - start))))
        for name, box in boxes.items():
            assert not np.any(np.all((box.min <= steps) & (steps <= box.max), axis=1)), name


@pytest.mark.parametrize("name", ["lines", "bundles", "front", "densities", "score_chart"])
def test_a_colour_is_never_the_only_difference(name, trained_run):
    figure = CALLS[name](trained_run)
    for ax in figure.axes:
        drawn = [line for line in ax.lines if not line.get_label().startswith("_")]
        looks = {(line.get_marker(), line.get_linestyle(), str(line._dash_pattern))
                 for line in drawn}  # fmt: skip
        assert len(looks) == len(drawn)

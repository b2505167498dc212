"""The interactive figures, opened from a file in a browser, against the module's numbers."""

import base64
import functools
import html
import importlib.util
import io
import json
import re
from copy import deepcopy
from itertools import pairwise

import nbformat
import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from conftest import HTML, ROOT, needs_browser
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from test_figures import contrast
from test_pairs import build
from torch import nn

from kanvae import Architecture, KANLinear, SharedKANLinear, data, export, splines
from kanvae.figures import interactive, style
from kanvae.studies import paper, plan, results, sizes
from kanvae.training import load_model

spec = importlib.util.spec_from_file_location("pages", ROOT / "book" / "pages.py")
pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pages)

STATIC = ROOT / "book" / "_static"
CHAPTERS = {  # of each kind, where the book has it
    "spline": ("01_bsplines", "fig-local-control"),
    "edge": ("02_kan_layers", "fig-edge"),
    "network": ("11_why", "fig-trained-edge"),
    "latent": ("09_prior_sampling", "fig-walk"),
    "points": ("07_latent_space", "fig-tsne"),
    "scores": ("13_how_many_functions", "fig-by-size"),
}
needs_book = pytest.mark.skipif(not (HTML / "index.html").exists(), reason="the book is not built")
pytestmark = needs_browser
STYLE = """
    :root { --pst-color-background: #fff; --pst-color-text-base: #222832 }
    html[data-theme="dark"] { --pst-color-background: #14181e; --pst-color-text-base: #ced6dd }
    body { background: var(--pst-color-background); color: var(--pst-color-text-base) }
    figure { margin: 0 }"""


def exact(numbers) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def few_images() -> torch.Tensor:
    return data.binarize(data.load("MNIST", "test").pixels[:300])


def network(seed: int = 3) -> tuple[KANLinear, torch.Tensor]:
    """A KAN layer whose inputs have grids of their own, and its inputs."""
    generator = torch.Generator().manual_seed(seed)
    layer = KANLinear(4, 6, scale_noise=3.0, generator=generator)
    x = torch.randn(500, 4, generator=generator) * torch.tensor([0.5, 1.0, 2.0, 4.0])
    layer.update_grid(x)
    return layer, x


KEYS = (
    "vae-9-4+activation=silu",
    "vae-9-4+activation=tanh",
    "kan-7-4+pixels.grid_range=-3..2",
    "shared-12-4+latents.groups=3+pixels.groups=5",
    "shared-12-4+latents=linear+spline_order=2",
    "shared-12-4+norm=layer",
    "kan-7-4+latents=linear+pixels=shared+pixels.base=relu",
)
FEATURED = ("kan-35-15", "vae-400-20")
RECOMMENDED = sizes.fitted("4 functions", sizes.BUDGET)


@functools.cache
def decoder_of(key: str) -> nn.Sequential:
    """A decoder of each kind of layer that a page can run, with weights that matter."""
    if key in FEATURED:
        return load_model(results.featured_run(key)).decoder.requires_grad_(False)
    if key == RECOMMENDED:
        return load_model(results.recommended()).decoder.requires_grad_(False)
    decoder = Architecture.parse(key).build(seed=1).decoder
    generator = torch.Generator().manual_seed(0)
    for weight in decoder.requires_grad_(False).parameters():
        weight += 0.2 * torch.randn(weight.shape, generator=generator)
    return decoder


def rounded(decoder: nn.Sequential) -> nn.Sequential:
    """The decoder in float64 with the weights of a page, the splines with their scale."""
    copy = deepcopy(decoder).double()
    with torch.no_grad():
        for layer in copy:
            if isinstance(layer, KANLinear):
                layer.spline_weight *= layer.spline_scaler.unsqueeze(-1)
                layer.spline_scaler.fill_(1)
            for weight in layer.parameters():
                weight.copy_(weight.half())
    return copy


def scores() -> dict:
    rows = [
        {"name": "kan-35-15", "kind": "KAN-VAE", "x": 564_550, "regime": "paper", "nll": 101.0,
         "nll_spread": 0.5, "frechet": 400.0},
        {"name": "vae-350-15", "kind": "VAE", "x": 565_000, "regime": "paper", "nll": 92.25,
         "nll_spread": 0.25, "frechet": 452.0},
        {"name": "vae-350-15", "kind": "VAE", "x": 565_000, "regime": "full", "nll": 86.5,
         "nll_spread": float("nan"), "frechet": None},
    ]  # fmt: skip
    regime = {"key": "regime", "name": "regime"}
    return {
        "rows": rows,
        "xlabel": "parameters",
        "choices": [regime | {"options": [["paper", "10,000 images"], ["full", "50,000 images"]]}],
        "measures": [
            {
                "key": "nll",
                "words": "NLL, nats per image",
                "spread": "nll_spread",
                "digits": 1,
                "log": False,
            },
            {
                "key": "frechet",
                "words": "Fréchet distance",
                "spread": None,
                "digits": 0,
                "log": True,
            },
        ],
        "kinds": [[kind, kind] for kind in ("KAN-VAE", "VAE", *"cdef")],  # as many as colours
        "pairs": [["kan-35-15", "vae-350-15"]],
    }


def examples() -> dict[str, interactive.Interactive]:
    """A figure of each kind."""
    points = np.stack((np.arange(8.0), np.sin(np.arange(8.0))), 1)
    moved = points.copy()
    moved[1] += 0.5
    picture = Figure(figsize=(3, 1), dpi=100)
    picture.subplots().plot(points)
    spline = {"points": moved, "before": points, "inner": [1.0, 2.0, 3.0, 4.0]}
    coefficients = [0.3, -1.0, 0.8, 1.5, -0.7, 0.2, 0.9, -0.4]
    edge = {"coefficients": coefficients, "base_weight": 0.5, "spline_scale": 1.0}
    layer, x = network()
    about = {"name": "KAN", "inputs": "latent", "outputs": "hidden unit", "layer": None}
    about["layer"] = export.layers([layer])[0]
    about["seen"] = interactive.histograms(x, (1, 2.2))
    models = []
    for name in (*KEYS, *FEATURED, RECOMMENDED):
        decoder, latents = decoder_of(name), Architecture.parse(name).latent_dim
        starts = torch.linspace(-2, 2, 2 * latents).reshape(2, latents)
        nats = [float(i) for i in range(latents)]
        layers = export.layers(decoder)
        models.append({"name": name, "layers": layers, "nats": nats, "starts": starts})
    plane = np.random.default_rng(0).normal(size=(2, 300, 2)).astype("float32")
    images = few_images()
    dots = {"panels": [{"name": name, "points": p} for name, p in zip("ab", plane, strict=True)]}
    dots |= {"labels": (np.arange(300) % 10).astype("uint8"), "columns": 100, "side": 28}
    given = {
        "spline": spline | {"range": [0, 5], "degree": 3},
        "edge": edge | {"grid_size": 5, "order": 3, "range": [-1, 1], "sizes": [3, 20]},
        "network": {"layers": [about, about | {"name": "again"}], "marks": [1, 2.2],
                    "start": [0, 2, 4]},
        "latent": {"models": models, "digits": ["0", "1"]},
        "points": dots | {"images": interactive.sheet(images)},
        "scores": scores(),
    }  # fmt: skip
    assert given.keys() == set(interactive.KINDS)
    return {kind: interactive.figure(kind, part, picture) for kind, part in given.items()}


def write_page(path, shown: dict[str, interactive.Interactive]):
    """A page with figures as the book has them, and nothing else."""
    found = {}
    body = ""
    for name, figure in shown.items():
        picture, metadata = figure._repr_mimebundle_()
        found[name] = metadata[interactive.KEY]
        source = f"data:image/png;base64,{picture['image/png']}"
        body += f'<figure id="{name}"><img alt="Static." width="358" src="{source}"></figure>\n'
    scripts = "".join(
        f'<script defer src="{(STATIC / name).as_uri()}"></script>'
        for name in pages.figure_scripts(found)
    )
    path.write_text(
        '<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        '<title>Figures</title><meta name="viewport" content="width=device-width">'
        f'<link rel="stylesheet" href="{(STATIC / "figure.css").as_uri()}">{scripts}'
        f'<style>{STYLE}</style></head><body><main class="bd-content"><h1>Figures</h1>'
        f"{body}{pages.figure_tags(found, path.parent)}</main></body></html>",
        encoding="utf-8",
    )
    return path.as_uri()


@pytest.fixture(scope="module")
def shown():
    return examples()


@pytest.fixture(scope="module")
def address(shown, tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("figures") / "page.html", shown)


def read_through(tab, address):
    """Open a page and scroll to each figure: the data of some come when they are near."""
    tab.goto(address)
    for figure in tab.locator("figure").all():
        figure.scroll_into_view_if_needed()
        figure.locator(".touch").wait_for()
    tab.evaluate("scrollTo(0, 0)")


def listen(tab) -> list[str]:
    """What a page complains of from now on, and what it asks of a network."""
    complaints = []
    tab.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda r: r.url.startswith(("file:", "data:")) or complaints.append(r.url))
    return complaints


@pytest.fixture(scope="module")
def tab(browser, address):
    """The page with all examples, which fails its tests if it complains."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints = listen(tab)
    tab.set_default_timeout(5000)
    read_through(tab, address)
    yield tab
    tab.close()
    assert complaints == [], complaints


def values(tab, kind: str, *arguments):
    """What a figure shows, in full precision."""
    script = "([kind, given]) => document.querySelector(`#${kind} .touch`).figure.values(...given)"
    return tab.evaluate(script, [kind, arguments])


def choose(tab, kind: str, name: str, words: str) -> None:
    select = tab.locator(f"#{kind}").get_by_label(name, exact=True)
    select.focus()
    select.select_option(words)
    assert select.evaluate("node => node === document.activeElement")  # who tabs goes on from there


def slide(tab, kind: str, name: str, number: float) -> None:
    tab.locator(f"#{kind}").get_by_label(name, exact=True).fill(str(number))


# ---- The page's mathematics ----


@pytest.mark.parametrize("degree", range(6))
@pytest.mark.parametrize(
    "knots",
    [
        [0, 0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5],
        [-2.2, -1.8, -1.4, -1, -0.6, -0.2, 0.2, 0.6, 1, 1.4, 1.8, 2.2],
        [0, 0, 1, 1, 1, 1, 1.5, 2, 2, 2, 3, 3],
    ],
)
def test_the_bases_of_the_page_are_those_of_the_module(tab, knots, degree):
    x = sorted({*np.linspace(-3, 6, 61).tolist(), *map(float, knots)})
    found = tab.evaluate("([x, t, k]) => x.map(x => kanvae.bases(x, t, k))", [x, knots, degree])
    wanted = splines.cox_de_boor(exact(x), exact(knots), degree)
    np.testing.assert_allclose(found, wanted, atol=1e-14)


@pytest.mark.parametrize(("size", "new"), [(3, 20), (5, 10), (5, 7), (10, 4), (3, 3)])
def test_a_grid_is_extended_as_by_the_module(tab, size, new):
    generator = torch.Generator().manual_seed(size)
    coefficients = torch.randn(size + 3, generator=generator, dtype=torch.float64)
    knots = [splines.uniform_knots(n, 3, (-1.0, 1.0), torch.float64) for n in (size, new)]
    wanted = splines.refit(coefficients[None, :, None], *[k[None] for k in knots], 3)[0, :, 0]
    given = [coefficients.tolist(), size, new]
    found = tab.evaluate(
        """([c, size, wanted]) => {
            const [before, after] = [size, wanted].map(n => kanvae.uniformKnots(n, 3, [-1, 1]));
            return kanvae.refit(c, before, after, 3);
        }""",
        given,
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


# ---- The figures ----


def test_a_spline_follows_its_points_its_knots_and_its_degree(tab):
    point = tab.get_by_label("Control point 3", exact=True)
    before = values(tab, "spline")
    point.focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft", "Shift+ArrowUp"):
        tab.keyboard.press(key)
    tab.locator("#spline").get_by_label("degree").focus()
    tab.keyboard.press("ArrowLeft")  # 2: five inner knots
    tab.get_by_label("Knot 2", exact=True).focus()
    for _ in range(9):
        tab.keyboard.press("ArrowRight")  # onto the third
    found = values(tab, "spline")
    assert found["degree"] == 2
    np.testing.assert_allclose(found["points"][2], np.add(before["points"][2], [-0.1, 0.7]))
    knots = exact(found["knots"])
    assert knots[4] == knots[5]
    x = exact([x for x, _ in found["bases"]])
    bases = splines.cox_de_boor(x, knots, 2)
    np.testing.assert_allclose([b for _, b in found["bases"]], bases, atol=1e-12)
    curve = splines.evaluate(x, knots, exact(found["points"]), 2)
    np.testing.assert_allclose(found["curve"], curve, atol=1e-12)
    tab.locator("#spline").get_by_text("Start again").click()
    assert values(tab, "spline") == before


def drag(tab, node, dx: float, dy: float) -> None:
    x, y = middle(tab, node.locator(".touch-dot"))
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + dx / 2, y + dy / 2)
    tab.mouse.move(x + dx, y + dy)
    tab.mouse.up()


def test_a_point_follows_the_pointer(tab):
    before = values(tab, "spline")["points"][4]
    node = tab.get_by_label("Control point 5", exact=True)
    node.scroll_into_view_if_needed()
    place = node.bounding_box()
    drag(tab, node, 30, -20)
    after = values(tab, "spline")["points"][4]
    moved = node.bounding_box()
    assert (moved["x"] - place["x"], moved["y"] - place["y"]) == pytest.approx((30, -20), abs=1)
    assert after[0] > before[0]
    assert after[1] > before[1]
    assert node.evaluate("node => node === document.activeElement")
    tab.locator("#spline").get_by_text("Start again").click()


def middle(tab, node) -> tuple[float, float]:
    place = node.bounding_box()
    return place["x"] + place["width"] / 2, place["y"] + place["height"] / 2


def test_where_dots_stand_close_the_nearest_is_taken_hold_of(tab):
    slide(tab, "edge", "G, intervals of the grid", 20)
    dots = tab.locator("#edge .touch-panel .touch-dot")
    assert dots.count() == 23
    tab.locator("#edge .touch-panel").scroll_into_view_if_needed()
    for i, dot in enumerate(dots.all(), 1):
        tab.mouse.move(*middle(tab, dot))
        tab.mouse.down()
        tab.mouse.up()
        held = tab.evaluate("document.activeElement.getAttribute('aria-label')")
        assert held == f"Coefficient {i}"
    tab.locator("#edge").get_by_text("Start again").click()


def layer_of(found: dict) -> KANLinear:
    layer = KANLinear(1, 1, found["size"], dtype=torch.float64)
    with torch.no_grad():
        layer.spline_weight[0, 0] = exact(found["coefficients"])
        layer.base_weight.fill_(found["base_weight"])
        layer.spline_scaler.fill_(found["spline_scale"])
    return layer


def test_an_edge_is_that_of_the_layer_and_its_grid_is_extended_as_the_layers(tab):
    x = torch.linspace(-3, 3, 101, dtype=torch.float64)[:, None]
    drag(tab, tab.get_by_label("Coefficient 4", exact=True), 0, -40)
    slide(tab, "edge", "base weight", -1.2)
    slide(tab, "edge", "spline scale", 0.7)
    before = values(tab, "edge", x[:, 0].tolist())
    assert before["coefficients"][3] > 1.6
    layer = layer_of(before)
    for size in (13, 20):  # from what was set, whatever came between
        slide(tab, "edge", "G, intervals of the grid", size)
        found = values(tab, "edge", x[:, 0].tolist())
        extended = layer_of(before)
        extended.extend_grid(size, x)
        wanted = extended.spline_weight[0, 0].detach()
        np.testing.assert_allclose(
            found["coefficients"], wanted, atol=1e-6
        )  # it places knots in float32
        both = [part["base"] + part["spline"] for part in found["parts"]]
        np.testing.assert_allclose(both, extended(x)[:, 0].detach(), atol=1e-6)
    assert "did not move at all" in tab.locator("#edge .touch-words").text_content()
    slide(tab, "edge", "G, intervals of the grid", 5)
    base = [part["base"] for part in values(tab, "edge", x[:, 0].tolist())["parts"]]
    np.testing.assert_allclose(base, -1.2 * nn.functional.silu(x[:, 0]), atol=1e-12)
    both = [sum(p.values()) for p in values(tab, "edge", x[:, 0].tolist())["parts"]]
    np.testing.assert_allclose(both, layer(x)[:, 0].detach(), atol=1e-12)


def test_the_edges_of_a_trained_layer_are_its_functions(tab):
    layer, inputs = network()
    x = torch.linspace(-6, 6, 121, dtype=torch.float64)
    layer = rounded(nn.Sequential(layer))[0]
    with torch.no_grad():
        bases = layer.bases(x[:, None].expand(-1, 4))  # (121, 4, n)
        spline = torch.einsum("bin,oin->boi", bases, layer.spline_weight)
        base = nn.functional.silu(x)[:, None, None] * layer.base_weight
        torch.testing.assert_close(layer(x[:, None].expand(-1, 4)), (base + spline).sum(2))
        at = inputs.double()
        seen = torch.einsum("bin,oin->boi", layer.bases(at), layer.spline_weight)
        spread = (seen + nn.functional.silu(at)[:, None] * layer.base_weight).std(0)
    choose(tab, "network", "layer", "again")
    for i, o in ((2, 4), (0, 5), (3, 0)):
        slide(tab, "network", "latent", i + 1)
        slide(tab, "network", "hidden unit", o + 1)
        found = values(tab, "network", x.tolist())
        assert (found["input"], found["output"]) == (i, o)
        wanted = torch.stack((base[:, o, i], spline[:, o, i]), 1)
        np.testing.assert_allclose(found["parts"], wanted, atol=1e-6)
        assert found["strength"] == pytest.approx(float(spread[o, i]), rel=0.05)  # from 60 bins
    words = tab.locator("#network .touch-words").last.text_content()
    within = round(100 * float((inputs[:, 3].abs() <= 1).double().mean()))
    assert f"{within} % of the inputs fall inside the grid" in words


def test_an_edge_is_chosen_in_the_map(tab):
    place = tab.locator("#network .touch-map").bounding_box()  # six units across, four latents down
    tab.mouse.click(place["x"] + 4.5 * place["width"] / 6, place["y"] + 1.5 * place["height"] / 4)
    found = values(tab, "network", [])
    assert (found["input"], found["output"]) == (1, 4)
    assert tab.locator("#network").get_by_label("hidden unit").input_value() == "5"


def ink(canvas) -> np.ndarray:
    """The pixels of an image, from 0 to 1."""
    content = "c => [...c.getContext('2d').getImageData(0, 0, 28, 28).data]"
    return np.array(canvas.evaluate(content))[3::4] / 255


@pytest.mark.parametrize("name", [*KEYS, *FEATURED, RECOMMENDED])
def test_the_page_decodes_what_the_decoder_does(tab, name):
    decoder = rounded(decoder_of(name))
    choose(tab, "latent", "model", name)
    found = values(tab, "latent")
    seen = set()
    buttons = ("All zero", "Draw z from the prior", "Start from a test digit 1")
    for name in (*buttons[:2], *buttons[1:]):
        tab.locator("#latent").get_by_role("button", name=name).click()
        found = values(tab, "latent")
        seen.add(tuple(found["z"]))
        with torch.no_grad():
            pixels = decoder(exact(found["z"])).sigmoid()
        np.testing.assert_allclose(found["pixels"], pixels, atol=1e-4)
    assert len(seen) == 4
    latents = len(found["z"])
    np.testing.assert_allclose(found["z"], torch.linspace(-2, 2, 2 * latents)[latents:])
    shown = ink(tab.locator("#latent .touch-image"))
    np.testing.assert_allclose(shown, found["pixels"], atol=0.003)


def test_latents_move_by_sliders_and_in_the_plane(tab):
    choose(tab, "latent", "model", "kan-35-15")
    tab.locator("#latent").get_by_text("All zero").click()
    slide(tab, "latent", "z3, 2.0 nats", 1.5)
    assert values(tab, "latent")["z"][2] == 1.5
    tab.get_by_label("The point in the plane").focus()  # of the two that carry the most
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    z = values(tab, "latent")["z"]
    assert [round(z[i], 6) for i in (14, 13)] == [0.1, -0.1]
    choose(tab, "latent", "up", "z3 (2.0 nats)")
    tab.get_by_label("The point in the plane").focus()
    tab.keyboard.press("Shift+ArrowDown")
    assert values(tab, "latent")["z"][2] == 1.0
    assert tab.locator("#latent").get_by_label("z3, 2.0 nats").input_value() == "1"


def place_of(tab, panel: int, point: int, name: str = "points") -> tuple[float, float]:
    canvas = tab.locator(f"#{name} canvas[tabindex]").nth(panel)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    script = "([n, p, i]) => document.querySelector(`#${n} .touch`).figure.place(p, i)"
    x, y = tab.evaluate(script, [name, panel, point])
    return box["x"] + x, box["y"] + y


def test_a_point_shows_its_image_by_pointer_and_by_keyboard(tab):
    images = few_images()
    for panel, point in ((0, 7), (1, 123), (0, 299)):
        tab.mouse.move(*place_of(tab, panel, point))
        found = values(tab, "points")
        assert found["chosen"] == point
        assert found["label"] == point % 10
        np.testing.assert_array_equal(np.array(found["pixels"]) / 255, images[point].float())
        assert f"Test image {point + 1}, a {point % 10}" in tab.locator("#points").text_content()
    tab.locator("#points canvas[tabindex]").first.focus()
    seen = set()
    for key, axis, sign in (("ArrowLeft", 0, -1), ("ArrowDown", 1, 1), ("ArrowRight", 0, 1)):
        before = place_of(tab, 0, values(tab, "points")["chosen"])
        tab.keyboard.press(key)
        chosen = values(tab, "points")["chosen"]
        seen.add(chosen)
        assert sign * (place_of(tab, 0, chosen)[axis] - before[axis]) > 0
    assert len(seen) == 3


def test_a_result_picture_shows_what_is_chosen(tab):
    points = tab.locator("#scores .touch-point")
    assert points.evaluate_all("all => all.map(p => p.getAttribute('aria-label'))") == [
        "kan-35-15: 101.0 ± 0.5, 564,550 parameters",
        "vae-350-15: 92.3 ± 0.3, 565,000 parameters",
    ]
    points.nth(1).focus()
    assert "vae-350-15: 92.3" in tab.locator("#scores .touch-words").text_content()
    heights = points.evaluate_all("all => all.map(p => p.getBoundingClientRect().y)")
    assert heights[0] < heights[1]  # 101 stands above 92
    choose(tab, "scores", "measure", "Fréchet distance")
    assert [row["frechet"] for row in values(tab, "scores")["shown"]] == [400, 452]
    choose(tab, "scores", "regime", "50,000 images")
    assert values(tab, "scores")["shown"] == []
    assert tab.locator("#scores .touch-words").text_content() == "No model has been measured so."
    choose(tab, "scores", "measure", "NLL, nats per image")
    assert [row["nll"] for row in values(tab, "scores")["shown"]] == [86.5]


def test_a_model_beyond_the_axis_is_named_at_its_end(browser, shown, tmp_path):
    data = scores()
    data["measures"][0]["top"] = 95
    figure = interactive.figure("scores", data, shown["edge"].static)
    tab = browser.new_page(viewport={"width": 1280, "height": 844})
    read_through(tab, write_page(tmp_path / "page.html", shown | {"scores": figure}))
    points = tab.locator("#scores .touch-point")
    assert points.evaluate_all("all => all.map(p => p.textContent)") == ["↑ 101", ""]
    assert points.nth(0).get_attribute("aria-label").startswith("kan-35-15: 101.0 ± 0.5")
    points.nth(0).hover()
    assert "101.0" in tab.locator("#scores .touch-words").text_content()
    frame = tab.locator("#scores .touch-panel").bounding_box()
    (line,) = tab.locator("#scores .dotted").all()
    for drawn in (line, points.nth(0)):  # both end with the axis
        assert frame["y"] <= drawn.bounding_box()["y"] < frame["y"] + 30
    tab.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_kind_has_a_shape_and_a_colour_of_its_own(tab, theme):
    tab.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    shapes = tab.locator("#scores .touch-legend .touch-shape")
    assert shapes.count() == len(style.PALETTE)
    assert len(set(shapes.evaluate_all("all => all.map(p => p.getAttribute('d'))"))) == 6
    found = shapes.evaluate_all("all => all.map(p => getComputedStyle(p).stroke)")
    assert len(set(found)) == 6
    if theme == "light":
        wanted = [to_rgb(colour) for colour in style.PALETTE]
        assert found == [
            "rgb({:.0f}, {:.0f}, {:.0f})".format(*(255 * part for part in colour))
            for colour in wanted
        ]


# ---- For everybody ----


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_the_figures(tab, theme):
    tab.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    tab.wait_for_timeout(100)
    rules = {"label-content-name-mismatch": {"enabled": True}}
    found = Axe().run(
        tab, options={"resultTypes": ["violations"], "rules": rules, "preload": False}
    )
    problems = [
        (v["id"], n["html"][:200]) for v in found.response["violations"] for n in v["nodes"]
    ]
    assert problems == []
    lines = tab.evaluate("""[1, 2, 3, 4, 5].map(i => {
        const box = document.querySelector('.touch');
        return getComputedStyle(box).getPropertyValue(`--touch-${i}`);
    })""")
    ground = {"light": "#ffffff", "dark": "#14181e"}[theme]
    assert all(contrast(line, ground) >= 3 for line in lines)


def centre(node) -> None:
    """Scroll to a node, clear of what stays at the top of the page."""
    node.evaluate("node => node.scrollIntoView({block: 'center', behavior: 'instant'})")


def swipe(tab, node, up: float) -> None:
    """Move a point by a finger, which the page does not follow."""
    centre(node)
    scrolled = tab.evaluate("scrollY")
    x, y = middle(tab, node.locator(".touch-dot"))
    hand = tab.context.new_cdp_session(tab)
    for kind, way in (("touchStart", 0), ("touchMove", 0.5), ("touchMove", 1), ("touchEnd", None)):
        places = [] if way is None else [{"x": x + 10, "y": y - way * up}]  # fingers are wide
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
    hand.detach()
    assert tab.evaluate("scrollY") == scrolled


def test_figures_fit_a_phone_and_answer_to_a_finger(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    tab = context.new_page()
    read_through(tab, address)
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    sizes = tab.evaluate("""[...document.querySelectorAll('.touch *')]
        .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
        .map(e => parseFloat(getComputedStyle(e).fontSize))""")
    assert min(sizes) >= 9
    before = values(tab, "spline")["points"][1]
    swipe(tab, tab.get_by_label("Control point 2", exact=True), 30)
    assert values(tab, "spline")["points"][1][1] > before[1] + 0.2
    tab.touchscreen.tap(*place_of(tab, 1, 42))
    assert values(tab, "points")["chosen"] == 42
    context.close()


APART = """() => [...document.querySelectorAll('.touch-axes')].filter(axes => {
    const boxes = [...axes.querySelectorAll('text[text-anchor=middle]')]
        .filter(e => !e.hasAttribute('transform')).map(e => e.getBoundingClientRect());
    return boxes.some((a, i) => boxes.slice(i + 1).some(b =>
        a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
}).map(axes => axes.textContent)"""


@pytest.mark.parametrize("width", [390, 1280])
def test_the_numbers_of_an_axis_stand_apart(browser, shown, tmp_path, width):
    data = scores()
    data["rows"] = [row | {"x": 650_000 / 4**i} for i, row in enumerate(data["rows"][:2])]
    figure = interactive.figure("scores", data, shown["edge"].static)
    own = write_page(tmp_path / "page.html", shown | {"scores": figure})
    tab = browser.new_page(viewport={"width": width, "height": 844})
    read_through(tab, own)
    assert tab.locator("#scores .touch-axes").text_content().count(",000") >= 3
    assert tab.evaluate(APART) == []
    tab.close()


STATES = "[...document.querySelectorAll('figure > *')].map(e => [e.tagName, e.offsetHeight > 0])"


def test_paper_and_pages_without_scripts_show_the_pictures(browser, address, tab):
    tab.emulate_media(media="print")
    printed = tab.evaluate(STATES)
    tab.emulate_media(media="screen")
    seen = tab.evaluate(STATES)
    assert printed == 6 * [["DIV", False], ["IMG", True]]
    assert seen == 6 * [["DIV", True], ["IMG", False]]
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(address)
    assert plain.locator("figure > *").count() == 6
    assert plain.locator("figure > img:visible").count() == 6
    context.close()


def test_a_figure_that_fails_leaves_its_picture(browser, shown, tmp_path):
    broken = interactive.figure("edge", {"coefficients": None}, shown["edge"].static)
    address = write_page(tmp_path / "page.html", {"edge": broken, "spline": shown["spline"]})
    tab = browser.new_page()
    errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(address)
    tab.wait_for_selector("#spline .touch")
    assert tab.locator("#edge > *").count() == 1
    assert tab.locator("#edge img").is_visible()
    assert len(errors) == 1
    tab.close()


# ---- On the book's own pages ----


@pytest.fixture(scope="module", params=CHAPTERS)
def page(request, browser):
    """The live figure of a chapter, from its file and without a network, on a phone; its kind."""
    chapter, name = CHAPTERS[request.param]
    phone = {"width": 390, "height": 844}
    context = browser.new_context(viewport=phone, has_touch=True, offline=True)
    tab = context.new_page()
    complaints = listen(tab)
    tab.set_default_timeout(5000)
    tab.goto((HTML / "notebooks" / f"{chapter}.html").as_uri())
    figure = tab.locator(f"#{name}")
    figure.scroll_into_view_if_needed()  # large data come then
    figure.locator(".touch").wait_for()
    yield request.param, figure
    context.close()
    assert complaints == [], complaints


DRAWN = """svg => ({
    ticks: [...svg.querySelectorAll('.touch-axes text')].map(e =>
        [...['text-anchor', 'x', 'y'].map(name => e.getAttribute(name)), e.textContent]),
    curves: [...svg.querySelectorAll('.touch-curve:not(.touch-point *)')].map(e =>
        [e.getAttribute('class'), e.getAttribute('d')]),
    dots: [...svg.querySelectorAll('.touch-handle, .touch-point')].map(e =>
        e.getAttribute('transform')),
})"""


def drawn(panel, log: bool = False) -> tuple[dict[str, list[np.ndarray]], np.ndarray]:
    """What a panel shows, by the numbers at its axes: the pieces of its curves, and its dots.

    Args:
        log: whether the horizontal axis is logarithmic.
    """
    seen = panel.evaluate(DRAWN)
    ticks = {"middle": [], "end": []}
    for anchor, x, y, words in seen["ticks"]:
        if re.fullmatch(r"−?[\d,.]+", words):
            number = float(words.replace("−", "-").replace(",", ""))
            mark = (x, np.log(number) if log else number) if anchor == "middle" else (y, number)
            ticks[anchor].append([float(part) for part in mark])
    across, down = (np.polyfit(*np.transpose(marks), 1) for marks in ticks.values())

    def numbers(text: str) -> np.ndarray:
        places = np.array(re.findall(r"-?[\d.]+", text), float).reshape(-1, 2)
        x = np.polyval(across, places[:, 0])
        y = np.polyval(down, places[:, 1] + 4)  # a number stands 4 pixels below its tick
        return np.stack((np.exp(x) if log else x, y), 1)

    curves = {
        kind.removeprefix("touch-curve "): [numbers(piece) for piece in path.split("M")[1:]]
        for kind, path in seen["curves"]
    }
    return curves, numbers(" ".join(seen["dots"]))


def check_spline(figure):
    degree = int(figure.get_by_label("degree").input_value())
    curves, points = drawn(figure.get_by_label("The curve and its control points"))
    _, inner = drawn(figure.get_by_label("The basis functions and their knots"))
    ends = [0.0, *inner[:, 0], 5.0]
    knots = exact(degree * [0.0] + ends + degree * [5.0])
    for piece, (low, high) in zip(curves["c1"], pairwise(ends), strict=True):
        x = torch.linspace(low, high, len(piece), dtype=torch.float64)
        wanted = splines.evaluate(x, knots, exact(points), degree)
        np.testing.assert_allclose(piece, wanted, atol=1e-3)
    return points.tolist(), ends, degree


def check_edge(figure):
    curves, dots = drawn(figure.locator(".touch-panel"))
    names = {"size": "G, intervals of the grid", "base_weight": "base weight"}
    names |= {"spline_scale": "spline scale"}
    shown = {key: float(figure.get_by_label(n).input_value()) for key, n in names.items()}
    shown["size"] = int(shown["size"])
    layer = layer_of(shown | {"coefficients": dots[:, 1]})
    (curve,) = curves["c1 wide"]
    np.testing.assert_allclose(curve[:, 1], layer(exact(curve[:, :1]))[:, 0].detach(), atol=2e-3)
    return shown, dots.tolist()


def check_network(figure):
    layers = ("decoder.latents", "encoder.mean", "encoder.log_var")
    at = figure.get_by_label("layer", exact=True).evaluate("choice => choice.selectedIndex")
    i, o = (int(slider.input_value()) - 1 for slider in figure.locator("input").all())
    layer = load_model(results.featured_run("kan-35-15")).get_submodule(layers[at])
    curves, _ = drawn(figure.get_by_label("The function on the chosen edge"))
    x = torch.tensor(curves["c1 wide"][0][:, :1], dtype=torch.float32)
    parts = layer.edges(x.expand(-1, layer.in_features))
    base, spline = (part[:, o, i].detach().numpy() for part in parts)
    for kind, wanted in (("c2 dashed", base), ("c3 dashdot", spline), ("c1 wide", base + spline)):
        (curve,) = curves[kind]
        np.testing.assert_allclose(curve[:, 1], wanted, atol=2e-3 * np.ptp(wanted))
    return at, i, o


def check_latent(figure):
    found = values(figure.page, figure.get_attribute("id"))
    keys = {**paper.FEATURED, "4 functions": RECOMMENDED}
    decoder = rounded(decoder_of(str(keys[found["name"]])))
    with torch.no_grad():
        pixels = decoder(exact(found["z"])).sigmoid()
    np.testing.assert_allclose(ink(figure.locator(".touch-image")), pixels, atol=0.003)
    for i, z in enumerate(found["z"], 1):
        shown = figure.get_by_label(re.compile(rf"^z{i}, ")).input_value()
        assert float(shown) == pytest.approx(np.clip(z, -3, 3), abs=0.026)  # in steps of 0.05
    return found


INKED = "c => c.getContext('2d').getImageData(0, 0, 28, 28).data.some(Boolean)"


def check_points(figure):
    words = figure.locator(".touch-card [role=status]").text_content()
    if chosen := re.fullmatch(r"Test image (\d+), a (\d)", words):
        i, digit = int(chosen[1]) - 1, int(chosen[2])
        test = data.load("MNIST", "test")
        card = figure.locator(".touch-card canvas")
        figure.page.wait_for_function(INKED, arg=card.element_handle())  # the images come late
        np.testing.assert_array_equal(ink(card), data.binarize(test.pixels[i]))
        assert int(test.labels[i]) == digit
    return words


@functools.cache
def runs_of(kind: str, budget: int, regime: str, reading: str):
    """The scores of a kind's runs at its best setting, a line each."""
    names = [job.name for job in plan.at_best((kind,), plan.SEEDS, (budget,), regime=regime)]
    every = results.scores(dataset="MNIST", reading=reading).dropna(subset=["test_nll"])
    return every[every["name"].isin(names)]


def check_scores(figure):
    found = values(figure.page, figure.get_attribute("id"))
    digits = int(found["measure"] == "test_nll")
    points = figure.locator(".touch-point")
    names = points.evaluate_all("all => all.map(p => p.getAttribute('aria-label'))")
    arrows = points.evaluate_all("all => all.map(p => p.textContent)")
    _, dots = drawn(figure.locator(".touch-panel"), log=True)
    assert names
    for name, arrow, (x, y) in zip(names, arrows, dots, strict=True):
        kind, size = re.match(r"(.*), (\w+):", name).groups()
        budget = sizes.BUDGET // {"whole": 1, "half": 2, "quarter": 4}[size]
        own = runs_of(kind, budget, found["regime"], found["reading"])[found["measure"]]
        parameters = sizes.parameters(sizes.fitted(kind, budget))
        mean, spread = (f"{number:.{digits}f}" for number in (own.mean(), own.std()))
        assert name == f"{kind}, {size}: {mean} ± {spread}, {parameters:,} parameters"
        assert x == pytest.approx(parameters, rel=1e-3)
        assert arrow or y == pytest.approx(own.mean(), rel=1e-3)
    return found["measure"], figure.locator(".touch-words").text_content()


CHECKS = {
    "spline": check_spline,
    "edge": check_edge,
    "network": check_network,
    "latent": check_latent,
    "points": check_points,
    "scores": check_scores,
}
KEYS_TO_PRESS = {
    "spline": [("Control point 3", "Shift+ArrowUp"), ("Knot 2", "ArrowRight"),
               ("degree", "ArrowRight")],
    "edge": [("Coefficient 4", "ArrowUp"), ("base weight", "ArrowLeft"),
             ("G, intervals of the grid", "ArrowRight")],
    "network": [("hidden unit", "ArrowLeft"), ("layer", "ArrowDown")],
    "latent": [("The point in the plane", "ArrowUp"), ("model", "ArrowDown")],
    "points": 2 * [("VAE: arrow keys move from point to point", "ArrowRight")],
    "scores": [("measure", "ArrowDown")],
}  # fmt: skip
DRAGGED = {"spline": "Control point 5", "edge": "Coefficient 2", "latent": "The point in the plane"}
TAPPED = {
    "network": ".touch-map",
    "points": "canvas[tabindex]",
    "scores": ".touch-point:last-child .touch-reach",
}


@needs_book
def test_a_figure_of_the_book_stands_in_place_of_its_picture(page):
    _, figure = page
    assert figure.locator(".touch").is_visible()
    assert figure.locator("img").is_hidden()


@needs_book
def test_by_keyboard_a_figure_of_the_book_shows_the_numbers_of_the_module(page):
    kind, figure = page
    seen = [CHECKS[kind](figure)]
    for name, key in KEYS_TO_PRESS[kind]:
        figure.get_by_label(name, exact=True).press(key)
        seen.append(CHECKS[kind](figure))
        assert seen[-1] != seen[-2], name


@needs_book
def test_by_finger_on_a_dark_page_a_figure_of_the_book_shows_the_numbers_of_the_module(page):
    kind, figure = page
    tab = figure.page
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    before = CHECKS[kind](figure)
    if kind in DRAGGED:
        swipe(tab, figure.get_by_label(DRAGGED[kind], exact=True), 30)
    else:
        node = figure.locator(TAPPED[kind]).first
        centre(node)
        name = figure.get_attribute("id")
        place = place_of(tab, 0, 42, name) if kind == "points" else middle(tab, node)
        tab.touchscreen.tap(*place)
    assert CHECKS[kind](figure) != before


@needs_book
@pytest.mark.parametrize("width", [390, 1280])
def test_every_model_of_the_result_picture_can_be_pointed_at(browser, width):
    tab = browser.new_page(viewport={"width": width, "height": 844})
    tab.goto((HTML / "notebooks" / "13_how_many_functions.html").as_uri())
    tab.locator("#fig-by-size .touch-panel").scroll_into_view_if_needed()
    points = tab.locator("#fig-by-size .touch-point").all()
    assert len(points) == 18
    for point in points:
        tab.mouse.move(*middle(tab, point.locator(".touch-reach")))
        words = tab.locator("#fig-by-size .touch-words").text_content()
        assert words == point.get_attribute("aria-label") + "."
        assert "chosen" in point.get_attribute("class")
    tab.close()


# ---- The scripts ----


def test_scripts_are_small():
    assert sum(path.stat().st_size for path in STATIC.glob("figure*")) < 100_000
    assert {path.stem for path in STATIC.glob("figure-*.js")} == {
        f"figure-{kind}" for kind in interactive.KINDS
    }


@pytest.mark.parametrize("script", sorted(STATIC.glob("figure*.js")), ids=lambda path: path.name)
def test_scripts_are_strict_and_load_nothing(script):
    code = re.sub(r"/\*.*?\*/", "", script.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert code.lstrip().startswith('"use strict";')
    assert "fetch(" not in code
    assert "http" not in code.replace("http://www.w3.org/2000/svg", "")


# ---- In Python ----


def test_a_notebook_shows_the_picture_and_carries_the_data(shown):
    for kind, figure in shown.items():
        picture, metadata = figure._repr_mimebundle_()
        assert picture.keys() == {"image/png", "text/plain"}
        assert Image.open(io.BytesIO(base64.b64decode(picture["image/png"]))).width > 200
        assert metadata[interactive.KEY]["kind"] == kind
        json.dumps(metadata, allow_nan=False)


def test_a_page_cannot_be_left_by_its_data(shown, tmp_path):
    evil = interactive.figure("scores", {"name": "</script><b>"}, shown["edge"].static)
    tags = pages.figure_tags({"x": {"kind": "scores", "data": evil.data}}, tmp_path)
    assert tags.count("<") == 2
    text = html.unescape(re.search(r">(.*)</script>", tags)[1])
    assert json.loads(text) == {"name": "</script><b>"}


def test_what_cannot_be_shown_is_refused_by_name(shown):
    picture = shown["edge"].static
    with pytest.raises(ValueError, match="no interactive figure 'cake': there are spline, edge"):
        interactive.figure("cake", {}, picture)
    with pytest.raises(ValueError, match=r"layers\[0\]\.weight is a object: give numbers"):
        interactive.figure("latent", {"layers": [{"weight": object()}]}, picture)
    with pytest.raises(ValueError, match="Conv1d cannot be given as arrays"):
        export.layers([nn.Conv1d(1, 1, 1)])
    with pytest.raises(ValueError, match=r"base function GELU cannot be given as arrays: .*silu"):
        export.layers([SharedKANLinear(2, 2, base_activation=nn.GELU)])


def test_a_sheet_holds_its_images():
    images = few_images()
    sheet = interactive.sheet(images, columns=7)
    content = base64.b64decode(sheet.removeprefix("data:image/png;base64,"))
    pixels = np.array(Image.open(io.BytesIO(content)))
    assert pixels.shape == (43 * 28, 7 * 28)
    row, column = divmod(123, 7)
    there = pixels[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
    np.testing.assert_array_equal(there.ravel(), images[123])


def test_histograms_count_every_input():
    _, x = network()
    found = interactive.histograms(x, (1, 2.2), bins=10)
    assert (found["counts"].sum(1) == len(x)).all()
    np.testing.assert_allclose(found["low"], x.min(0).values)
    inside = (x.abs() <= torch.tensor([1, 2.2])[:, None, None]).double().mean(1).T
    np.testing.assert_allclose(found["inside"], inside, atol=1e-6)


def test_the_book_takes_the_data_out_of_the_notebook(shown):
    picture, metadata = shown["edge"]._repr_mimebundle_()
    output = nbformat.v4.new_output("execute_result", picture, metadata=metadata)
    cell = nbformat.v4.new_code_cell("figure", outputs=[output])
    cell.metadata["mystnb"] = {"figure": {"name": "fig-edge"}}
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert build.figure_data(notebook) == {"fig-edge": metadata[interactive.KEY]}
    assert len(nbformat.writes(notebook)) < len(picture["image/png"]) + 2000
    assert nbformat.validator.isvalid(notebook)

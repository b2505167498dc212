# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,mystnb,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,kernelspec,-all
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Other basis functions
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/14_other_basis_functions.ipynb)
#
# **The question.** The paper's edges are B-splines. Its related work builds them from Gaussians, Chebyshev
# polynomials, Jacobi polynomials and wavelets; we add rational functions. Does another basis make a better VAE: is it the spline that matters, or the learned function on an edge?
#
# **The answer.** With a function on every edge, no basis gains likelihood at this size: all are fourteen nats or more behind a linear VAE with SiLU units and as many parameters. Of three kinds that share a few functions among many edges, two cannot be told from that VAE. The third, one B-spline per input, is 1.9 nats ahead, with an interval that excludes zero and does not stay clear after correction.
#
# **In more detail.** Gaussians and Chebyshev polynomials behind a LayerNorm, and wavelets before a BatchNorm, are six to eight nats better on average than the paper's B-splines on $[-1, 1]$, and cannot be told from B-splines on $[-3, 3]$ ([why](11_why.ipynb)): to keep inputs in range seems to matter more than the basis. All this is at the paper's learning rate; by samples the order differs.
#
# **You need** the chapters on [KAN layers](02_kan_layers.ipynb) and, for the last comparison, on [shared functions](13_how_many_functions.ipynb). **On this page** we draw every family, move one input
# far outside its range, count parameters, and compare eleven kinds of VAE. The models of the tables were trained before.

# %% tags=["remove-cell"]
import importlib.util

from IPython import get_ipython

if (
    importlib.util.find_spec("kanvae") is None
):  # in Colab: install the book's module
    get_ipython().run_line_magic(
        "pip",
        'install -q "kanvae[studies] @ '
        'git+https://github.com/kan-vae-book/kan-vae-book"',
    )

# %% [markdown]
# The imports, and the parameters that you may change.

# %%
import pandas as pd
import torch
import torch.nn.functional as F

from kanvae import Architecture, KANLinear, data, figures
from kanvae.figures import tables
from kanvae.layers import (
    ChebyshevLinear,
    FunctionLayer,
    GaussianLinear,
    JacobiLinear,
    RationalLinear,
    WaveletLinear,
)
from kanvae.layers.wavelet import WAVELETS
from kanvae.models import count_parameters
from kanvae.studies import paper, results, sizes
from kanvae.training import fit, grids

# %% tags=["parameters"]
degree = 4
hidden = 35
latent = 15
epochs = 1

# %% [markdown]
# ## Gaussians: FastKAN
#
# FastKAN {cite}`li2024` replaces the B-splines by Gaussians at eight fixed centres $t_j$ from $-2$ to $2$, a distance $h$ apart:
#
# $$
# \phi_{oi}(x) = v_{oi}\, \mathrm{SiLU}(x) + \sum_{j} w_{oij}\, e^{-((u - t_j)/h)^2} .
# $$ (eq-gaussian)
#
# Here $v_{oi}$ and $w_{oij}$ are learned weights, and $u$ is the LayerNorm of the inputs: they are shifted and scaled, image by image, to mean 0 and deviation 1, and then by a learned scale and shift. It keeps most of what the Gaussians see within their centres, and it makes an
# edge depend on all inputs of its layer.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-gaussians", "caption": "The eight Gaussians of FastKAN. Dotted lines are their centres."}, "image": {"alt": "Eight bells of one width stand side by side between -2 and 2; beyond -3 and 3 all of them are close to zero."}}
x = torch.linspace(-4, 4, 401)
gaussians = GaussianLinear(2, 1).bases(x)
centres = torch.linspace(-2, 2, 8).tolist()
figures.lines(x, {"": gaussians}, "$u$", "$e_j(u)$", marks=centres)

# %% [markdown]
# {numref}`fig-gaussians`, with $e_j$ the $j$-th of the exponentials, looks like the B-splines of the first chapter, with two differences: a Gaussian is
# nowhere exactly zero, and the eight do not sum to one.
#
# ## Chebyshev polynomials: ChebyKAN
#
# ChebyKAN {cite}`ss2024` takes the polynomials $T_n(t) = \cos(n \arccos t)$ of $t = \tanh x$, up to degree 4, and no base function.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-chebyshev", "caption": "Chebyshev polynomials of tanh x."}, "image": {"alt": "Five curves oscillate between -1 and 1 near zero, the higher the degree the faster; beyond -3 and 3 all of them are flat at -1 or 1."}}
chebyshev = ChebyshevLinear(1, 1, degree).bases(x)
by_hand = torch.cos(
    torch.arange(degree + 1) * torch.tanh(x).acos()[:, None]
)
torch.testing.assert_close(chebyshev, by_hand, rtol=0, atol=1e-4)
curves = {f"$T_{n}$": chebyshev[:, n] for n in range(degree + 1)}
figures.lines(x, curves, "$x$", r"$T_n(\tanh x)$")

# %% [markdown]
# In {numref}`fig-chebyshev` every polynomial reaches everywhere: moving one coefficient changes the edge at all inputs. A
# B-spline changes it on four intervals.
#
# ## Jacobi polynomials: fKAN
#
# fKAN {cite}`aghaei2024` puts *one* function before a linear layer, the same for all its inputs: a Jacobi polynomial of
# $2\sigma(x)^\gamma - 1$ with the logistic function $\sigma$. Three numbers are learned, the two parameters of the polynomial
# and the fraction $\gamma$.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-jacobi", "caption": "The function of an fKAN layer of degree 3 for three fractions. The fraction starts at one half."}, "image": {"alt": "Three waves of one shape: a smaller fraction moves the wave to the left and stretches it. To the right all flatten out; to the left the one with fraction 0.75 is still falling steeply at -4."}}
layer = JacobiLinear(1, 1)
curves = {}
for fraction in (0.25, 0.5, 0.75):
    layer.gamma.data.fill_(torch.tensor(fraction).logit())
    curves[rf"$\gamma$ = {fraction}"] = layer.function(x).detach()
figures.lines(x, curves, "$x$", r"$P_3(2\sigma(x)^\gamma - 1)$")

# %% [markdown]
# {numref}`fig-jacobi` shows what the fraction does: it moves the wave along $x$, and stretches it.
#
# ## Wavelets: Wav-KAN
#
# Wav-KAN {cite}`bozorgasl2024` gives every edge one wavelet with a translation, a scale and a weight of its own, and puts a BatchNorm
# after the sum, which shifts and scales each output over the batch: $\phi_{oi}(x) = w_{oi}\, \psi(u)$ with $u = (x - t_{oi}) / s_{oi}$, the translation $t_{oi}$ and the scale $s_{oi}$.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-wavelets", "caption": "The three wavelets, with translation 0 and scale 1."}, "image": {"alt": "The Mexican hat has one deep trough, the Morlet wavelet six fast waves, the derivative of a Gaussian one rise and one fall; all are zero beyond -4 and 4."}}
words = {"dog": "derivative of a Gaussian"}
curves = {
    words.get(name, name.replace("_", " ")): psi(x)
    for name, psi in WAVELETS.items()
}
figures.lines(x, curves, "$u$", r"$\psi(u)$")

# %% [markdown]
# All of {numref}`fig-wavelets` are local, as B-splines are, but here the place itself is learned. No two edges see an input alike, so such a layer computes a wavelet for every edge and every image of the batch, where the other layers compute their functions once for each input and image. The models below use the Mexican hat.
#
# ## Rational functions: KAT
#
# The Kolmogorov–Arnold transformer {cite}`yang2025` shares functions: all inputs of a group go through one
# $P(x) / (1 + |Q(x)|)$ with polynomials $P$ and $Q$ of degrees 5 and 4, and a linear layer follows. The function starts as a fit to SiLU.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-rational", "caption": "A new rational function and SiLU, to which it is fitted on [-3, 3] (dotted)."}, "image": {"alt": "The two curves cannot be told apart, neither between the dotted lines nor outside them: flat on the left, a line on the right."}}
wide = torch.linspace(-8, 8, 401)
rational = RationalLinear(1, 1, groups=1)
start = rational.functions(wide[:, None])[:, 0].detach()
curves = {"rational": start, "SiLU": F.silu(wide)}
figures.lines(
    wide, curves, "$x$", "$F(x)$", marks=(-3, 3), dashed=["SiLU"]
)

# %% [markdown]
# Outside the fitted interval the function of {numref}`fig-rational` still follows SiLU for a while. Much further out it is a line of the same slope on both sides, because the numerator's degree is one above the denominator's.
#
# ## Outside the range
#
# Layers before an edge learn only where the edge has a slope. We take an edge of each kind without norms, set its
# weights to one and its base to zero, and ask for the slope at $x = 8$. (B-splines with equal weights are constant inside the grid as well. At 8, beyond all knots, their slope is zero whatever the weights.)

# %% mystnb={"table": {"name": "tab-slopes", "caption": "The slope at x = 8 of one edge of each kind, with weights of one and without base function or norm."}}
layers = {
    "splines": KANLinear(1, 1),
    "Gaussians": GaussianLinear(1, 1, norm=False),
    "Chebyshev": ChebyshevLinear(1, 1, degree),
    "Jacobi": JacobiLinear(1, 1),
    "wavelet": WaveletLinear(1, 1, norm=False),
    "rational": RationalLinear(1, 1, groups=1),
}
slopes = {}
for name, layer in layers.items():
    for part, weight in layer.named_parameters():
        if part.endswith("weight"):
            torch.nn.init.constant_(weight, 0.0 if "base" in part else 1.0)
    at = torch.tensor([[8.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(layer(at).sum(), at)
    slopes[name] = abs(float(slope))
tables.table(pd.DataFrame({"slope": slopes}).rename_axis("edge"))

# %% [markdown]
# In {numref}`tab-slopes` only the rational function still has a slope above 0.01 there. Out there a layer of splines or Gaussians depends on its base function alone, and
# one of polynomials or wavelets without a norm before it gives almost no gradient to bring back an input that has left its range.

# %% tags=["remove-cell"]
far = {name for name, slope in slopes.items() if slope > 0.01}
assert far == {"rational"}, slopes

# %% [markdown]
# How much of what a model sees lies out there? It depends on the training, so we train KAN-VAE** with each kind of function for an epoch. Then we look at what reaches the three places after the first layer: the encoder's hidden values at its heads, the latents at the decoder's first layer, and the decoder's hidden values at its last, to the pixels. A value is outside
#
# - of splines: beyond the grid, which ends at 1;
# - of Gaussians: beyond the centres, which end at 2 (after the norm);
# - of rational functions: beyond the fitted interval, which ends at 3;
# - of a wavelet: beyond 4 of its own scales;
# - of Chebyshev and Jacobi polynomials: where $\tanh x$ or $\sigma(x)$ is within a hundredth of its end, that is, beyond 2.65 or 4.6.

# %%
REACH = {
    "kan": 1,
    "gaussian": 2,
    "chebyshev": 2.65,
    "jacobi": 4.6,
    "wavelet": 4,
    "rational": 3,
}


def share_outside(layer, x, kind):
    """The share of inputs x (B, I) beyond the functions' reach."""
    if kind == "gaussian":
        x = layer.norm(x)
    elif kind == "wavelet":  # (B, O, I): each edge has its own place
        x = (x[:, None] - layer.translation) / layer.scale
    return float((x.abs() > REACH[kind]).double().mean())


# %% tags=["hide-input"] mystnb={"table": {"name": "tab-outside", "caption": "Share of the values outside the range of the functions that see them, in KAN-VAE** with each kind of function, after an epoch on the paper's 10,000 images."}}
pixels = data.binarize(data.load("MNIST", regime="paper").pixels)
places = {
    "encoder.mean": "heads",
    "decoder.latents": "from the latents",
    "decoder.pixels": "to the pixels",
}
noise, seen = torch.Generator().manual_seed(0), {}
for name, form in sizes.BASES.items():
    key = form.format(hidden).replace("-15", f"-{latent}")
    kind = key.split("-")[0]
    if kind not in REACH:
        continue
    model = Architecture.parse(key).build(seed=0)
    fit(model, pixels, epochs=epochs, seed=0, progress=False)
    inputs = grids.inputs_of_layers(
        model, pixels[:2000].float(), noise, FunctionLayer
    )
    seen[name] = {
        title: share_outside(*inputs[place], kind)
        for place, title in places.items()
        if place in inputs  # of Jacobi polynomials one is linear
    }
table = pd.DataFrame(seen).T.rename_axis("functions")
tables.table(table, dict.fromkeys(table, ".1%"))

# %% [markdown]
# In {numref}`tab-outside` the paper's splines stand out: three quarters of the encoder's hidden values, two thirds of the decoder's and a third of the latents lie outside the grid. FastKAN's LayerNorm leaves few values out. Bare Chebyshev polynomials have *every* hidden value of the encoder outside, where they are flat, so that nothing can be learned through it; a norm brings all of them back. The rational functions' inputs leave the fitted interval too, but there the functions still have a slope.

# %% tags=["remove-cell"]
if (epochs, hidden, latent) == (1, 35, 15):
    splines = table.loc["B-splines"]
    assert 0.7 < splines["heads"] < 0.8
    assert 0.6 < splines["to the pixels"] < 0.73
    assert 0.28 < splines["from the latents"] < 0.4
    assert table.loc["Chebyshev", "heads"] > 0.99
    assert table.loc["Chebyshev, LayerNorm", "heads"] < 0.01
    assert table.loc["Gaussians"].max() < 0.1
    assert table.loc["rational, 8 groups", "to the pixels"] > 0.2
    rest = table.drop(["B-splines", "Chebyshev", "rational, 8 groups"])
    assert rest.max(axis=None) < 0.1

# %% [markdown]
# ## Parameters
#
# One edge costs from one number to ten. At the paper's widths the models are of very different sizes, and so they can be
# compared in two ways: at the same widths, and at the same number of parameters.

# %% mystnb={"table": {"name": "tab-edges", "caption": "Parameters of six VAEs of the same widths, and parameters per edge."}}
names = {
    "kan": "B-splines",
    "gaussian": "Gaussians",
    "chebyshev": "Chebyshev",
    "wavelet": "wavelets",
    "rational": "rational",
    "jacobi": "Jacobi",
}
rows = []
for kind, name in names.items():
    architecture = Architecture(kind, hidden, latent)
    size = count_parameters(architecture.build())
    rows.append((name, size, size / architecture.edges()))
columns = ["functions", "parameters", "per edge"]
frame = pd.DataFrame(rows, columns=columns).set_index("functions")
tables.table(frame, {"per edge": ".2f"})

# %% tags=["remove-cell"]
assert [round(row[2]) for row in rows] == [10, 9, 5, 3, 1, 1]

# %% [markdown]
# At the same widths, {numref}`tab-edges` goes from ten numbers per edge for splines to about one for KAT and fKAN.
#
# ## One VAE, eleven kinds of units and edges
#
# Which basis makes the better VAE? We train KAN-VAE** with each of them at the paper's setting, twice: with its 35 hidden units, and with as many as bring the model to its 564,550 parameters, within one percent.
# Three more kinds join. One learned B-spline per *input* is the layer of the [chapter before](13_how_many_functions.ipynb). And linear VAEs whose units are SiLU or, at equal size only, ReLU learn no function at all.
# Chebyshev polynomials run twice, as published and with the LayerNorm between layers that their authors advise, and at equal size so do B-splines, on the paper's grid and on $[-3, 3]$.

# %% tags=["hide-input"]
star = paper.FEATURED["KAN-VAE**"]
narrow = {
    kind: form.format(star.hidden_features)
    for kind, form in sizes.BASES.items()
}
equal = {kind: sizes.equal(kind) for kind in sizes.BASES}
equal["fixed (ReLU)"] = str(sizes.baseline(star))
equal["B-splines on ±3"] = f"{star}+grid_range=-3.0..3.0"
lines = results.at_paper(regime="paper", reading="last")
lines = lines.dropna(subset=["test_nll"])
columns = {
    "NLL": ("test_nll", 1),
    "latents in use": ("active_units", 0),
    "Fréchet, grey": ("frechet_digits_grayscale", 0),
    "thresholded": ("frechet_digits_binarized", 0),
}

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-narrow", "caption": "With 35 hidden units and 15 latents: NLL of 10,000 test images in nats and Fr\u00e9chet distances of 20,000 samples by digit features, after the last epoch, mean \u00b1 standard deviation where there are several training seeds."}}
table = results.summary(lines, narrow, columns)
tables.table(table.rename_axis("functions"))

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-same-size", "caption": "With as many parameters as KAN-VAE**, 35\u201315, to one percent: the same scores."}}
table = results.summary(lines, equal, columns)
tables.table(table.rename_axis("functions"))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-other-bases", "caption": "NLL minus that of the VAE with fixed SiLU units, in nats, and the 95 % interval over training seeds, with 35 hidden units (left) and with as many parameters (right). Left of the dotted line a kind is better. Chebyshev polynomials without a norm lie far outside and are left out."}, "image": {"alt": "With 35 hidden units only Gaussians lie clearly left of the line, B-splines on it, and wavelets and Jacobi polynomials clearly right of it. At equal size the three kinds that share functions lie on the line or a little left of it, and the kinds with a function on every edge lie 14 to 22 nats right of it."}}
means = lines.groupby("model").mean(numeric_only=True)
sized = {"35 hidden": narrow, "equal size": equal}
at = {
    where: means.loc[list(keys.values())].set_axis(list(keys))
    for where, keys in sized.items()
}
shown = [
    kind for kind in narrow if kind not in ("Chebyshev", "fixed (SiLU)")
]
from_silu = {
    where: {
        kind: results.difference(
            lines, keys[kind], keys["fixed (SiLU)"], "test_nll"
        )
        for kind in shown
    }
    for where, keys in sized.items()
}
figures.intervals(
    {
        where: {kind: d[:3] for kind, d in found.items()}
        for where, found in from_silu.items()
    }
)

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-bases-differences", "caption": "The numbers of the figure above: NLL minus that of fixed SiLU units, nats, with 95 % intervals. \u2020: stays clear of zero by Holm's procedure over the figure."}}
table = pd.DataFrame(from_silu)
mark = results.marker(pd.DataFrame(from_silu).stack().to_dict())
tables.table(
    table.rename_axis("hidden units have"), dict.fromkeys(table, mark)
)

# %% tags=["hide-input"]
few = [
    "Jacobi, one per layer",
    "rational, 8 groups",
    "B-splines, one per input",
]
pooled = lines.assign(
    model=lines["model"].map(
        {
            key: "shared" if kind in few else kind
            for kind, key in equal.items()
        }
    )
)
together = {
    kind: results.difference(pooled, "shared", kind, "test_nll")
    for kind in ("fixed (SiLU)", "fixed (ReLU)")
}

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-bases-more", "caption": "Further differences at equal size: NLL in nats, with 95 % intervals. The three shared kinds are Jacobi polynomials, rational functions and one B-spline per input."}}
from_splines = {
    kind: results.difference(
        lines, equal[kind], equal["B-splines"], "test_nll"
    )
    for kind in ("Gaussians", "Chebyshev, LayerNorm", "wavelets")
}
from_wide = {
    kind: results.difference(
        lines, equal[kind], equal["B-splines on ±3"], "test_nll"
    )
    for kind in from_splines
}
further = {
    **{
        ("the three shared kinds", kind): d for kind, d in together.items()
    },
    **{(kind, "B-splines"): d for kind, d in from_splines.items()},
    **{(kind, "B-splines on ±3"): d for kind, d in from_wide.items()},
}
table = pd.Series(
    {key: d.short() for key, d in further.items()}, name="NLL"
)
tables.table(table.to_frame().rename_axis(["hidden units have", "minus"]))

# %% tags=["hide-input"]
test = data.binarize(data.load("MNIST", "test").pixels).float()
image = pixels.float().mean(0).clamp(1e-4, 1 - 1e-4)
lost = F.binary_cross_entropy(
    image.expand_as(test), test, reduction="none"
).sum(1)
print(f"one mean image for every digit: NLL {lost.mean():.1f} nats")

# %% [markdown]
# With 35 hidden units ({numref}`tab-narrow`, {numref}`tab-bases-differences`) the Gaussians have the best likelihood. They are the only kind ahead of fixed SiLU units by an interval that excludes zero, with nine times as many parameters, and by [Holm's procedure](../book/conventions.md) over the fourteen intervals of {numref}`fig-other-bases` they stay clear. FastKAN's LayerNorm, which keeps its inputs within reach of its functions, is a likely reason: a wider grid brings the B-splines [a similar gain](11_why.ipynb). B-splines on the paper's grid cannot be told from SiLU units. Jacobi polynomials are fourteen nats behind SiLU, and stay clear. Wavelets are ten nats behind, by an interval that excludes zero and does not stay clear; their runs scatter most, and use few of the fifteen latents.
#
# At equal size the picture divides ({numref}`tab-same-size`, {numref}`fig-other-bases`). A function on every edge costs width, and no basis earns that back in likelihood: the best of them, Chebyshev polynomials with a norm, is fourteen nats behind the linear VAE with SiLU. (By Holm's procedure B-splines, Gaussians, wavelets and these polynomials all stay clear.)
#
# The kinds with few functions keep the width, and all three have a better mean than SiLU, by a third of a nat to two. One B-spline per input is 1.9 nats ahead, by an interval that excludes zero but does not stay clear. The other two, and the three together, cannot be told from SiLU ({numref}`tab-bases-more`). The three together are 2.1 nats ahead of ReLU (0.6 to 3.6); they were pooled after the fact. At their own best rates, which the paper's is for none of these kinds, [four functions per input are ahead of SiLU](13_how_many_functions.ipynb).
#
# Once inputs are in range we see no effect of the basis: Gaussians, wavelets and Chebyshev polynomials cannot be told from B-splines on $[-3, 3]$, though differences of four to six nats remain possible. So at equal size neither another basis nor a function on every edge gains likelihood.
#
# By the distance of samples the kinds with shared functions are far ahead of ReLU in both kinds of image. In grey their means are below that of SiLU, too; for rational functions and one B-spline per input the interval excludes zero. Thresholded, it does so only for one B-spline per input, and just. But in thresholded images three kinds with a function on every edge are nearer than SiLU by intervals that exclude zero, as they are not in grey: Chebyshev polynomials with a norm, the nearest of all, B-splines on $[-3, 3]$, and wavelets. Without a norm Chebyshev polynomials learn
# nothing at all: no latent is in use, and their NLL is, to little more than a nat, that of one mean image for every digit. The norm is not optional.
#
# ```{admonition} How sure is this?
# :class: warning
#
# Each kind was trained five times. At equal size functions on edges are behind in likelihood with every basis; the differences of B-splines, Gaussians, wavelets and Chebyshev polynomials with a norm, which {numref}`fig-other-bases` has, stay clear. Gaussians, wavelets, and Chebyshev polynomials with a norm are ahead of B-splines on the paper's grid, which stays clear for all three by Holm's procedure over the three, and they are not ahead of those on a wider grid; the order among the three is not settled. Every kind ran at the paper's learning rate.
# ```

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-basis-fidelity", "caption": "Other measures of samples, grey / thresholded, for the models of one size: precision, recall, density and coverage against test images ([Table I](05_table1.ipynb) says what they are), and the kernel distance."}}
kinds_of_image = ("grayscale", "binarized")
measures = ("precision", "recall", "density", "coverage", "kernel")
measured = {
    kind: {
        measure: " / ".join(
            f"{means.loc[key, f'{measure}_digits_{images}']:.2f}"
            for images in kinds_of_image
        )
        for measure in measures
    }
    for kind, key in equal.items()
}
tables.table(pd.DataFrame(measured).T.rename_axis("functions"))

# %% [markdown]
# In {numref}`tab-basis-fidelity` the kinds divide once more. With a function on every edge (bare Chebyshev polynomials aside) samples look real more often than with any other kind: precision is higher, in both kinds of image. Their recall is lower than any other kind's, their coverage as high or higher. In grey, the three kinds with shared functions have the highest recall. Bare Chebyshev polynomials show why one measure does not do: their one mean image looks real every time and reaches nothing, and by the kernel distance it is the furthest. In thresholded images Chebyshev polynomials with a norm are the nearest by it.

# %% tags=["remove-cell"]
narrow_apart = from_silu["35 hidden"]
family = {
    (where, kind): d
    for where, found in from_silu.items()
    for kind, d in found.items()
}
by_kernel = means.loc[[*equal.values()], "kernel_digits_binarized"]
bare, normed = (
    equal[f"Chebyshev{words}"] for words in ("", ", LayerNorm")
)
assert by_kernel.idxmax() == bare
assert by_kernel.idxmin() == normed
for images in kinds_of_image:
    own = means.loc[bare]
    assert own[f"precision_digits_{images}"] > 0.995
    assert own[f"recall_digits_{images}"] < 0.005

# %% tags=["remove-cell"]
assert len(family) == 14
assert list(results.clear(family)) == [
    ("35 hidden", "Gaussians"),
    ("35 hidden", "Jacobi, one per layer"),
    ("equal size", "B-splines"),
    ("equal size", "Gaussians"),
    ("equal size", "Chebyshev, LayerNorm"),
    ("equal size", "wavelets"),
]
assert [*results.clear(from_splines)] == [*from_splines]
ahead = [kind for kind, d in narrow_apart.items() if d.high < 0]
assert ahead == ["Gaussians"]
assert 14 < narrow_apart["Jacobi, one per layer"].mean < 15
assert together["fixed (ReLU)"].short() == "-2.1 (-3.6 to -0.6)"
assert narrow_apart["wavelets"].low > 0
assert round(narrow_apart["wavelets"].mean) == 10
scatter = lines.groupby("model")["test_nll"].std()
assert scatter[list(narrow.values())].idxmax() == narrow["wavelets"]
used = at["35 hidden"]["active_units"].drop("Chebyshev")
assert used.idxmin() == "wavelets"
for kind, gain in (
    ("Gaussians", 6), ("wavelets", 6), ("Chebyshev, LayerNorm", 8),
):  # fmt: skip
    assert round(-from_splines[kind].mean) == gain
    assert 3.8 < max(map(abs, from_wide[kind][1:3])) < 6
assert narrow_apart["B-splines"].low < 0 < narrow_apart["B-splines"].high

# %% tags=["remove-cell"]
counts = lines["model"].value_counts()
for keys in sized.values():
    assert all(counts[key] == 5 for key in keys.values())
nll = at["equal size"]["test_nll"]
plain = nll[["fixed (SiLU)", "fixed (ReLU)"]]
edges = nll.drop([*few, *plain.index]).sort_values()
assert " ".join(edges.index) == (
    "Chebyshev, LayerNorm wavelets Gaussians B-splines on ±3 B-splines "
    "Chebyshev"
)
on_edges = [kind for kind in edges.index if kind != "Chebyshev"]
assert all(d.low < 0 < d.high for d in from_wide.values())
sizes_of = at["35 hidden"]["parameters"]
assert round(sizes_of["Gaussians"] / sizes_of["fixed (SiLU)"]) == 9

# %% tags=["remove-cell"]
nearer = {
    (kind, images): results.difference(
        lines,
        equal[kind],
        equal["fixed (SiLU)"],
        f"frechet_digits_{images}",
    )
    for kind in [*few, *on_edges]
    for images in ("grayscale", "binarized")
}
assert [key for key, d in nearer.items() if d.high < 0] == [
    ("rational, 8 groups", "grayscale"),
    ("B-splines, one per input", "grayscale"),
    ("B-splines, one per input", "binarized"),
    ("Chebyshev, LayerNorm", "binarized"),
    ("wavelets", "binarized"),
    ("B-splines on ±3", "binarized"),
]
assert nearer["B-splines, one per input", "binarized"].high > -5

# %% tags=["remove-cell"]
apart = from_silu["equal size"]
for kind in few[:2]:
    assert apart[kind].low < 0 < apart[kind].high
    assert -1 < apart[kind].mean < -0.25
best = apart["B-splines, one per input"]
assert best.short() == "-1.9 (-3.4 to -0.4)"
for kind in from_silu["equal size"].keys() - set(few):
    assert apart[kind].low > 0
assert 13.5 < apart["Chebyshev, LayerNorm"].mean < 14.5
assert together["fixed (SiLU)"].low < 0 < together["fixed (SiLU)"].high
assert together["fixed (ReLU)"].high < 0
assert -3 < together["fixed (ReLU)"].mean < -2
assert all(d.high < 0 for d in from_splines.values())

# %% tags=["remove-cell"]
grey, binary = (
    at["equal size"][f"frechet_digits_{images}"]
    for images in ("grayscale", "binarized")
)
assert grey[few].max() < grey[plain.index].min()
assert (grey[few] < grey["fixed (ReLU)"] - 100).all()
assert (binary[few] < binary["fixed (ReLU)"] - 90).all()
assert binary.idxmin() == "Chebyshev, LayerNorm"
for own in at.values():
    assert own.loc["Chebyshev", "active_units"] == 0
    assert abs(own.loc["Chebyshev", "test_nll"] - lost.mean()) < 1.4
assert at["equal size"]["parameters"].between(558_900, 570_200).all()

# %% tags=["remove-cell"]
for images in kinds_of_image:
    precision, recall, cover = (
        at["equal size"][f"{measure}_digits_{images}"]
        for measure in ("precision", "recall", "coverage")
    )
    rest = [*few, *plain.index]
    assert precision[on_edges].min() > precision[rest].max()
    assert recall[on_edges].max() < recall[rest].min()
    assert cover[on_edges].min() > cover[rest].max()
    if images == "grayscale":
        assert recall[few].min() > recall[plain.index].max()

# %% [markdown]
# ## What an update costs
#
# The scores leave out time. {numref}`tab-updates` has the time of an update of each model of one size, which a benchmark of the book (`benchmarks/updates.py`) measured in turns. The line above the table says where.

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-updates", "caption": "Milliseconds of a training update on 32 images, in the fastest of 25 turns, and their ratio to those of B-splines."}}
costs, where = results.measured("updates")
times = costs["bases"].set_index("model").loc[equal.values()]
times.index = list(equal)
print(
    "{processor}, {threads} threads, {date:.10}".format(**where["bases"])
)
tables.table(
    times.rename_axis("functions"), {"ms": ".1f", "relative": ".2f"}
)

# %% [markdown]
# Wavelets are the dearest: an update takes nearly three times as long as with B-splines, and Gaussians take twice as long ({numref}`tab-updates`). All others lie within a factor of two. Compiled kernels compute B-splines, shared ones included, and wavelets; the other functions are computed by PyTorch's own operations, so that the table compares implementations as well as bases. A wavelet takes an exponential for every edge and image, a Gaussian one for every input and image.

# %% tags=["remove-cell"]
assert times["ms"].idxmax() == "wavelets"
assert 2.7 < times.loc["wavelets", "relative"] < 3
assert 2 < times.loc["Gaussians", "relative"] < 2.25
rest = times["ms"].drop(["wavelets", "Gaussians"])
assert rest.max() < 2 * rest.min()

# %% [markdown]
# ## What we saw
#
# - Gaussians and wavelets are local, as B-splines are; polynomials reach everywhere.
# - Far outside its range, an edge of splines or Gaussians is its base function alone. A polynomial of $\tanh x$ is a constant, a wavelet is zero, and a rational function is nearly a line.
# - FastKAN and Wav-KAN bring norms along, and ChebyKAN's authors advise one: what keeps inputs in range is part of
#   the method.
# - fKAN and KAT learn a few functions for a whole layer, and spend about one number on an edge.
# - At equal size and the paper's learning rate, one function on every edge loses to fixed units in likelihood with every basis, and neither Gaussians, wavelets nor Chebyshev polynomials with a norm can be told from B-splines with a wider grid. The three kinds with a few functions that many edges share are together ahead of ReLU. One of them, one B-spline per input, is ahead of SiLU as well, which does not stay clear after correction.
#
# ## Exercises
#
# **1.** Why does ChebyKAN need no bias?
#
# <details><summary>Solution</summary>
#
# $T_0$ is 1 everywhere: its coefficients are constants on every edge, and their sum over the inputs is a bias of the output.
#
# </details>
#
# **2.** The first layer sees zeros and ones. Which of these layers are then nothing but a linear layer?
#
# <details><summary>Solution</summary>
#
# Those of B-splines, bare Chebyshev polynomials, fKAN and KAT: on two points every function is a line. FastKAN's Gaussians see a
# LayerNorm, which depends on all pixels. Wav-KAN's sum is linear, but its BatchNorm depends on the batch while it trains, and is affine only afterwards.
#
# </details>
#
# ## References
#
# Each layer was checked, values and gradients, against a source of its own: FastKAN's, ChebyKAN's and Wav-KAN's against what their authors' code computes, fKAN's against its authors' package, and KAT's values against NumPy's and its gradients against finite differences, since its authors' package needs a GPU. FastKAN, ChebyKAN and Wav-KAN are in no package index under their authors' names. Of these kinds only B-splines, Jacobi polynomials and rational functions can be shared between edges here; Gaussians, Chebyshev polynomials and wavelets have one function per edge, as in their papers.
#
# The layers are those of {cite:t}`li2024`, {cite:t}`ss2024`, {cite:t}`aghaei2024`, {cite:t}`bozorgasl2024` and {cite:t}`yang2025`, whose
# function is the unit of {cite:t}`molina2020`. Where ours depart from theirs stands in the [API reference](../book/api/layers.md).

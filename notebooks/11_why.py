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
# # Why it turned out this way
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/11_why.ipynb)
#
# **The question.** What do the paper's settings do to its KAN layers, and does that explain the results?
#
# **The answer.** Nearly half of a KAN-VAE's parameters are in its first layer, where a tenth of them could do the same, and about half of the encoder's hidden values meet no spline. A grid three times as wide gains 5.6 nats of likelihood (95 %: 2.6 to 8.6, pooled after we had seen the runs), about a quarter of the 21 nats by which KAN-VAE** is behind the linear VAE of its size.
#
# **In more detail.** Making the first layer linear saves nine tenths of that layer's parameters, at no cost that we could see. The gain of the wide grid comes from runs with both kinds of first layer, which we pooled after we had seen them.
#
# **You need** the [KAN layer](02_kan_layers.ipynb) and [Table I](05_table1.ipynb). **On this page** two exact facts about the paper's KAN-VAEs are proved and measured on trained weights: their first layer is affine, and part of
# what their other layers see lies outside the grid. Then an ablation tests whether mending either helps. The models were trained before.

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
import copy

import numpy as np
import pandas as pd
import torch

from kanvae import KANLinear, data, export, figures
from kanvae.figures import interactive, tables
from kanvae.studies import paper, plan, results, sizes
from kanvae.training import grids, load_model, mean_terms

# %% tags=["parameters"]
seed = 0

# %% [markdown]
# ## The first layer is affine
#
# Pixels are 0 or 1. On two points every function is a line, so a KAN layer that sees binary pixels is
#
# $$
# y_o = \sum_i \phi_{oi}(0) \; + \; \sum_i \big( \phi_{oi}(1) - \phi_{oi}(0) \big)\, x_i ,
# $$ (eq-first-layer)
#
# an `nn.Linear` with $O I + O$ parameters in place of $10\, O I$. How much of a trained first layer is affine? By {eq}`eq-first-layer` all of it; here is the check, on both trained KAN-VAEs and all 10,000 test images. The layer is evaluated through its splines, the line through its
# values at all-zero and one-hot images.

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-affine", "caption": "The first layer of both KAN-VAEs against the affine layer that it equals, on all test images."}}
x = data.binarize(data.load("MNIST", "test").pixels).float()
trained = {
    name: load_model(results.featured_run(architecture)).requires_grad_(
        False
    )
    for name, architecture in paper.FEATURED.items()
    if architecture.layer == "kan"
}
checks = {}
for name, model in trained.items():
    layer = model.encoder.hidden.first
    points = torch.cat((torch.zeros(1, 784), torch.eye(784)))
    value, at_one = layer(points).split([1, 784])  # (1, H), (784, H)
    rise = at_one - value
    line, spline = value + x @ rise, layer(x)
    torch.testing.assert_close(line, spline, rtol=1e-3, atol=1e-3)
    own = sum(p.numel() for p in layer.parameters())
    whole = sum(p.numel() for p in model.parameters())
    checks[name] = {
        "parameters": f"{own:,} ({own / whole:.0%} of all)",
        "if linear": rise.numel() + value.numel(),
        "largest output": float(spline.abs().max()),
        "difference": float((line - spline).abs().max()),
    }
tables.table(
    pd.DataFrame(checks).T.rename_axis("model"),
    {"largest output": ".1f", "difference": ".1e"},
)

# %% [markdown]
# The differences of {numref}`tab-affine` are rounding. Nearly half of each model's parameters, the ten numbers an edge of its first layer, do what one number an edge could.
#
# ## What a gradient can reach
#
# Which parameters can training change at all? A spline coefficient $c_j$ receives a gradient from an image only where its basis function $N_j$ is not zero. At the two values that a pixel takes, some basis functions are always zero, so their coefficients keep their initial values through all of training. We count, for each of the five
# layers, the share of coefficients whose basis function is not zero for at least one of the training images (with one posterior sample each), and the mean share that one image reaches.


# %%
def inputs_of(model, images):
    """What each layer of a KAN-VAE sees: name -> (images, inputs)."""
    noise = torch.Generator().manual_seed(seed)
    hidden = model.encoder.hidden.first(images)
    z = model.reparameterize(*model.encode(images), noise)
    return {
        "encoder.hidden.first": images,
        "encoder.mean": hidden,
        "encoder.log_var": hidden,
        "decoder.latents": z,
        "decoder.pixels": model.decoder.latents(z),
    }


def reach(layer, seen):
    bases = layer.bases(seen[:2000]) != 0  # (2000, I, n)
    ever = bases.any(0)
    for part in seen[2000:].split(2000):
        ever |= (layer.bases(part) != 0).any(0)
    return float(ever.double().mean()), float(bases.double().mean())


# %% [markdown]
# The images are the 10,000 that the models were trained on. The same inputs also tell what share lies inside the grid, and what share beyond all knots.

# %% mystnb={"table": {"name": "tab-reach", "caption": "What a gradient reaches, and where the inputs of each layer lie: shares of the spline coefficients, and of the inputs."}}
images = data.binarize(data.load("MNIST", regime="paper").pixels).float()
seen = {name: inputs_of(model, images) for name, model in trained.items()}
names_of = {
    "encoder.hidden.first": "first layer",
    "encoder.mean": "to the mean",
    "encoder.log_var": "to the log-variance",
    "decoder.latents": "from the latents",
    "decoder.pixels": "to the pixels",
}
found = {}
for name, model in trained.items():
    for layer, values in seen[name].items():
        ever, at_once = reach(model.get_submodule(layer), values)
        found[name, names_of[layer]] = {
            "ever reached": ever,
            "reached by one image": at_once,
            "inside the grid": float((values.abs() <= 1).double().mean()),
            "beyond all knots": float(
                (values.abs() >= 2.2).double().mean()
            ),
        }
reached = pd.DataFrame(found).T.rename_axis(["model", "layer"])
tables.table(reached, dict.fromkeys(reached, ".1%"))

# %% [markdown]
# In {numref}`tab-reach` 30 % of the first layer's coefficients never receive a gradient. One image reaches under half of the coefficients of any layer, and a sixth of those of KAN-VAE**'s two encoder *heads*, the layers to the mean and to the log-variance.
#
# ## What the layers see
#
# The last two columns lead to the second fact. The paper's grid covers $[-1, 1]$. Beyond it the splines fade, and beyond the last knots at $\pm 2.2$ they are exactly zero: only SiLU is left, one parameter of ten. What the layers see is not bounded by anything: hidden values
# are sums over all inputs, and the KL draws the latents towards a standard normal, of which 32 % lies outside $[-1, 1]$.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-inputs", "caption": "What the layers after the first see: density of hidden values of the encoder, latents, and hidden values of the decoder, over 10,000 training images; values beyond \u00b18 are not shown. Dotted: the ends of the grid and of the knots."}, "image": {"alt": "A quarter of the latents of KAN-VAE** lie outside the grid, and the encoder's hidden values spread so widely that about half of them lie beyond all knots."}}
edges = np.linspace(-8, 8, 161)
titles = {
    "encoder.mean": "encoder's hidden values",
    "decoder.latents": "latents",
    "decoder.pixels": "decoder's hidden values",
}
panels = {
    name: {
        title: np.histogram(seen[name][layer].flatten().numpy(), edges)[0]
        / (seen[name][layer].numel() * np.diff(edges))
        for layer, title in titles.items()
    }
    for name in trained
}
figures.densities(edges, panels, marks=[-2.2, -1, 1, 2.2])

# %% [markdown]
# In both models of {numref}`fig-inputs` the encoder's hidden values spread widest. About half of them lie beyond the outer dotted lines, the last knots: there the heads are weighted SiLUs and nothing else. Values between the inner two lines, the ends of the grid, meet full splines. In KAN-VAE** a quarter of the latents and more than half of the decoder's hidden values lie outside the grid ({numref}`tab-reach`).
#
# The densities mix all units. One edge at a time shows what a function does with the inputs that it gets: the next figure takes KAN-VAE**, and there the edge from a latent to a hidden unit of the decoder that varies the most over the training images.

# %%
model = trained["KAN-VAE**"]
places = {
    "decoder.latents": ("latent", "hidden unit"),
    "encoder.mean": ("hidden unit", "mean of latent"),
    "encoder.log_var": ("hidden unit", "log-variance of latent"),
}

layer, z = model.decoder.latents, seen["KAN-VAE**"]["decoder.latents"]
moved = layer.importance(z)  # (O, I): standard deviations of the edges
unit, latent = divmod(int(moved.argmax()), layer.in_features)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-trained-edge", "caption": "One edge of the trained KAN-VAE**, from a latent to a hidden unit of its decoder: base, spline, and their sum. Dotted: the ends of the grid and of the knots."}, "image": {"alt": "The edge bends where the spline acts, between the outer dotted lines; beyond them it is its base alone."}}
at = torch.linspace(-4, 4, 401)
base, spline = layer.edges(at[:, None].expand(-1, len(z[0])))
parts = {"base": base, "spline": spline, "edge": base + spline}
picture = figures.lines(
    at,
    {name: values[:, unit, latent] for name, values in parts.items()},
    f"latent {latent + 1}",
    r"$\phi$",
    marks=[-2.2, -1, 1, 2.2],
    dashed=["base", "spline"],
)
shown = []
for name, (inputs, outputs) in places.items():
    (arrays,) = export.layers([model.get_submodule(name)])
    spread = interactive.histograms(seen["KAN-VAE**"][name], (1, 2.2))
    about = {"name": f"{inputs} to {outputs}", "layer": arrays}
    about |= {"inputs": inputs, "outputs": outputs, "seen": spread}
    shown.append(about)
about = {"layers": shown, "marks": [1, 2.2], "start": [0, latent, unit]}
interactive.figure("network", about, picture)

# %% [markdown]
# In {numref}`fig-trained-edge` the spline matters most outside the grid, where only the outermost basis functions are left; beyond the outer dotted lines the edge is its base alone. On the book's page you can choose any other edge, also of the encoder's two heads, and see where its inputs fall. Where they lie beyond the outer dotted lines, the edge has no spline.
#
# ## Can the edges be read?
#
# The paper expects KANs to be easier to interpret than MLPs, and shows no edge of a trained model. So let us look: {numref}`fig-read-edges` has the five edges from the latents of KAN-VAE** that move the decoder's hidden units most, by the standard deviation of $\phi(z)$ over the training images.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-read-edges", "caption": "The five edges from a latent to a hidden unit of KAN-VAE**'s decoder that vary the most over the training images."}, "image": {"alt": "Five smooth curves. Below -2 all are nearly flat; two rise to a peak near -1.4 and then fall, three dip, or nearly so, and then rise steadily. None of them is a function that one would name."}}
ranked = moved.flatten().argsort(descending=True)[:5].tolist()
both = base + spline  # (N, O, I), at the points of the figure above
figures.lines(
    at,
    {
        f"latent {i + 1}, unit {o + 1}": both[:, o, i]
        for o, i in (divmod(e, layer.in_features) for e in ranked)
    },
    "latent",
    r"$\phi$",
    marks=[-2.2, -1, 1, 2.2],
)

# %% [markdown]
# Each curve can be read: where a latent raises a unit, where it lowers it, and how steeply. But a hidden unit adds the curves of all fifteen latents, and a pixel those of 35 hidden units. Do few edges carry the model, so that one could look at them all? We rank the edges of every layer by how much they move its output, set the last ones to
# zero, and take the ELBO of 2,000 validation images. The VAE's weights are ranked alike: there an edge moves its output by $|w|$ times the standard deviation of its input.

# %% [markdown]
# A copy of a model without a share of its edges, the least important ones or random ones:


# %%
def pruned(model, images, share, by_rank=True):
    """A copy of a model without this share of each layer's edges."""
    model = copy.deepcopy(model)
    noise = torch.Generator().manual_seed(seed)
    kinds = (KANLinear, torch.nn.Linear)
    seen = grids.inputs_of_layers(model, images.float(), noise, kinds)
    for layer, x in seen.values():
        is_kan = isinstance(layer, KANLinear)
        moved = (
            layer.importance(x)
            if is_kan
            else layer.weight.abs() * x.std(0)
        )
        if not by_rank:
            moved = torch.rand(moved.shape, generator=noise)
        place = moved.flatten().argsort().argsort().view_as(moved)
        keep = place >= round(share * moved.numel())
        layer.prune(keep) if is_kan else layer.weight.mul_(keep)
    return model


# %% [markdown]
# Both models are thinned out by rank, KAN-VAE** also at random.

# %%
shares = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
held_out = data.binarize(data.load("MNIST", "validation").pixels[:2000])
run = results.featured_run(paper.FEATURED["VAE"])
vae = load_model(run).requires_grad_(False)


def elbo(model, share, by_rank):
    thinned = pruned(model, images[:2000].bool(), share, by_rank)
    return -sum(mean_terms(thinned, held_out, seed))


narrow = trained["KAN-VAE**"]
falling = {
    label: np.array([elbo(model, share, by_rank) for share in shares])
    for label, model, by_rank in (
        ("VAE, ranked", vae, True),
        ("KAN-VAE**, ranked", narrow, True),
        ("KAN-VAE**, at random", narrow, False),
    )
}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-pruned", "caption": "ELBO of 2,000 validation images when a share of the edges of every layer is set to zero: those that move the output least, or random ones."}, "image": {"alt": "At random the ELBO falls from the first tenth on. By rank both models stay nearly level to three tenths and fall steeply after six; the curve of KAN-VAE** lies below the VAE's at every share."}}
figures.lines(
    np.array(shares),
    falling,
    "share of edges set to zero",
    "ELBO, nats per image",
    dashed=["KAN-VAE**, at random"],
)

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-pruned", "caption": "What pruning costs: nats of ELBO lost with a share of the edges, by rank or at random."}}
lost = {label: values[0] - values for label, values in falling.items()}
counts = {
    name: paper.FEATURED[name].edges() for name in ("VAE", "KAN-VAE**")
}
costs = pd.DataFrame(lost, index=pd.Index(shares, name="share of edges"))
tables.table(costs, {"share of edges": "g"} | dict.fromkeys(costs, ".1f"))

# %% [markdown]
# The ranking is worth something ({numref}`fig-pruned`, {numref}`tab-pruned`): zeroing a random tenth of the edges costs more than zeroing the least important half. By rank three tenths can go for about five nats. But KAN-VAE** does not rest on a few edges. With four fifths gone it has lost 280 nats, more than twice the size of its whole ELBO, and a fifth of its edges are still nearly eleven thousand curves. It is no easier to thin out than the VAE, which loses less at every share from a fifth on; but the VAE has eleven times as many edges, each with one number. So the edges can be looked at, compared and ranked, which is more than weights offer. They do not add up to an explanation. (One training of each and one random draw. A zeroed edge loses its mean as well as its variation, and the rest is not trained again.)

# %% tags=["remove-cell"]
kan, mlp, chance = (
    lost[label]
    for label in (
        "KAN-VAE**, ranked",
        "VAE, ranked",
        "KAN-VAE**, at random",
    )
)
assert chance[1] > kan[5]  # a tenth at random, half by rank
assert 4.5 < kan[3] < 6
assert mlp[3] < 2
assert kan[-1] > -2 * falling["KAN-VAE**, ranked"][0]
assert round(kan[-1], -1) == 280
assert (kan[2:] > mlp[2:]).all()
assert 11 < counts["VAE"] / counts["KAN-VAE**"] < 12
edges_left = 0.2 * counts["KAN-VAE**"]
assert 10_500 < edges_left < 11_500

# %% [markdown]
# ## Does it matter? An ablation
#
# Both facts can be mended by one setting each. **Wide grid**: every grid covers $[-3, 3]$, which holds 99.7 % of a standard normal. **Linear first layer**: the first layer is the `nn.Linear` that it amounts to, which saves nine of ten of its parameters. And both at once. Everything else is as for
# KAN-VAE** (`kan-35-15`), same seeds.
#
# **Prediction.** A linear first layer can express exactly what the KAN layer can, so test scores should change little; what may change is how fast Adam gets there, since it moves ten parameters of an edge at once. A wide grid gives the latents and hidden values splines where they had none, at a coarser resolution.

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-ablation", "caption": "KAN-VAE** as in the paper and with either change: mean \u00b1 standard deviation over training seeds."}}
base = str(paper.FEATURED["KAN-VAE**"])
names = dict(
    zip(
        plan.ABLATION,
        ("wide grid", "linear first layer", "both"),
        strict=True,
    )
)
lines = results.at_paper(regime="paper", reading="last")
lines = lines.dropna(subset=["test_nll"])
own = lines[lines["model"].isin([base, *names])]
scores = {
    "test ELBO": ("test_elbo", 1),
    "NLL": ("test_nll", 1),
    "Fréchet, grey": ("frechet_digits_grayscale", 0),
    "thresholded": ("frechet_digits_binarized", 0),
}
labels = {"as in the paper": base} | {v: k for k, v in names.items()}
table = results.summary(own, labels, scores)
tables.table(table.rename_axis("KAN-VAE**"))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-ablation", "caption": "What each change does, against KAN-VAE** as in the paper: difference of the means over training seeds (dot), and its 95 % interval (bar). Left of zero is better. The ELBO is in the table above alone."}, "image": {"alt": "A wide grid lowers the NLL by about six nats, with an interval that excludes zero; together with a linear first layer by about as much, with an interval that just includes zero. A linear first layer alone changes little. All intervals of the grey distance include zero; of the thresholded one only that of both changes together does not."}}
there = {k: v for k, v in names.items() if k in set(own["model"])}
differences = {
    title: {
        label: results.difference(own, model, base, field)
        for model, label in there.items()
    }
    for title, (field, _) in scores.items()
}
figures.intervals(
    {
        f"{title}, change": {label: d[:3] for label, d in values.items()}
        for title, values in differences.items()
        if title != "test ELBO"
    }
)

# %% [markdown]
# The prediction holds for the first layer: made linear, it changes the likelihood by no more than training runs differ ({numref}`tab-ablation`). The wide grid does more than we expected of a coarser resolution: alone it gains about six nats, and both changes together gain about as much ({numref}`fig-ablation`). But runs of one kind lie up to eleven nats apart, and by [Holm's procedure](../book/conventions.md) over all twelve differences, of three changes in four scores, none stays clear. So we also pool the runs over both kinds of first layer, ten with the wide grid and ten with the paper's:

# %% tags=["hide-input"]
grid = {key: "-3.0..3.0" in key for key in (base, *names)}
pooled = own.assign(model=own["model"].map(grid))
together, unseen, grey, binary = (
    results.difference(pooled, True, False, score)
    for score in (
        "test_nll",
        "validation_elbo",
        "frechet_digits_grayscale",
        "frechet_digits_binarized",
    )
)
equal = str(sizes.baseline(paper.FEATURED["KAN-VAE**"]))
behind = results.difference(lines, base, equal, "test_nll")

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-wide", "caption": "Differences of means, in nats where they are of NLL or ELBO, with 95 % intervals. The grids are pooled over both kinds of first layer: ten runs with either. The rate that never falls has three runs, the paper's schedule has five."}}
schedules = pd.concat(
    results.at_paper(how, regime="paper", reading="last").assign(
        model=lambda lines, words=words: lines["model"] + words
    )
    for words, how in (("", paper.SETTINGS), (", held", paper.NEVER))
)
held = {
    title: results.difference(
        schedules, f"{key}, held", str(key), "validation_elbo"
    )
    for title, key in paper.FEATURED.items()
    if title != "KAN-VAE*"
}
differing = {
    ("wide grid − the paper's", "test NLL"): together.short(),
    ("wide grid − the paper's", "validation ELBO"): unseen.short(),
    ("wide grid − the paper's", "Fréchet, grey"): grey.short(0),
    ("wide grid − the paper's", "Fréchet, thresholded"): binary.short(0),
    ("KAN-VAE** − linear VAE of its size", "test NLL"): behind.short(),
} | {
    (f"{title}, rate never falls − falls", "validation ELBO"): d.short()
    for title, d in held.items()
}
table = pd.Series(differing, name="mean and interval").to_frame()
tables.table(table.rename_axis(["difference", "in"]))

# %% [markdown]
# **The grid explains a quarter of the gap, if the pooling holds.** Pooled after the fact, the gain of the wide grid is clear of zero in likelihood and in the thresholded distance, and not in the grey one ({numref}`tab-wide`). The ELBO of validation images, on which this book makes its choices, says the same: 5.9 nats (3.2 to 8.6). Nearly three quarters of the gap to the linear VAE of KAN-VAE**'s size remain. With both changes a model with little more than half of KAN-VAE**'s parameters is better than KAN-VAE** on average, in likelihood and in both distances.
#
# **The schedule may explain more.** At a rate that never falls the mean validation ELBO of KAN-VAE** is three nats higher, but the interval includes zero. The VAE loses four nats, with an interval that does not ([the paper's figures](10_paper_figures.ipynb) allow both schedules).
#
# The paper itself suspects the number of inputs: its network has 784, and KANs had shone where inputs were few. The ablation tests this. Only the first layer sees the 784 inputs. Where that layer is linear, no spline sees an input. Yet the likelihood then changes by no more than runs scatter, while the gap to the linear VAE is 21 nats. So splines on many inputs are not the main reason. What is left is the later layers, with 15 and 35 inputs, and the width itself: many inputs make many edges, and at ten numbers an edge the model can afford only 35 hidden units.

# %% tags=["remove-cell"]
shares = reached["inside the grid"]
assert 0.24 < 1 - shares["KAN-VAE**", "from the latents"] < 0.26
assert 0.54 < 1 - shares["KAN-VAE**", "to the pixels"] < 0.57
beyond = reached["beyond all knots"][:, "to the mean"]
assert beyond.between(0.45, 0.55).all()
at_once = reached["reached by one image"]
assert at_once.max() < 0.5
assert 0.15 < at_once["KAN-VAE**", "to the mean"] < 0.18
never = 1 - reached["ever reached"][:, "first layer"]
assert never.between(0.29, 0.31).all()
changes = {k: d.mean for k, d in differences["NLL"].items()}
spread = own.groupby("model")["test_nll"].agg(["min", "max"])
assert 10.5 < (spread["max"] - spread["min"]).max() < 11.6
assert together.high < 0
assert unseen.short() == "+5.9 (+3.2 to +8.6)"
assert binary.high < 0
assert grey.low < 0 < grey.high
assert 2.7 < held["KAN-VAE**"].mean < 3.4
assert held["KAN-VAE**"].low < 0
assert held["VAE"].high < 0
assert 20.5 < behind.mean < 21.5
assert -4.5 < held["VAE"].mean < -3.5
assert all(d.seeds == 3 for d in held.values())

# %% tags=["remove-cell"]
first = differences["NLL"]["linear first layer"]
assert first.low < 0 < first.high
family = {
    (title, label): d
    for title, values in differences.items()
    for label, d in values.items()
}
assert len(family) == 12
assert not results.clear(family)
assert abs(first.mean) < own.groupby("model")["test_nll"].std()[base]
assert -6.5 < changes["wide grid"] < -5.5
assert differences["NLL"]["wide grid"].high < 0
assert -6.2 < changes["both"] < -5.5
assert differences["test ELBO"]["wide grid"].low > 0
assert 0 < differences["NLL"]["both"].high < 0.5
assert all(
    d.low < 0 < d.high for d in differences["Fréchet, grey"].values()
)
apart = {k for k, d in differences["thresholded"].items() if d.high < 0}
assert apart == {"both"}
assert 0.25 < -together.mean / behind.mean < 0.28
means = own.groupby("model").mean(numeric_only=True)
better = means.loc[plan.ABLATION[2]] - means.loc[base]
assert better["test_elbo"] > 0
assert better["test_nll"] < 0
assert better["frechet_digits_grayscale"] < 0
assert better["frechet_digits_binarized"] < 0
small, whole = (sizes.parameters(key) for key in (plan.ABLATION[2], base))
assert 0.5 < small / whole < 0.6

# %% [markdown]
# ## A grid that follows its inputs
#
# KANs came with two ways to place a grid other than by guess {cite}`liu2024`: to move it to where a layer's inputs are, and to start coarse and make it finer while the model trains. The paper used neither. In {numref}`tab-grids` grids are moved after each of the first ten epochs, or made finer after 8, 15 and 22 epochs, from 3 intervals to 5, 10 and 20; a grid with 20 intervals from the start stands beside. The first layer, whose inputs are zero or one, keeps its grid. Everything else is as for KAN-VAE**.
#
# **Prediction.** A moved grid needs no guess, so it should gain at least what the wide one does. More intervals in the same place should change little.

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-grids", "caption": "KAN-VAE** with other grids: mean \u00b1 standard deviation over training seeds. The last column is the share of latents outside the grid after training."}}
ways = {
    label: results.at_paper(
        paper.SETTINGS | change,
        model=base + own_grid,
        regime="paper",
        reading="last",
    ).assign(model=label)
    for label, (own_grid, change) in plan.GRIDS.items()
}
wide_key = next(key for key, name in names.items() if name == "wide grid")
ways["fixed, on [−3, 3]"] = lines[lines["model"] == wide_key].assign(
    model="fixed, on [−3, 3]"
)
followed = pd.concat(ways.values()).dropna(subset=["test_nll"])
followed["outside"] = 100 * followed["latents_outside_grid"]
columns = scores | {"outside, %": ("outside", 0)}
table = results.summary(followed, {n: n for n in ways}, columns)
tables.table(table.drop(columns="parameters").rename_axis("grid"))

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-grids-differ", "caption": "Differences between the grids of the table before, NLL in nats, with 95 % intervals over training seeds."}}
first_way, *other_ways = ways
compared = (
    ("test_nll", 1),
    ("frechet_digits_grayscale", 0),
    ("frechet_digits_binarized", 0),
)
by_grid = {
    (way, score): results.difference(followed, way, first_way, score)
    for way in other_ways
    for score, _ in compared
}
moved, wider = "moved to its inputs", "fixed, on [−3, 3]"
looked = results.difference(followed, moved, wider, "test_nll")
pairs = [*((way, first_way) for way in other_ways), (moved, wider)]
table = pd.DataFrame(
    {
        pair: [
            results.difference(followed, *pair, score).short(digits)
            for score, digits in compared
        ]
        for pair in pairs
    },
    index=["test NLL", "Fréchet, grey", "thresholded"],
).T
tables.table(table.rename_axis(["grid", "minus"]))

# %% [markdown]
# Three runs do not settle the first half of the prediction. Where grids are moved to their inputs, fewer than one latent in two hundred lies outside ({numref}`tab-grids`). On average the likelihood is nearly four nats better than with the paper's grid; with the wide grid it is six nats better ({numref}`tab-grids-differ`). The moved and the wide grid cannot be told apart. By likelihood only the wide one's interval excludes zero, before any correction for several comparisons.
#
# The second half holds: more intervals in the same place show no gain. Twenty intervals from the start take two and a half times the parameters; their mean likelihood is worse, and their samples are further away in both kinds of image, by intervals that exclude zero. With grids from coarse to fine, neither likelihood nor either distance can be told from those with five intervals. So the paper's grid seems to be too narrow rather than too coarse. We saw no gain from following the data over guessing three standard deviations.

# %% tags=["remove-cell"]
runs = pooled.groupby("model").size()
assert set(runs) == {10}
assert together.short() == "-5.6 (-8.6 to -2.6)"
by_nll = {way: by_grid[way, "test_nll"] for way in other_ways}
outside = followed.groupby("model")["outside"].mean()
assert looked.low < 0 < looked.high
assert looked.mean > 0
assert outside[[moved, wider]].max() < 0.5
assert outside.drop([moved, wider]).min() > 20
assert -4 < by_nll[moved].mean < -3.5
assert round(by_nll[wider].mean) == -6
assert by_nll[wider].high < 0
for kind in ("grayscale", "binarized"):
    finer = by_grid["from G = 3 to 20", f"frechet_digits_{kind}"]
    assert finer.low < 0 < finer.high
    assert by_grid["fixed, G = 20", f"frechet_digits_{kind}"].low > 0
for way in (moved, "fixed, G = 20", "from G = 3 to 20"):
    assert by_nll[way].low < 0 < by_nll[way].high
    assert by_nll[way].seeds == 3
distant = followed.groupby("model").mean(numeric_only=True)
worse = distant.loc["fixed, G = 20"] - distant.loc[first_way]
assert worse["test_nll"] > 0
assert worse["frechet_digits_grayscale"] > 0
assert worse["frechet_digits_binarized"] > 0
fine, coarse = (
    distant.loc[way, "parameters"] for way in ("fixed, G = 20", first_way)
)
assert round(fine / coarse, 1) == 2.5

# %% [markdown]
# ## Would more layers have helped?
#
# The paper's encoder and decoder have one hidden layer each, and so two layers of weights; V-C calls the encoder single-layer. It says, without numbers, that more than two made its samples worse. {numref}`tab-depth` has them: KAN-VAE** and the VAE with one, two and three hidden layers of the same width on either side, at the paper's setting.

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-depth", "caption": "More hidden layers in encoder and decoder, at the same width, with the latents in use and the recall of thresholded samples: mean \u00b1 standard deviation over training seeds, five with one layer and three with more."}}
deeper = {
    (title, depth): f"{paper.FEATURED[title]}"
    + (f"+depth={depth}" if depth > 1 else "")
    for title in ("KAN-VAE**", "VAE")
    for depth in (1, 2, 3)
}
scores = {
    "NLL": ("test_nll", 1),
    "latents": ("active_units", 0),
    "Fréchet, grey": ("frechet_digits_grayscale", 0),
    "thresholded": ("frechet_digits_binarized", 0),
    "recall": ("recall_digits_binarized", 2),
}
table = results.summary(lines, deeper, scores)
table = table.drop(columns=["parameters", "seeds"])
tables.table(table.rename_axis(["model", "layers"]))

# %% [markdown]
# **By likelihood deeper models are worse.** Each further layer costs either model more nats than the one before, and fewer latents stay in use ({numref}`tab-depth`).
#
# **By samples it depends on the measure.** The paper judged by samples. By the Fréchet distance, a second hidden layer makes no difference that we can tell for KAN-VAE**. It brings the VAE's samples much nearer, in both kinds of image. A third makes KAN-VAE**'s thresholded samples no different and its grey ones worse on average; that interval excludes zero but does not stay clear by Holm's procedure. The recall of thresholded samples falls in both models with every layer ({numref}`tab-depth`). (Twelve comparisons hold deeper models against the one with one hidden layer, in NLL and in both distances. Eight stay clear: all in NLL, and all of the VAE's in either distance.)
#
# **The VAE with three hidden layers is the extreme case.** By likelihood it is 33 nats behind the VAE with one. Yet its samples are nearer to thresholded test digits than those of any other model in the tables of this book, the convolutional ones included. Four latents are in use: it draws a small part of the digits, well. Here too a claim of better or worse has to name its measure. All ran at a learning rate chosen for one hidden layer; a rate or a norm that suits deep models may reverse this.

# %% tags=["remove-cell"]
deep = lines.groupby("model").mean(numeric_only=True)
trained = lines.value_counts("model")
assert [trained[key] for key in deeper.values()] == [5, 3, 3, 5, 3, 3]

# %% tags=["remove-cell"]
for title in ("KAN-VAE**", "VAE"):
    stack = deep.loc[[deeper[title, depth] for depth in (1, 2, 3)]]
    costs = stack["test_nll"].diff().iloc[1:]
    assert 5 < costs.iloc[0] < costs.iloc[1]
    assert stack["active_units"].is_monotonic_decreasing
    recalled = stack["recall_digits_binarized"].map("{:.2f}".format)
    assert (
        list(recalled)
        == {
            "KAN-VAE**": ["0.58", "0.20", "0.01"],
            "VAE": ["0.85", "0.71", "0.20"],
        }[title]
    )
    for images in ("grayscale", "binarized"):
        second, third = (
            results.difference(
                lines,
                deeper[title, depth],
                deeper[title, 1],
                f"frechet_digits_{images}",
            )
            for depth in (2, 3)
        )
        if title == "VAE":
            assert second.high < 0
        else:
            assert second.low < 0 < second.high
            assert third.low > 0 or images == "binarized"

# %% tags=["remove-cell"]
assert 32 < costs.sum() < 33
assert round(stack["recall_digits_binarized"].iloc[2], 1) == 0.2
assert round(stack["recall_digits_binarized"].iloc[0], 2) == 0.85
assert round(stack["active_units"].iloc[2]) == 4
every = results.scores(dataset="MNIST", regime="paper")
nearest = every.dropna(subset=["test_nll"]).set_index("model")
binary = nearest["frechet_digits_binarized"]
assert binary.idxmin() == deeper["VAE", 3]

# %% tags=["remove-cell"]
deeper_by = {
    (title, depth, score): results.difference(
        lines, deeper[title, depth], deeper[title, 1], score
    )
    for title in ("KAN-VAE**", "VAE")
    for depth in (2, 3)
    for score in (
        "test_nll",
        "frechet_digits_grayscale",
        "frechet_digits_binarized",
    )
}
assert list(results.clear(deeper_by)) == [
    ("KAN-VAE**", 2, "test_nll"),
    ("KAN-VAE**", 3, "test_nll"),
    ("VAE", 2, "test_nll"),
    ("VAE", 2, "frechet_digits_grayscale"),
    ("VAE", 2, "frechet_digits_binarized"),
    ("VAE", 3, "test_nll"),
    ("VAE", 3, "frechet_digits_grayscale"),
    ("VAE", 3, "frechet_digits_binarized"),
]

# %% tags=["remove-cell"]
others = results.study("convolution")["frechet_digits_binarized"]
assert binary.min() < others.min()
grey_third, binary_third = (
    results.difference(
        lines,
        deeper["KAN-VAE**", 3],
        deeper["KAN-VAE**", 1],
        f"frechet_digits_{images}",
    )
    for images in ("grayscale", "binarized")
)
assert grey_third.low > 0
assert binary_third.low < 0 < binary_third.high

# %% [markdown]
# ## What we saw
#
# - The first layer's splines buy nothing on binary pixels, by an identity, not by a measurement: half of the model's parameters, ten an edge, express what one per edge could.
# - Its edges can be drawn, ranked and pruned by rank, but no small part of them carries the model, and the VAE's weights can be thinned out further.
# - A good part of what the other layers see lies where the paper's grid gives them few or no splines.
# - Moved to where its inputs are, a grid of the paper's size holds all latents and gains nearly four nats on average, not clear of zero in three runs; more intervals show no gain.
# - More hidden layers make both kinds worse by likelihood. By the Fréchet distance they show no gain for KAN-VAE**, and with a third they may be worse in grey, as the paper says; a second one helps the VAE. Recall falls in both.
# - A grid from $-3$ to $3$ in place of $-1$ to $1$ gained 5.6 nats (2.6 to 8.6), pooled after the fact: the paper's grid is probably too narrow for what its layers see. A rate that never falls may help as well; three runs cannot tell. Nearly three quarters of the gap to a linear VAE of the same size remain unexplained.
#
# ## Exercises
#
# **1.** Which coefficients of the first layer never receive a gradient, and why those?
#
# <details><summary>Solution</summary>
#
# `layer.bases(torch.tensor([0.0, 1.0])[:, None].expand(2, 784))[:, 0]` shows the basis functions at 0 and at 1. The ones that are zero at both are the first two, whose intervals lie below $-0.2$: no pixel is ever there. They are a quarter of all. The rest of the 30 % are coefficients near 1, of pixels that are on in no training image.
#
# </details>
#
# **2.** Would grey pixels change the first fact?
#
# <details><summary>Solution</summary>
#
# Yes: on $[0, 1]$ the splines are curves again, with as many free coefficients as have their basis function there. Train with `binarization = "stochastic"` and nothing changes, since drawn pixels are binary too; the loss would have to accept grey ones.
#
# </details>
#
# ## References
#
# {cite:t}`nik2024` for the settings, {cite:t}`liu2024` for grids that follow the data: `update_grid` and `extend_grid` of our layer do that, and the paper does not use them.

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
# # Convolutions
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/15_convolution.ipynb)
#
# **The question.** The paper's models have a weight, or a function, for every pixel. A network for images would slide small kernels over them, and Conv-KAN makes each element of a kernel a function. Is a convolutional VAE better with functions in its kernels?
#
# **The answer.** Probably, where functions are shared. With one learned function per input of a layer, which all outputs weigh, the likelihood is better than that of an ordinary convolutional VAE of the same size with SiLU units: by 1.5 nats on clothes, and by 1.3 on digits, which does not stay clear after correction, at 2.3 times the time of an update. A function for every element of every kernel, as Conv-KAN has it, shows no gain that we could tell.
#
# **In more detail.** On digits the thresholded samples of shared functions are nearer to real ones, too. The intervals of both leads exclude zero; by Holm's procedure over the twelve comparisons that were planned neither stays clear. The 1.5 nats on clothes survive such a correction.
#
# On digits a function for every element of every kernel has the mean likelihood of the ordinary VAE with ReLU, and is 0.7 nats behind the one with SiLU, where the interval just reaches zero. If the layers around the latents have a function on every edge too, the likelihood is five to six nats behind, which stays clear.
#
# **You need** the chapters on [KAN layers](02_kan_layers.ipynb) and on [shared functions](13_how_many_functions.ipynb), and to have met a convolution. **On this page** we write a convolution of functions out by hand, see that its first layer is an ordinary one, and compare five VAEs of one size. The training runs behind the tables took three hours of one core.

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
# The imports, and the parameter that you may change: the side of the kernels that are written out.

# %%
import math

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from kanvae import KANLinear, data, figures
from kanvae.figures import tables
from kanvae.layers.convolution import (
    FunctionConv2d,
    FunctionConvTranspose2d,
)
from kanvae.models import count_parameters
from kanvae.studies import convolution, results

# %% tags=["parameters"]
size = 4

# %% [markdown]
# ## A kernel of functions
#
# A convolution multiplies every pixel of a patch by a weight and adds up. With channels $c$, a kernel of $k \times k$ elements and steps of $s$ pixels, output $o$ at row $h$ and column $w$ is the sum of $w_{ocij}\, x_c(sh + i, sw + j)$ over $c, i, j$. Conv-KAN {cite}`bodner2024` puts a learned function in the place of each weight:
#
# $$
# y_o(h, w) = \sum_{c, i, j} \phi_{ocij}\bigl(x_c(sh + i, sw + j)\bigr) .
# $$ (eq-function-convolution)
#
# So it is a KAN layer that sees every patch of the image. Its edges $\phi$ are those of [KAN layers](02_kan_layers.ipynb), a base function and B-splines with ten numbers each. By hand, patch for patch:

# %%
torch.manual_seed(0)
conv = FunctionConv2d(2, 3, size, stride=2, padding=1)
x = torch.randn(5, 2, 9, 9)
kan = conv.layer  # 2 k^2 inputs, 3 outputs
assert type(kan) is KANLinear

padded, expected = F.pad(x, (1, 1, 1, 1)), torch.empty_like(conv(x))
for h in range(expected.shape[-2]):
    for w in range(expected.shape[-1]):
        rows, columns = (slice(2 * at, 2 * at + size) for at in (h, w))
        patch = padded[:, :, rows, columns]
        expected[:, :, h, w] = kan(patch.flatten(1))
torch.testing.assert_close(conv(x), expected)

# %% [markdown]
# Beyond its edges an image is zero, and a function need not be zero there: $\phi(0)$ of the elements outside joins the sum. A *transposed* convolution goes the other way, as decoders need it: each pixel makes a patch, and overlapping patches are added up.
#
# The functions can also be shared, as in the chapter on [how many functions a VAE needs](13_how_many_functions.ipynb): one function for each element of the patch, which all output channels see and weigh by numbers of their own. In a transposed convolution the inputs are channels, so that it is one function for each channel.
#
# ## On binary images the first layer is an ordinary one
#
# The first layer sees pixels that are 0 or 1, and a function that is asked at two points only is a line. Elsewhere the functions of a kernel need not be lines. Here are those of one kernel, with ten times the noise of a new layer so that their bends can be seen:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-first-kernel", "caption": "The functions of one kernel that sees binary pixels. Only their values at 0 and 1 (dotted) are ever used."}, "image": {"alt": "Curves of many slopes bend between -1 and 2; dotted lines at 0 and 1 cross each of them at the two points that alone matter."}}
torch.manual_seed(0)
first = FunctionConv2d(1, 16, size, stride=2, padding=1, scale_noise=1.0)
span = torch.linspace(-1, 2, 301)
inputs = torch.zeros(len(span), size**2)
curves = []
for element in range(size**2):
    moved = inputs.clone()
    moved[:, element] = span
    one, none = first.layer(moved)[:, 0], first.layer(inputs)[:, 0]
    curves.append((one - none).detach())
figures.lines(
    span,
    {"": torch.stack(curves, 1)},
    "pixel",
    r"$\phi(x) - \phi(0)$",
    marks=(0, 1),
)

# %% [markdown]
# Every function in {numref}`fig-first-kernel` can be replaced without loss by $\phi(0) + (\phi(1) - \phi(0))\, x$. That is a weight and a part of a bias, and the whole layer is one of PyTorch's convolutions:

# %%
zero = torch.zeros(1, size**2)
at_zero = first.layer(zero)[0]
change = first.layer(torch.eye(size**2)) - at_zero  # an element a row
plain = nn.Conv2d(1, 16, size, stride=2, padding=1)
with torch.no_grad():
    plain.weight.copy_(change.T.view(16, 1, size, size))
    plain.bias.copy_(at_zero)
pixels = data.binarize(data.load("MNIST", regime="paper").pixels)
images = pixels[:100].float().view(-1, 1, 28, 28)
torch.testing.assert_close(first(images), plain(images))

# %% [markdown]
# So functions can help from the second layer on, where inputs are real numbers. In the models with shared functions the first layer is linear from the start.
#
# ## Five VAEs of one size
#
# Each encoder has two convolutions with kernels of $4 \times 4$ and steps of two pixels, from 28 to 14 to 7 pixels a side, and one layer to the 20 latents' means and log-variances. The decoder is its mirror image. Two ordinary VAEs have 32 and 64 channels and no learned function, one with ReLUs and one with SiLUs, as smooth as the base of the functions; the others have as many channels as the same number of parameters allows. {numref}`tab-twins` has their sizes, and the time of an update, which a benchmark of the book (`benchmarks/updates.py`) measured in turns. The line above the table says where.

# %% tags=["hide-input"]
NAMES = {
    "linear": "ReLU",
    "silu": "SiLU",
    "kan-linear": "KAN convolutions",
    "kan": "KAN everywhere",
    "shared": "shared everywhere",
}
CONVOLUTIONS = (FunctionConv2d, FunctionConvTranspose2d)
CONVOLUTIONS += (nn.Conv2d, nn.ConvTranspose2d)
made = {
    name: convolution.MODELS[model](0) for model, name in NAMES.items()
}
costs, where = results.measured("updates")
times = costs["convolution"].set_index("model").rename(NAMES)

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-twins", "caption": "The models: channels of 14 \u00d7 14 and of 7 \u00d7 7 pixels, parameters in all and in convolutions, milliseconds of a training update on 32 images in the fastest of 25 turns, and their ratio to the first line's."}}
lines = {}
for name, model in made.items():
    parts = [p for p in model.modules() if isinstance(p, CONVOLUTIONS)]
    channels = [part.out_channels for part in parts[:2]]
    lines[name] = {
        "channels": "{}, {}".format(*channels),
        "parameters": count_parameters(model),
        "in convolutions": sum(map(count_parameters, parts)),
    }
frame = pd.DataFrame(lines).T.join(times).rename_axis("model")
print(
    "{processor}, {threads} threads, {date:.10}".format(
        **where["convolution"]
    )
)
shared, silu = times.loc[["shared everywhere", "SiLU"], "ms"]
print(f"shared functions take {shared / silu:.1f} times as long as SiLU")
tables.table(frame, {"ms": ".1f", "relative": ".2f"})

# %% [markdown]
# A KAN edge costs ten numbers, so that functions in all layers leave eight channels. Functions in the convolutions alone leave half the channels, because most parameters of a small convolutional network are not in its convolutions: they lie in the layers to and from the latents. The model that shares functions does so in its dense layers too, and keeps nine tenths of the channels. An update takes about twice as long with KAN convolutions as with ReLU, and nearly two and a half times as long with shared functions, which are evaluated anew in every patch that a pixel is part of; beside SiLU, 2.3 times. Beside ReLU the processor time of the training runs ({numref}`tab-convolution`) says much the same.
#
# ## What they reach
#
# All are trained on the regime `paper`, in 20 epochs and batches of 32. Each tries two learning rates, 0.001 and 0.002, that fall along a cosine; the one with the better validation ELBO is trained with three seeds, and only these runs see test images. The likelihood takes 1,000 of them with 200 samples each, because convolutional decoders are expensive, and so these likelihoods cannot be compared with those of other chapters; the ELBO and the distance can.

# %% tags=["hide-input"]
runs = results.study("convolution", reading="last", task="MNIST")
tested = runs.dropna(subset=["test_nll"])
tested = tested.assign(model=tested["model"].map(NAMES))
columns = {
    "ELBO": ("test_elbo", 1),
    "NLL": ("test_nll", 1),
    "Fréchet distance": ("frechet_digits_binarized", 0),
    "seconds": ("cpu_seconds", 0),
}
minutes = runs["cpu_seconds"].sum() / 60
print(f"{len(runs)} training runs, {minutes:.0f} minutes of one core;")
rates = tested["learning_rate"].unique()
print(f"chosen learning rates: {', '.join(map('{:g}'.format, rates))}")
dense = results.scores(
    dataset="MNIST", regime="paper", reading="last", model="vae-400-20"
)
own = (dense["scheduler"] == "cosine") & dense["settings"].isna()
dense = dense[own].dropna(subset=["test_elbo"])
elbo = results.spread(dense["test_elbo"])
size_of_dense = dense["parameters"].iloc[0]
print(f"the dense VAE: {size_of_dense:,} parameters, ELBO {elbo}")

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-convolution", "caption": "The models on MNIST after the last epoch: ELBO of 10,000 test images and NLL of 1,000 of them in nats, Fr\u00e9chet distance of 20,000 thresholded samples to thresholded test images by digit features, and seconds of processor time that a training took; mean \u00b1 standard deviation over training seeds."}}
models = {name: name for name in NAMES.values()}
table = results.summary(tested, models, columns)
tables.table(table.drop(columns="parameters").rename_axis("model"))

# %% [markdown]
# The model with shared functions is ahead ({numref}`tab-convolution`): each of its three runs has a better likelihood, and nearer samples, than any run of the other models. Functions in every kernel gain nothing that the lost channels do not cost: the mean likelihood is that of the model with ReLU, though three runs leave two and a half nats open either way, and the mean distance is higher than that of either ordinary model. KAN layers everywhere are five to six nats behind, with eight channels left.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-twins", "caption": "Each model minus the one with SiLU, with Welch's 95 % interval over three seeds each: NLL in nats and the Fr\u00e9chet distance of thresholded samples. Left of the dotted line a model is better."}, "image": {"alt": "The model with shared functions lies left of the line in both panels. KAN convolutions and the model with ReLU lie a little to its right, with intervals that reach it but for the distance of KAN convolutions; KAN everywhere lies six nats right of it, and far right in the distance, with a wide interval."}}
kinds = [kind for kind in NAMES.values() if kind != "SiLU"]
differences = {
    title: {
        kind: results.difference(tested, kind, "SiLU", columns[title][0])
        for kind in kinds
    }
    for title in ("NLL", "Fréchet distance")
}
figures.intervals(
    {
        title: {kind: d[:3] for kind, d in own.items()}
        for title, own in differences.items()
    }
)

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-twins-differences", "caption": "The numbers of the figure above: models minus the one with SiLU, NLL in nats, with 95 % intervals over three training seeds. \u2020: stays clear of zero by Holm's procedure over the twelve that were planned."}}
family = {
    (kind, title): d
    for title, own in differences.items()
    for kind, d in own.items()
}
# Planned, too, and without a measurement: they count as showing nothing.
nothing = results.Difference(0, -math.inf, math.inf, p=1, seeds=3)
unmeasured = {(kind, "grey"): nothing for kind in kinds}
planned = family | unmeasured
table = pd.DataFrame(differences).rename_axis("model")
tables.table(
    table,
    {
        title: results.marker(planned, 1 if title == "NLL" else 0)
        for title in table
    },
)

# %% [markdown]
# {numref}`fig-twins` and {numref}`tab-twins-differences` say how sure that is. The control is the model with SiLU, the base of the functions, so that smoothness is on both sides. For shared functions both intervals exclude zero. KAN convolutions are 0.7 nats behind SiLU, with an interval that just reaches zero, and 1.2 behind in ELBO, with one that excludes it; their samples are further from real digits. Holm's correction leaves clear the likelihood of KAN layers everywhere alone; three seeds cannot support more.
#
# It counts twelve comparisons, though the table has eight. Distances of grey samples were planned as well; what an earlier edition printed as such had compared them with thresholded images, and so it is gone until the models are trained again. The four that are missing count as showing nothing. Over the eight alone the 1.3 nats of shared functions would stay clear; we rest no claim on a column that is missing.
#
# A shared function costs nine numbers and a weight for each channel; a KAN kernel pays ten for each channel. Here one function per input already shows a gain, which we did not see in dense layers on digits, where [two thirds of the likelihood gain over SiLU](13_how_many_functions.ipynb) of four functions came from a second factor and not from their shape. That control was not run here.
#
# Convolution itself gained more than functions did. The model with ReLU has an ELBO six nats above that of the paper's VAE at its own best learning rate, with two fifths of the parameters and two thirds of the epochs.
#
# ```{admonition} How sure is this?
# :class: warning
#
# Three training seeds each, and two learning rates, of which all models chose the larger: a still larger one might serve any of them. The seconds were taken while two or three training runs shared two cores, and compare the models only roughly. No model shares functions in the convolutions alone, so we cannot say which layers bring the gain. Nor can we explain why one function an input gains in likelihood here when it did not in dense layers.
# ```

# %% tags=["remove-cell"]
assert (tested.groupby("model")["seed"].nunique() == 3).all()
assert list(rates) == [max(convolution.TASKS["MNIST"].rates)] == [0.002]
assert (tested["epoch"] == 20).all()
assert 80 < minutes < 95
sizes = frame["parameters"] / frame.loc["ReLU", "parameters"]
assert sizes.between(0.99, 1.01).all()
wide = frame["channels"].str.split(",").str[0].astype(int)
assert wide["KAN convolutions"] == wide["ReLU"] / 2
assert wide["KAN everywhere"] == 8
assert 0.88 < wide["shared everywhere"] / wide["ReLU"] < 0.92
assert (
    frame.loc["ReLU", "in convolutions"]
    < 0.3 * frame.loc["ReLU", "parameters"]
)

# %% tags=["remove-cell"]
shown = [columns[title][0] for title in differences]
by_model = tested.groupby("model")[[*shown, "test_elbo", "cpu_seconds"]]
least, mean, most = by_model.min(), by_model.mean(), by_model.max()
rest = [name for name in models if name != "shared everywhere"]
for column in shown:
    best = most.loc["shared everywhere", column]
    assert best < least.loc[rest, column].min()
ordinary = mean.loc[["ReLU", "SiLU"]]
kernels = mean.loc["KAN convolutions"]
assert abs(kernels["test_nll"] - ordinary.loc["ReLU", "test_nll"]) < 0.2
d = results.difference(tested, "KAN convolutions", "ReLU", "test_nll")
assert 2.3 < d.high < 2.7
assert -2.8 < d.low < -2.3
d = results.difference(tested, "KAN convolutions", "SiLU", "test_elbo")
assert round(d.mean, 1) == -1.2
assert d.high < 0
assert (kernels[shown[1:]] > ordinary[shown[1:]].max()).all()
behind = mean.loc["KAN everywhere", "test_nll"] - ordinary["test_nll"]
assert behind.between(5, 6).all()

# %% tags=["remove-cell"]
assert (len(family), len(planned)) == (8, 12)
shared = [own["shared everywhere"] for own in differences.values()]
assert all(d.high < 0 for d in shared)
assert round(differences["NLL"]["shared everywhere"].mean, 1) == -1.3
assert round(differences["NLL"]["KAN convolutions"].mean, 1) == 0.7
assert -0.1 < differences["NLL"]["KAN convolutions"].low < 0
assert differences["Fréchet distance"]["KAN convolutions"].low > 0
assert differences["Fréchet distance"]["KAN everywhere"].mean > 100
assert all(
    own["ReLU"].low < 0 < own["ReLU"].high for own in differences.values()
)
assert set(results.clear(planned)) == {("KAN everywhere", "NLL")}
assert set(results.clear(family)) == {
    ("shared everywhere", "NLL"),
    ("KAN everywhere", "NLL"),
}

# %% tags=["remove-cell"]
spent = mean["cpu_seconds"] / mean.loc["ReLU", "cpu_seconds"]
assert 1.7 < spent["KAN convolutions"] < 2
assert 2.2 < spent["shared everywhere"] < 2.6
slower = times["relative"]
assert 2 < slower["KAN convolutions"] < 2.2
assert 2.4 < slower["shared everywhere"] < 2.5
assert round(slower["shared everywhere"] / slower["SiLU"], 1) == 2.3
gain = mean.loc["ReLU", "test_elbo"] - dense["test_elbo"].mean()
assert 5.5 < gain < 6.5
assert (dense["epoch"] == 30).all()
assert set(dense["learning_rate"]) == {0.002}
share = frame.loc["ReLU", "parameters"] / size_of_dense
assert 0.38 < share < 0.42

# %% [markdown]
# ## On clothes
#
# The same models on FashionMNIST, trained and chosen in the same way; a classifier of clothes judges the samples.

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-clothes", "caption": "FashionMNIST: the models after the last epoch, measured as in the table of digits, with features of clothes; mean \u00b1 standard deviation over training seeds."}}
runs_there = results.study(
    "convolution", reading="last", task="FashionMNIST"
)
there = runs_there.dropna(subset=["test_nll"])
there = there.assign(model=there["model"].map(NAMES))
columns_there = {
    title: (column.replace("digits", "fashion"), digits)
    for title, (column, digits) in columns.items()
}
table = results.summary(there, models, columns_there)
tables.table(table.drop(columns="parameters").rename_axis("model"))

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-clothes-differences", "caption": "FashionMNIST: models minus the one with SiLU, with 95 % intervals over training seeds; NLL in nats. \u2020: stays clear of zero by Holm's procedure over the twelve that were planned."}}
from_silu = {
    (kind, title): results.difference(
        there, kind, "SiLU", columns_there[title][0]
    )
    for kind in kinds
    if kind in set(there["model"])
    for title in differences
}
planned_there = from_silu | unmeasured
table = pd.Series(from_silu).unstack(sort=False)
tables.table(
    table.rename_axis("model"),
    {
        title: results.marker(planned_there, 1 if title == "NLL" else 0)
        for title in table
    },
)

# %% tags=["hide-input"]
kernels_there = {
    (control, score): results.difference(
        there, "KAN convolutions", control, f"test_{score.lower()}"
    )
    for control in ("ReLU", "SiLU")
    for score in ("NLL", "ELBO")
}
for (control, score), d in kernels_there.items():
    print(f"KAN convolutions minus {control}, {score}: {d.short()}")

# %% [markdown]
# Shared functions are ahead here too ({numref}`tab-clothes`): by 1.5 nats of likelihood, which stays clear by Holm's procedure, and two of ELBO over SiLU ({numref}`tab-clothes-differences`). Samples of each of their runs are nearer to real clothes than those of any run of the others (both thresholded). KAN layers everywhere are six nats behind, which stays clear too. KAN convolutions cannot be told from the ordinary models: by likelihood they are half a nat ahead of ReLU on average and a tenth ahead of SiLU, by ELBO six tenths ahead of either, and all four intervals include zero.

# %% tags=["remove-cell"]
assert set(there["model"]) == set(models)
assert set(there["learning_rate"]) == {0.002}
spent_there = runs_there["cpu_seconds"].sum() / 60
assert 165 < minutes + spent_there < 195
assert (there.groupby("model")["seed"].nunique() == 3).all()
ahead = from_silu["shared everywhere", "NLL"]
assert round(ahead.mean, 1) == -1.5
assert ahead.high < 0
by_elbo = results.difference(
    there, "shared everywhere", "SiLU", "test_elbo"
)
assert 1.9 < by_elbo.mean < 2.1
assert by_elbo.low > 0
assert round(from_silu["KAN everywhere", "NLL"].mean) == 6
by_model = there.groupby("model")
binary = by_model[columns_there["Fréchet distance"][0]]
rest = binary.min().drop("shared everywhere")
assert binary.max()["shared everywhere"] < rest.min()

# %% tags=["remove-cell"]
assert set(results.clear(planned_there)) == {
    ("shared everywhere", "NLL"),
    ("KAN everywhere", "NLL"),
}
assert [round(d.mean, 1) for d in kernels_there.values()] == [
    *(-0.5, 0.6, -0.1, 0.6),
]
assert all(d.low < 0 < d.high for d in kernels_there.values())

# %% [markdown]
# ## What we saw
#
# - A convolution of functions is a KAN layer that sees every patch. On binary images the first layer of functions is an ordinary convolution.
# - Most parameters of a small convolutional VAE are in the layers around the latents. Functions there are dear.
# - On clothes shared functions are 1.5 nats ahead of SiLU, which stays clear after correction, and their samples are the nearest.
# - At equal size, a function for every element of every kernel shows no gain. One function for each input, shared by all outputs in all layers but the first, gains more than a nat over SiLU (not clear after correction for the twelve comparisons that were planned) and draws nearer samples.
#
# ## Exercises
#
# **1.** A kernel of $4 \times 4$ elements sees 29 channels and makes 58. How many numbers does it take with a KAN edge of ten numbers for each element and output, and how many with shared functions of nine numbers and a weight for each edge?
#
# <details><summary>Solution</summary>
#
# There are $29 \cdot 16 = 464$ elements of the patch and $464 \cdot 58 = 26{,}912$ edges. A KAN layer takes ten times as many numbers as edges, 269,120, and is larger than the whole model. With shared functions it is a number for each edge, $9 \cdot 464 = 4{,}176$ for the functions and 58 biases: 31,146.
#
# </details>
#
# **2.** How much of the model with KAN layers everywhere lies around its latents? It has 8 channels of $7 \times 7$ pixels there, and 20 latents.
#
# <details><summary>Solution</summary>
#
# $8 \cdot 49 = 392$ units have edges to 40 outputs, means and log-variances, and from 20 latents: 23,520 edges. At ten numbers each these are 235,200 of 258,240 parameters, nine tenths of the model.
#
# </details>
#
# ## References
#
# The layer is that of {cite:t}`bodner2024`; ours is checked against the package convkan, values and gradients, and against one KAN layer for each pair of channels, as their public code has it. They report image classifiers with fewer parameters at equal accuracy; we know of no earlier measurement on a VAE.

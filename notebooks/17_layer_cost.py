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
# # What a KAN layer costs
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/17_layer_cost.ipynb)
#
# **The question.** A KAN layer has ten parameters where a linear layer has one. Must it also take ten times as
# long, and why do straightforward implementations take several times longer still?
#
# **The answer.** As a rule it takes less than ten times as long; the page measures it. Most of the time of a plain implementation goes into passes over memory, not into arithmetic.
# Without these passes a layer takes little longer than the one product that it needs, which is nine times as large as that of a linear layer. On binary pixels, where every edge function is a line, it takes less than that product.
#
# **You need** the [KAN layer](02_kan_layers.ipynb) of the second chapter, and for one section [functions that edges share](13_how_many_functions.ipynb). **On this page** we count operations and
# bytes, find a floor, follow the steps by which `KANLinear` approaches it, check that each is exact up to rounding, find a case that goes below it, and measure all of it on the machine that built this page. The kernels of this chapter are for the CPU ([how they work](../book/kernels.md)); the end of the chapter says what a GPU needs instead.

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
# The imports, and the parameters that you may change: how many rounds are measured, and how long a candidate's turn lasts.

# %%
import functools

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from kanvae import (
    Architecture,
    KANLinear,
    SharedKANLinear,
    data,
    figures,
    kernels,
    objective,
    splines,
)
from kanvae.figures import tables
from kanvae.studies import paper
from kanvae.studies.timing import interleaved

# %% tags=["parameters"]
seed = 0
rounds = 15
turn_seconds = 0.01

# %% [markdown]
# ## The obvious layer
#
# The edge of {eq}`eq-edge` tells us what to do: compute all basis functions by the Cox–de Boor recursion, scale the coefficients, and take two matrix
# products. This is also what the efficient-kan package {cite}`cao2024` does, whose file with the layer stands in the paper's repository {cite}`nik2024`, byte for byte.


# %%
class Obvious(KANLinear):
    def forward(self, x):
        t, x_ = self.grid, x.unsqueeze(-1)  # (I, G + 2k + 1), (B, I, 1)
        bases = ((t[:, :-1] <= x_) & (x_ < t[:, 1:])).to(x.dtype)
        for k in range(1, self.spline_order + 1):
            rising = (x_ - t[:, : -k - 1]) / (t[:, k:-1] - t[:, : -k - 1])
            falling = (t[:, k + 1 :] - x_) / (t[:, k + 1 :] - t[:, 1:-k])
            bases = rising * bases[..., :-1] + falling * bases[..., 1:]
        weight = self.spline_weight * self.spline_scaler.unsqueeze(-1)
        base = F.linear(F.silu(x), self.base_weight)
        return base + F.linear(bases.flatten(1), weight.flatten(1))


# %% [markdown]
# `KANLinear` gives the same outputs and gradients, to rounding:


# %%
def outputs_and_gradients(layer, x):
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(torch.linspace(-1, 1, y.numel()).reshape(y.shape))
    return [y.detach(), x.grad, *(p.grad for p in layer.parameters())]


torch.manual_seed(seed)
obvious, layer = Obvious(60, 40), KANLinear(60, 40)
layer.load_state_dict(obvious.state_dict())
x = 2 * torch.rand(32, 60) - 1
for a, b in zip(
    outputs_and_gradients(obvious, x),
    outputs_and_gradients(layer, x),
    strict=True,
):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
print("KANLinear gives the same outputs and gradients, to rounding")

# %% [markdown]
# ## Operations and bytes
#
# Let the layer have $I$ inputs, $O$ outputs, and a batch of $B$ rows. With $n = G + k$ basis functions an input there are $n + 1$ **features** an
# input, the base function being the last. The layer is a product of the features with a weight that has $n + 1$ columns for every input:
#
# $$
# y = \big[\, N_0(x), \dots, N_{n-1}(x),\; b(x) \,\big]\; \big[\, w^s c_0, \dots, w^s c_{n-1},\; w^b \,\big]^\top .
# $$ (eq-merged)
#
# A product costs one multiplication and one addition for each edge, feature and row, forward; backward it costs twice that, once for the gradient
# of the weight and once for that of the features. So a cubic layer on five intervals, with $n + 1 = 9$, does **nine times** the arithmetic of `nn.Linear`, as long as it
# multiplies all features. (It need not take nine times as long: large products use the processor better than small ones.) That product, forward and backward, is the **dense floor**, against which we measure.
#
# Two kinds of work come on top of the floor. The basis functions are computed *per input and row*: their cost does not depend on $O$, so it weighs heavily where
# a layer is narrow. The weights are scaled *per edge*: the cost does not depend on $B$, so it weighs heavily where the batch is small. At batch 32 an edge takes
# part in few multiplications, and moving its numbers to and from memory costs as much as computing with them. We count the numbers that each way
# reads or writes for an edge in one forward and backward pass, a cache being too small to hold the weights:

# %% mystnb={"table": {"name": "tab-counts", "caption": "Arithmetic and memory traffic of `nn.Linear` and of three ways to compute a KAN layer, per edge (`KANLinear` where its forward pass takes tables, step two): multiply\u2013adds for each row of the batch, numbers read or written forward and backward, and bytes."}}
n = layer.grid_size + layer.spline_order
counts = {  # multiply–adds; numbers an edge, forward and backward
    "nn.Linear": (
        3,
        1,
        2,
    ),  # the weight is read twice, its gradient written
    "dense floor": (3 * (n + 1), n + 1, 2 * (n + 1)),
    "obvious": (
        3 * (n + 1),
        # scale the coefficients (read, write); product (read)
        (n + 1 + n) + (n + 1),
        # the product on scaled weights; then the gradients of the
        # coefficients (two read, one written) and of the scale
        # (product, then sum)
        2 * (n + 1) + (n + 1 + n) + (2 * n + n) + (n + 1),
    ),
    "KANLinear": (
        (layer.spline_order + 2)
        + 2 * (n + 1),  # forward by tables (step two)
        n + 2,  # each parameter is read
        (n + 2) + (n + 2),  # read for both gradients; write
    ),
}
columns = ["multiply–adds", "forward", "backward"]
table = pd.DataFrame(counts, index=columns).T.rename_axis("layer")
table["bytes"] = 4 * (table["forward"] + table["backward"])
assert table.loc[list(counts)[1:], "bytes"].tolist() == [108, 376, 120]
tables.table(table)

# %% [markdown]
# In {numref}`tab-counts` the obvious layer moves 376 bytes per edge, three and a half times the floor's 108; `KANLinear` moves 120. Few of the multiply–adds can be saved; what an implementation can save is mostly traffic. `KANLinear` does so in four steps.
#
# ## Step one: basis functions without a recursion
#
# Where the knots are evenly spaced, all basis functions are one bump, moved by whole steps. With $d$ the distance of $x$ from the middle of the bump, in steps,
# and $h = (k+1)/2$ half its width {cite}`schoenberg1946`,
#
# $$
# N(d) = \frac{1}{k!} \sum_{0 \le m < h} (-1)^m \binom{k+1}{m} \max(0,\, h - m - d)^k .
# $$ (eq-bump)
#
# For cubics that is two cubes. In place of three rounds of divisions on arrays of $B \cdot I \cdot 11$ numbers there are a few operations:


# %%
def cubic_bases(x, first, step, count):
    middles = torch.arange(count) + 2
    d = ((x.unsqueeze(-1) - first) / step - middles).abs()
    outer, inner = (2 - d).clamp(min=0), (1 - d).clamp(min=0)
    return (outer**3 - 4 * inner**3) / 6


knots = layer.grid[0]  # the same for all inputs, evenly spaced
first, step = (
    float(knots[0]),
    float(knots[-1] - knots[0]) / (len(knots) - 1),
)
by_hand = cubic_bases(x, first, step, n)
torch.testing.assert_close(by_hand, layer.bases(x))
torch.testing.assert_close(
    by_hand, splines.cox_de_boor(x, layer.grid, 3), atol=1e-6, rtol=0
)
inside = by_hand.count_nonzero(dim=-1).float()
nonzero = f"{inside.mean():.2f} of {n}"
print(f"basis functions that are not zero at a point: {nonzero}")

# %% [markdown]
# Only $k + 1 = 4$ of the basis functions differ from zero at a point. The compiled kernel computes those four alone, from the fraction of the interval that $x$ has
# passed. This is exact: the others are zero, not small. The four values are never stored: the backward pass computes them again, in cache. All this needs knots that are evenly spaced and the same for all inputs. The kernel looks whether they are; on other grids `KANLinear` takes the recursion.
#
# ## Step two: multiply what is not zero
#
# The forward pass needs, of an edge's nine weights, the four that belong to the interval of $x$ and the one of SiLU:
#
# $$
# y_o = \sum_i \Big[\, w^b_{oi}\, b(x_i) + \sum_{r=0}^{k} N_{a+r}(x_i)\; w^s_{oi}\, c_{oi,\,a+r} \Big] ,
# $$ (eq-local)
#
# where $N_a$ is the first basis function that is not zero at $x_i$. This $a$ differs from row to row and from input to input, but not from output to output. So the kernel lays the outputs side by side in vector registers, and turns the weights of eight inputs into a table with a line of outputs for every
# feature. Each row of the batch then takes five of the nine lines. Making the table is a fixed cost, which is small when there are many rows. With few rows, as in a batch of 32, and registers that hold sixteen numbers, it exceeds what the table saves; in that case the kernel multiplies all nine features instead, with the rows of the batch side by side, and needs no table. The five lines in torch, for one row of the batch:

# %%
row = x[0]
start = layer.bases(row).ne(0).int().argmax(-1)  # (I,) the first not zero
lines = layer.spline_weight * layer.spline_scaler.unsqueeze(
    -1
)  # (O, I, n)
taken = (start.unsqueeze(-1) + torch.arange(4)).clamp(max=n - 1)  # (I, 4)
local = layer.bases(row).gather(1, taken)  # (I, 4)
picked = lines.gather(2, taken.expand(len(lines), -1, -1))  # (O, I, 4)
short = (picked * local).sum((1, 2)) + F.silu(row) @ layer.base_weight.T
torch.testing.assert_close(short, layer(row), rtol=1e-4, atol=1e-5)
print(f"{local.shape[1] + 1} products an edge give what {n + 1} give")

# %% [markdown]
# ## Step three: no merged weight in memory
#
# {eq}`eq-merged` wants one weight made of three parameters, and its gradient wants to be taken apart again:
#
# $$
# \frac{\partial \mathcal L}{\partial c_j} = w^s R_j, \qquad
# \frac{\partial \mathcal L}{\partial w^s} = \sum_j c_j R_j, \qquad
# \frac{\partial \mathcal L}{\partial w^b} = R_n ,
# $$ (eq-split)
#
# where $\mathcal L$ is the loss and $R_j$ the gradient of an edge's merged weight for feature $j$. In torch each equation of {eq}`eq-split` is a pass over memory, some of them with an array of the weight's size that is thrown away at once. The kernels do the products themselves, so they merge the weights and split their gradients as they go. In the backward pass the inputs are cut into **panels** as wide as a vector register: eight or sixteen inputs have that many times $n + 1$ features, which fill $n + 1$ registers. For a panel and a few outputs the kernel takes three steps:
#
# 1. It merges the weights, in cache.
# 2. It multiplies them by the upstream gradient, which gives the gradient of the inputs.
# 3. It multiplies the upstream gradient by the features, and takes the result apart as soon as its sums are complete.
#
# Each parameter is read once for both products, and the sums of a small tile stay in registers. Neither the merged weight nor its gradient is ever in memory. How a sum
# is split depends on the shapes of layer and batch alone, so the result does not depend on the number of threads.
#
# Two rules keep the remaining overhead small. Every thread works on the same part of the layer in both passes, and transposes the upstream gradient for itself where the batch is small: what one processor core has just written is
# slow to read for another. And only a few panels of a small layer are in progress at a time, so that the cache keeps room for Python's code and objects, which are used between the kernels.

# %%
features = torch.cat(
    (layer.bases(x).flatten(1), F.silu(x)), dim=1
)  # (B, I (n + 1))
scaled = layer.spline_weight * layer.spline_scaler.unsqueeze(-1)
merged = torch.cat(
    (scaled.flatten(1), layer.base_weight), dim=1
)  # (O, I (n + 1))
torch.testing.assert_close(
    features @ merged.T, layer(x), rtol=1e-4, atol=1e-5
)
print(
    f"features {tuple(features.shape)}, merged weight "
    f"{tuple(merged.shape)}"
)

# %% [markdown]
# ## Step four: inputs of two values
#
# The encoder's first layer sees binary pixels. A function on two points is a line:
#
# $$
# \phi(x) = \phi(0) + x\, \big(\phi(1) - \phi(0)\big), \qquad x \in \{0, 1\} ,
# $$ (eq-affine)
#
# so the layer is an affine layer with the weight $\phi_{oi}(1) - \phi_{oi}(0)$ and the bias $\sum_i \phi_{oi}(0)$. All ten gradients of an edge follow from one product of the size
# of `nn.Linear`'s. Let $\bar y_{qo}$ be the gradient of output $o$ in row $q$ of the batch. The value at 1 receives $\sum_q \bar y_{qo}\, x_{qi}$, and the value at 0 the rest, $\sum_q \bar y_{qo}\, (1 - x_{qi})$. Both are passed on to the
# parameters by {eq}`eq-edge`, with the basis functions at 0 and 1, which are the same for every edge.
#
# The kernels find the rises $\phi(1) - \phi(0)$ of a few outputs in cache, multiply them by the bits at once, and take the gradient apart in the same way, so that no array of the size of the weights is
# made besides the gradients. The layer takes this way when its input has the type `bool`. It costs nothing to notice a type, and no input of this type can have other values, so the way cannot be taken by mistake. We
# compare with the general layer on the same pixels.

# %%
bits = torch.rand(32, 60) < 0.3
upstream = torch.randn(32, 40)
results = {}
for kind, inputs in (("bits", bits), ("floats", bits.float())):
    layer.zero_grad()
    y = layer(inputs)
    y.backward(upstream)
    results[kind] = [
        y.detach(),
        *(p.grad.clone() for p in layer.parameters()),
    ]
differences = [
    float((a - b).abs().max())
    for a, b in zip(*results.values(), strict=True)
]
assert max(differences) < 1e-4
largest = max(float(g.abs().max()) for g in results["floats"])
print(
    "largest difference of outputs and gradients: "
    f"{max(differences):.1e},\n"
    f"where gradients reach {largest:.0f}"
)

# %% [markdown]
# ## Measured
#
# **Prediction.** The obvious layer should be worst where the layer is narrow. `KANLinear` should be near the floor where the batch is large. Where the batch is small, everything depends on memory: the layer has ten numbers an edge to read and write where the floor has nine, and merges them and takes them apart for few products. On a processor with vectors of sixteen numbers the library's product gains
# most, so there the layer should lie further above. With two-valued inputs it should be far below.
#
# All candidates take turns, so that a slow moment of the machine meets them all. We show the time of one forward and backward pass in the fastest round, with gradients of weights and, except for bits, of the input, and its ratio to the floor's. What else the machine does can only add to a time, so the fastest round says most about the code.


# %%
class Formula(KANLinear):  # step one alone, in torch's own operations
    def forward(self, x):
        weight = self.spline_weight * self.spline_scaler.unsqueeze(-1)
        bases = cubic_bases(x, first, step, n).flatten(1)
        base = F.linear(F.silu(x), self.base_weight)
        return base + F.linear(bases, weight.flatten(1))


def one_pass(layer, x):
    upstream = torch.randn(len(x), layer(x).shape[1])
    x = x.requires_grad_() if x.is_floating_point() else x

    def run():
        layer(x).backward(upstream)
        layer.zero_grad()
        x.grad = None

    return run


# %%
def candidates(inputs, outputs, batch):
    x = 2 * torch.rand(batch, inputs) - 1
    nine = functools.partial(nn.Linear, bias=False)
    return {
        "nn.Linear": one_pass(nn.Linear(inputs, outputs), x.clone()),
        "dense floor": one_pass(nine(9 * inputs, outputs), x.repeat(1, 9)),
        "obvious": one_pass(Obvious(inputs, outputs), x.clone()),
        "formula": one_pass(Formula(inputs, outputs), x.clone()),
        "KANLinear": one_pass(KANLinear(inputs, outputs), x.clone()),
        "on bits": one_pass(KANLinear(inputs, outputs), x > 0),
    }


# %% mystnb={"table": {"name": "tab-times", "caption": "Milliseconds of one forward and backward pass, fastest round."}}
shapes = [
    (784, 400, 32),
    (784, 400, 512),
    (400, 784, 32),
    (784, 35, 32),
    (784, 35, 512),
]
times = {}
for shape in shapes:
    found = interleaved(candidates(*shape), rounds, turn_seconds)
    row = "{}→{}, {}".format(*shape)
    times[row] = {k: min(v) for k, v in found.items()}
times = pd.DataFrame(times).T.rename_axis("layer, batch")
ratios = times.div(times["dense floor"], axis=0)
print(f"milliseconds on {torch.get_num_threads()} threads")
tables.table(times, dict.fromkeys(times, ".2f"))

# %% mystnb={"table": {"name": "tab-ratios", "caption": "Time of one forward and backward pass over that of the dense floor, fastest rounds."}}
kernels_used = kernels.load_library("kan", DEGREE=3, COUNT=8) is not None
print("ratios to the dense floor; compiled kernels:", kernels_used)
tables.table(ratios, dict.fromkeys(ratios, ".2f"))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-layer-cost", "caption": "Time of one forward and backward pass over that of the dense floor, for five layers."}, "image": {"alt": "For every layer the obvious way takes several times as long as the dense floor, KANLinear about as long, and nn.Linear and KANLinear on bits a fraction of it."}}
figures.ratio_bars(
    ratios.drop(columns="dense floor").to_dict(), "time over the floor's"
)

# %% [markdown]
# Read {numref}`fig-layer-cost` from left to right in each group. The obvious layer pays most on the narrow rows, where the recursion is hardly diluted by the product. The formula without kernels
# saves the recursion and keeps the passes over memory. With kernels the layer stays near the floor in every row ({numref}`tab-times`, {numref}`tab-ratios`). On bits it takes less than the floor, much less at batch 512; where the batch is small, reading the parameters and writing their gradients is most of what is left. Whether small batches are the harder case, as we predicted, differs between processors and between layers:

# %% tags=["hide-input"]
beyond = ratios["KANLinear"]
for wide in ("784→400", "784→35"):
    small, large = (beyond[f"{wide}, {batch}"] for batch in (32, 512))
    print(f"KANLinear at {wide} over the floor:")
    print(f"    {small:.2f} at batch 32, {large:.2f} at batch 512")
longer = times["KANLinear"] / times["nn.Linear"]
print(f"over nn.Linear: {longer.min():.1f} to {longer.max():.1f}")

# %% [markdown]
#
# ## Functions that edges share
#
# A KAN layer learns a function on every edge. `SharedKANLinear` has a dial, {eq}`eq-shared`: each input has $g$ functions, each for one group of outputs, and the edges of a group differ in one weight.
#
# At $g = 1$ every input has one learnable function, at $g = O$ every edge has its own. The functions are computed once for each input, row and group; what follows are the products of a linear layer. **Prediction.** The cost of the products stays what it is, that of the functions grows with $g$: one function per input should cost
# little more than `nn.Linear` with a SiLU behind it.


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-shared-cost", "caption": "Time of one forward and backward pass of 784\u2192400 over that of `nn.Linear` and SiLU, by the number of functions per input."}, "image": {"alt": "With one function per input the layer takes longer than nn.Linear with SiLU, and with four longer still; the time rises to about twenty functions and then stays several times as long, up to one per edge."}}
def shared_candidates(inputs, outputs, batch, dial):
    x = torch.randn(batch, inputs)
    mlp = nn.Sequential(nn.Linear(inputs, outputs), nn.SiLU())
    found = {"mlp": one_pass(mlp, x.clone())}
    for g in dial:
        layer = SharedKANLinear(inputs, outputs, g, scale_noise=0.1)
        found[g] = one_pass(layer, x.clone())
    return found


dial = (1, 2, 4, 8, 16, 64, 400)
growth = {}
for batch in (32, 512):
    found = interleaved(
        shared_candidates(784, 400, batch, dial), rounds, turn_seconds
    )
    growth[f"batch {batch}"] = [
        min(found[g]) / min(found["mlp"]) for g in dial
    ]
figures.lines(
    dial,
    growth,
    "functions per input, $g$",
    "time over nn.Linear and SiLU",
    log="xy",
)

# %% tags=["hide-input", "found"]
from IPython.display import Markdown

one, four, edges = (
    [values[dial.index(g)] for values in growth.values()]
    for g in (1, 4, 400)
)
assert min(one) > 1
assert max(one) < min(edges)
Markdown(
    f"- One learnable function an input took {min(one):.1f} to "
    f"{max(one):.1f} times as long as `nn.Linear` and SiLU, four took "
    f"{min(four):.1f} to {max(four):.1f} times, one per edge "
    f"{min(edges):.1f} to {max(edges):.1f} times."
)

# %% [markdown]
# {numref}`fig-shared-cost` shows the dial's price. The left end is the cost of an activation function that is learned; the right end is `KANLinear`'s. Even one function per input costs more than the little that we predicted; the line above says how much on this machine. Beyond twenty functions the price no longer grows. The groups then have fewer than twenty outputs each, so that computing the functions would cost more than computing the edges. The layer is then computed edge by edge, as `KANLinear` is, from coefficients that the edges of a group share. What the functions are worth is another question; here we only note that a few per input are cheap.
#
# ## A whole training step
#
# A step is more than layers: the loss, and Adam {cite}`kingma2015`, which reads four numbers for every parameter and writes three of them. Torch's *fused* Adam does it in one pass. Our steps use it; the obvious
# model is measured with both, batch 32, in {numref}`tab-steps`.


# %%
def training_step(key, make_layer, x, fused):
    model = Architecture.parse(key).build(seed)
    for name, layer in list(model.named_modules()):
        if make_layer and isinstance(layer, KANLinear):
            changed = make_layer(layer.in_features, layer.out_features)
            model.set_submodule(name, changed)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3, fused=fused)

    def run():
        objective.terms(model, x).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


# %% mystnb={"table": {"name": "tab-steps", "caption": "A whole training step at batch 32, with obvious layers and with `KANLinear`, whose first layer sees the pixels as bits. The last column compares steps with the same fused Adam."}}
x = data.binarize(data.load("MNIST").pixels[:32])
steps = {}
for name in ("KAN-VAE*", "KAN-VAE**"):
    key = str(paper.FEATURED[name])
    found = interleaved(
        {
            "obvious": training_step(key, Obvious, x.float(), None),
            "obvious, fused Adam": training_step(
                key, Obvious, x.float(), True
            ),
            "KANLinear": training_step(key, None, x, True),
        },
        rounds,
        turn_seconds,
    )
    steps[name] = {f"{k}, ms": min(v) for k, v in found.items()}
steps = pd.DataFrame(steps).T.rename_axis("model")
steps["times faster"] = (
    steps["obvious, fused Adam, ms"] / steps["KANLinear, ms"]
)
tables.table(steps, dict.fromkeys(steps, ".2f"))

# %% tags=["hide-input", "found"]
assert (steps["times faster"] > 1).all()
if kernels_used:
    assert (ratios["on bits"] < ratios["KANLinear"]).all()
    assert (ratios["KANLinear"] < ratios["obvious"]).all()
if kernels_used and rounds >= 7:
    assert (ratios["KANLinear"] < 1.8).all()
    assert (ratios["on bits"] < 1).all()
    assert longer.median() < 10
general, bits_ratio = ratios["KANLinear"], ratios["on bits"]
Markdown(
    f"- A KAN layer's forward and backward pass took {general.min():.2f} "
    f"to {general.max():.2f} times the dense product of its features, "
    "against "
    f"{ratios['obvious'].min():.1f} to {ratios['obvious'].max():.1f} "
    "times for the obvious layer; on binary pixels "
    f"{bits_ratio.min():.2f} to {bits_ratio.max():.2f} times.\n"
    f"- A training step was {steps['times faster']['KAN-VAE*']:.1f} "
    "times faster for KAN-VAE* and "
    f"{steps['times faster']['KAN-VAE**']:.1f} times for KAN-VAE** "
    "than with obvious layers and the same Adam."
)

# %% [markdown]
# ## On a GPU
#
# There a batch of 32 costs hardly any arithmetic. A training step is many small operations, and the processor launches each of them: most of the time the GPU waits for the next launch. Trainings on a GPU therefore record one step as a **CUDA graph** and replay it, one launch a step
# (`kanvae.training.captured`). The recorded operations are those of the formula, with the same noise from the same generator; a last batch of another size runs as it is, and a new learning rate is a new recording. Where recording fails a warning says so, and training goes on operation by operation. `nox -s bench -- --device cuda` measures an epoch both ways.
#
# ```{admonition} Not measured
# :class: warning
# The timings of this book come from processors. No GPU was at hand: the replay has a test that compares it with plain steps, but that test has not run, and what the replay saves has not been measured.
# ```
#
# ## What was tried and did not pay
#
# These are notes from the making of the kernels, on two cores with registers of sixteen numbers and, built for them, of eight. They are not computed on this page.
#
# - **A compiler for torch** (`torch.compile`) on the formula. It fuses the elementwise work well, but not across the products, and the weight-sized arrays between them stay. It came close to the kernels on large batches
#   and stayed well behind at batch 32; each process waits many seconds for it. `KANLinear` and `SharedKANLinear` work under it, each as one operator that calls the kernels.
# - **Only the four basis functions, in torch.** Placing them needs `scatter`, which costs more than the four zeros that it saves. In a compiled kernel the same idea pays.
# - **Multiplying only the four in the backward pass.** For the gradient of the inputs it saves multiplications, but each of them must then load its weight: on a processor whose product units are faster than its loads nothing was gained. For the gradient of the weights it turns sums in registers into sums in memory.
# - **Multiplying only what is not zero, always.** With registers of sixteen numbers and a batch of 32 the forward pass took longer than with all nine features. **Multiplying all nine, always.** With registers of eight it took longer than five at every batch, and at batch 512 even with sixteen.
# - **Keeping the features** from the forward to the backward pass. It costs the memory of nine numbers for each input and row, and more time than computing them again.
# - **Leaving the products to the library**, and merging some outputs at a time into a block that stays in cache. It stayed above the floor in every row, most on narrow layers, and behind other packages at batch 32.
# - **A product of our own, written plainly.** The compiler read the same numbers again for each multiplication and spilled its sums; it ran far below the library's speed until loads were held in registers and blocks were cut to the caches.
# - **Keeping the merged weight** from the forward to the backward pass. It saves a merge and costs the memory of the whole weight; the memory traffic is the same.
# - **Fetching ahead in bursts** (prefetch instructions). A processor has few places for lines that are under way; when they are full, products wait too. One line in each step of a product that runs anyway pays, most of all for the places of the gradients. Working on many outputs of a large layer at a time does not: their weights lie on as many pages of memory, more than the processor keeps addresses for.
# - **Stores that bypass the cache** for the gradients: no difference that we could measure.
# - **Giving work to whichever thread is free.** It evens out small differences, but the inputs of a thread change from pass to pass, and with them its weights have to come from the other core's cache.
# - **The library's products for bits**, between a pass that writes the rises and one that takes their gradient apart. At batch 32 starting them cost more than multiplying; on batches of thousands of rows they are faster than ours.
# - **One piece of memory for all three gradients** of a layer. The allocator then has less to look for, but the pass took longer.
#
# ## What we saw
#
# - A cubic layer on five intervals multiplies nine features an input: nine times the arithmetic of `nn.Linear` is the floor of every method that multiplies them all.
# - What comes on top is not arithmetic but memory: passes over arrays of the size of the basis functions, and of the weights. They can be left out, with the same numbers, and so can the forward products with basis functions that are zero.
# - On binary pixels the layer is affine, and costs as little as an affine layer and the writing of its gradients.
#
# ## Exercises
#
# **1.** What share of the time of an obvious layer goes into the basis functions, at 784→400 and at 784→35? Estimate it from {numref}`tab-times`.
#
# <details><summary>Solution</summary>
#
# The formula differs from the obvious layer in the basis functions alone, so the difference of the two columns, divided by the obvious layer's time, is a lower bound for that share. The basis functions do not depend on the outputs, so their part weighs most at 784→35, where
# the rest of the layer is ten times smaller.
#
# </details>
#
# **2.** How does the floor change with a grid of 20 intervals? And the cost of the layer on bits?
#
# <details><summary>Solution</summary>
#
# $n + 1 = 24$ features: the floor is 24 times `nn.Linear`. On bits the products stay those of `nn.Linear`; what grows is the reading of the coefficients and the writing of their gradients, both in proportion to $n + 2$. Pass `grid_size=20` to both `KANLinear` candidates in the cell that defines
# `candidates`, and put `24` for both `9`s; `obvious` and `formula` keep five intervals and no longer compare. {numref}`fig-layer-cost` then shows the new floor.
#
# </details>
#
# **3.** Why can the layer not notice by itself that a *float* input holds only zeros and ones?
#
# <details><summary>Solution</summary>
#
# It would have to read the whole input at every call, and on a GPU wait for the answer. And a float input may ask for its own gradient, which needs the slopes of the edges at 0 and 1; the line of {eq}`eq-affine` does not have them.
#
# </details>
#
# ## References
#
# The bump of {eq}`eq-bump` is in {cite:t}`schoenberg1946`; the layer is that of {cite:t}`liu2024` in the form of the efficient-kan package, which {cite:t}`nik2024` used; Adam is from {cite:t}`kingma2015`.

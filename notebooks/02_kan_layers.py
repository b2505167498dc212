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
# # KAN layers
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/02_kan_layers.ipynb)
#
# **The question.** What does a Kolmogorov–Arnold layer compute, what does the theorem behind its name
# promise, and why does the paper's layer spend ten parameters on every edge?
#
# **The answer.** Between every input and every output lies an *edge* with a learnable function of its own; an output is the sum of the functions on its edges. A theorem says that two layers of suitable continuous functions, one after the other, can represent any continuous function; it does not say that these functions can be learned. The ten parameters are eight
# coefficients of a spline, the weight of a fixed *base function* beside it, and a scale of the spline.
#
# **You need** the [B-splines](01_bsplines.ipynb) of the first chapter, and matrix products. **On this page**
# we write a layer by hand, prove it equal to `KANLinear`, redraw the paper's Figures 2, 3 and 4, refine a
# grid without changing the function, and count parameters. A GPU does not matter
# here.

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

from kanvae import KANLinear, figures, splines
from kanvae.figures import diagrams, interactive, tables
from kanvae.models import count_parameters
from kanvae.studies import paper

# %% tags=["parameters"]
seed = 0
grid_size = 5
spline_order = 3
steps = 300

# %% [markdown]
# ## The theorem, and what it does not promise
#
# Kolmogorov and Arnold showed in 1957 {cite}`kolmogorov1957` that every continuous function of $I$ variables on a closed, bounded box is a sum of continuous functions of *one* variable, applied to sums of such functions:
#
# $$
# f(x_1, \dots, x_I) = \sum_{o=1}^{2I+1} \Phi_o\Big( \sum_{i=1}^{I} \psi_{oi}(x_i) \Big) .
# $$ (eq-kolmogorov)
#
# Nothing but addition mixes the variables. It is tempting to read equation {eq}`eq-kolmogorov` as a network with
# two layers that can represent anything with $2I + 1$ hidden nodes. But the theorem says only that the inner and
# outer functions exist and are continuous. They need not be smooth even where $f$ is
# {cite}`girosi1989`; nothing says that a spline with few coefficients comes near them, nor that gradient descent
# finds them.
#
# Multilayer perceptrons (MLPs) rest on another theorem, that of **universal approximation** {cite}`hornik1989`. Take any continuous $f$ on such a box, any error $\varepsilon > 0$, and one fixed function $\sigma$ that rises from 0 to 1, such as the logistic function. Then there are a number $H$ of hidden units, weights $w_h$ and $v_h$ and biases $b_h$ with
#
# $$
# \Big| f(x) - \sum_{h=1}^{H} v_h\, \sigma\big(w_h^\top x + b_h\big) \Big| < \varepsilon
# \quad \text{for every } x \text{ in the box.}
# $$ (eq-universal)
#
# Equation {eq}`eq-kolmogorov` is exact and needs few nodes, but their functions may be arbitrarily rough. Equation {eq}`eq-universal` is approximate and uses one known function, but it does not say how many nodes are needed. One hides the difficulty in the functions, the other in their number, and neither gives a way to learn them from data.
#
# A **Kolmogorov–Arnold network** (KAN, {cite}`liu2024`) keeps the form of {eq}`eq-kolmogorov`, functions on edges and sums
# at nodes, and drops the guarantee: smooth functions, any width, any depth. What such networks achieve is
# for experiments to say.
#
# ### Sixty years from theorem to network
#
# The idea of computing with equation {eq}`eq-kolmogorov` is older than KANs. {cite:t}`sprecher1965` showed that
# one inner function is enough, shifted for each hidden node and scaled for each input, and so made the theorem look like something
# that a program might build. {cite:t}`koppen2002` did build it, from the digits of the inputs, and fitted the outer
# functions. But that inner function is as jagged as a fractal. The next step was to give up the theorem's own
# functions for smooth ones: {cite:t}`leni2013` used splines, for images, and {cite:t}`fakhoury2022` learned inner
# and outer functions alike as B-splines. All of them kept the two layers of the theorem. {cite:t}`liu2024` dropped
# these too: they stacked layers of splines as others stack linear ones, and trained them by backpropagation.
# The variants that the paper lists appeared within a year; [a map of the paper](../book/map.md) says where each is in
# this book.
#
# ## One edge
#
# The edge from input $i$ to output $o$ carries a learnable function. In the layer that the paper used it is a
# fixed **base function** $b$ times a weight, plus a spline times a scale:
#
# $$
# \begin{aligned}
# \phi_{oi}(x) &= w^b_{oi}\, b(x) + w^s_{oi} \sum_{j=0}^{G+k-1} c_{oij}\, N_j(x), \\
# b(x) &= \mathrm{SiLU}(x) = \frac{x}{1 + e^{-x}} .
# \end{aligned}
# $$ (eq-edge)
#
# The $N_j$ are the basis functions of order $k$ on a **grid** that cuts an interval, $[-1, 1]$ by default, into
# $G$ equal pieces, with $k$ knots more on either side. (The order of a KAN's splines is what we called the
# degree.) The **base weight** is $w^b$, the **spline scale** is $w^s$, and the $c$ are the coefficients. The spline is zero outside its knots, so far from the grid the base function is all that an edge has. The scale adds no functions, but it may change how fast an edge learns; exercise 1 at the end of the page shows how.
#
# A **layer** with $I$ inputs and $O$ outputs has $I \cdot O$ such edges and sums them at each output, with no bias:
#
# $$
# y_o = \sum_{i=1}^{I} \phi_{oi}(x_i) .
# $$ (eq-layer)
#
# Equations {eq}`eq-edge` and {eq}`eq-layer`, written out for a batch of $B$ rows:


# %%
def layer_by_hand(
    x, grid, base_weight, spline_weight, spline_scaler, order
):
    inputs = range(x.shape[1])
    bases = [splines.cox_de_boor(x[:, i], grid[i], order) for i in inputs]
    bases = torch.stack(bases, dim=1)  # (B, I, G + k)
    spline = torch.einsum("bij,oij->boi", bases, spline_weight)
    base = base_weight * F.silu(x).unsqueeze(1)
    edges = base + spline_scaler * spline  # (B, O, I): every phi(x)
    return edges.sum(dim=2)  # (B, O)


# %% [markdown]
# `KANLinear` is the module's layer. It never forms the table of all edges: two matrix products give the sums
# directly. The assertion checks that it computes the same, on inputs that reach far outside the grid.

# %%
generator = torch.Generator().manual_seed(seed)
layer = KANLinear(4, 3, grid_size, spline_order, generator=generator)
x = 2 * torch.randn(100, 4, generator=generator)
by_hand = layer_by_hand(
    x,
    layer.grid,
    layer.base_weight,
    layer.spline_weight,
    layer.spline_scaler,
    spline_order,
)
torch.testing.assert_close(layer(x), by_hand)
difference = float((layer(x) - by_hand).abs().max().detach())
print(f"largest difference: {difference:.1e}, in {layer}")

# %% [markdown]
# To see an edge, we take a layer with one input and one output, give its spline some shape, and draw the two
# parts and their sum.

# %%
edge = KANLinear(1, 1, grid_size, spline_order, generator=generator)
with torch.no_grad():
    edge.spline_weight.normal_(generator=generator)
    edge.spline_scaler.fill_(1.0)
    edge.base_weight.fill_(0.5)
    at = torch.linspace(-3, 3, 601)[:, None]
    whole = edge(at)
    base = edge.base_weight * F.silu(at)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-edge", "caption": "One edge: its base, its spline, and their sum. Dotted lines are the knots; the grid itself is [-1, 1]."}, "image": {"alt": "Between the outer knots the edge follows its wavy spline; beyond them the spline is zero and the edge is its base function alone."}}
parts = {"base": base, "spline": whole - base, "edge": whole}
picture = figures.lines(
    at[:, 0],
    {name: value[:, 0] for name, value in parts.items()},
    "$x$",
    r"$\phi(x)$",
    marks=edge.grid[0].tolist(),
    dashed=["base", "spline"],
)
shown = {"coefficients": edge.spline_weight[0, 0].tolist()}
shown |= {"base_weight": 0.5, "spline_scale": 1.0, "sizes": [3, 20]}
shown |= {"grid_size": grid_size, "order": spline_order}
shown["range"] = edge.grid_range
interactive.figure("edge", shown, picture)

# %% [markdown]
# {numref}`fig-edge` shows that an edge can learn a shape only between the outermost knots. Beyond them the spline is exactly
# zero, and the edge can learn one number only, the weight of SiLU. On the book's page you can move the coefficients, up and
# down, and weigh the two parts. The number $G$ of intervals can be changed, too: the spline keeps its shape as well
# as the new grid allows, which the section on finer grids explains.
#
# ## MLP and KAN
#
# An MLP puts numbers on its edges and one fixed nonlinear function ($\sigma$ in the drawing, any activation and not only the sigmoid) at each hidden node. A KAN puts functions on its edges, and its nodes only add. These are the paper's Figures 2 and 3.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-networks", "caption": "The same widths as an MLP and as a KAN. The curves on the KAN's edges are edges of randomly initialised layers, enlarged."}, "image": {"alt": "Both networks have two inputs, three hidden nodes, one output and nine edges; the MLP applies a function in its nodes, the KAN has a small curve on every edge and only adds in its nodes."}}
with torch.no_grad():
    many = KANLinear(1, 9, grid_size, spline_order, generator=generator)
    many.spline_weight.normal_(generator=generator)
    drawn = many(torch.linspace(-1.5, 1.5, 60)[:, None]).T  # (9, 60)
diagrams.networks([2, 3, 1], drawn)

# %% [markdown]
# Read {numref}`fig-networks` for what it costs: both networks have the same edges, but an edge of the MLP (top) is one number, and an edge of the KAN (bottom) is a function with its own coefficients.
#
# ## Finer grids: the paper's Figure 4
#
# The number of coefficients decides how much detail an edge function can have. The paper's Figure 4 shows one edge function with $G = 3$ and with
# $G = 10$. We fit a wavy function by least squares on both grids.
#
# ```{admonition} Departure from the paper
# :class: warning
# The paper calls $G$ the number of control points. In the layer it used, $G$ counts the *intervals* of the grid, and
# the control points (coefficients) are $G + k$: 8, not 5, at its setting. We follow the layer.
# ```

# %%
domain = torch.linspace(-1, 1, 801)
target = torch.sin(4 * domain) * torch.exp(-domain) + 0.4 * torch.sin(
    11 * domain
)
fits = {}
for intervals in (3, 10):
    knots = splines.uniform_knots(intervals, spline_order, (-1.0, 1.0))
    coefficients = splines.fit(
        domain, target[:, None], knots, spline_order
    )[:, 0]
    fits[f"G = {intervals}"] = splines.evaluate(
        domain, knots, coefficients, spline_order
    )
    error = (fits[f"G = {intervals}"] - target).square().mean().sqrt()
    print(
        f"G = {intervals:2d}: {len(coefficients)} coefficients, "
        f"root-mean-square error {float(error):.3f}"
    )

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-grids", "caption": "The paper's Figure 4, redrawn: one function, fitted on a grid of 3 and on one of 10 intervals."}, "image": {"alt": "Three intervals follow the large swing of the target and miss its small waves; ten intervals follow both."}}
figures.lines(
    domain,
    {"target": target, **fits},
    "$x$",
    r"$\phi(x)$",
    dashed=["target"],
)

# %% [markdown]
# In {numref}`fig-grids` the coarse grid catches the trend and misses the ripple; the fine one follows both.
#
# **Grid extension** {cite}`liu2024` is the same step for a layer that has already learned something: find
# coefficients on a finer grid that keep the function inside the grid, and go on training. Outside, where the outer knots move inwards, the function changes. (An MLP can grow too: Net2Net
# {cite}`chen2016` widens a layer without changing the function.) `extend_grid` returns the largest change of any output on the given data. Our
# prediction, for inputs inside the grid: tripling the intervals moves nothing, since every old knot is a new one; going from 3 to 10 moves a
# little.

# %%
inputs = torch.rand(1000, 4, generator=generator) * 2 - 1
for new_size in (9, 10):
    coarse = KANLinear(
        4,
        3,
        grid_size=3,
        spline_order=spline_order,
        scale_noise=5.0,
        generator=generator,
    )
    scale = float(coarse(inputs).detach().std())
    change = coarse.extend_grid(new_size, inputs)
    assert change < (1e-5 if new_size == 9 else 0.01) * scale
    print(
        f"3 → {new_size} intervals: an output moves by at most "
        f"{change:.1e} (outputs spread over {scale:.2f})"
    )

# %% [markdown]
# Both are as predicted: from 3 to 9 intervals outputs change by rounding only, and from 3 to 10 by less than a hundredth of their spread.
#
# Does it help training? We let a single edge learn the target of {numref}`fig-grids` with Adam, first with $G = 3$,
# then extended to $G = 10$ halfway, and compare it with an edge that stays at $G = 3$ and with one that has $G = 10$
# from the start. The prediction: the extended edge ends near the fine one.


# %%
def learn(edge: KANLinear, steps: int) -> list[float]:
    optimizer = torch.optim.Adam(edge.parameters(), lr=0.03)
    losses = []
    for _ in range(steps):
        loss = F.mse_loss(edge(domain[:, None])[:, 0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


# %%
curves = {}
for label, begun, size in (
    ("stays at G = 3", 3, 3),
    ("extended to G = 10 halfway", 3, 10),
    ("G = 10 from the start", 10, 10),
):
    edge = KANLinear(
        1,
        1,
        grid_size=begun,
        spline_order=spline_order,
        generator=torch.Generator().manual_seed(seed),
    )
    first = learn(edge, steps)
    edge.extend_grid(size, domain[:, None])
    curves[label] = first + learn(edge, steps)
    halfway, last = curves[label][steps - 1], curves[label][-1]
    print(f"{label}: mean squared error {halfway:.4f} halfway,")
    print(f"    {last:.4f} at the end")

# %% tags=["remove-cell"]
coarse, grown, fine = (losses[-1] for losses in curves.values())
if steps >= 300:
    assert coarse > 50 * fine
    assert grown < 2 * fine
    assert curves["G = 10 from the start"][steps - 1] < 2 * grown
    spike = curves["G = 10 from the start"][steps : steps + 5]
    assert max(spike) > 2 * curves["G = 10 from the start"][steps - 1]

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-extension", "caption": "Training one edge: with a coarse grid, with one that is extended halfway, and with the fine grid from the start."}, "image": {"alt": "The losses of the coarse and the extended edge fall alike until halfway; there the extended edge falls without a jump to where the fine one is, and the coarse one stays where it is."}}
figures.lines(
    torch.arange(1, 2 * steps + 1),
    curves,
    "weight updates",
    "mean squared error",
    marks=[steps],
    log="xy",
)

# %% [markdown]
# {numref}`fig-extension` shows the coarse edge stuck at what three intervals can express. The extended edge
# continues from the same loss, without a jump, and ends where the fine edge ends. All three edges get a new Adam halfway, because extension replaces the
# coefficients; the short spike of the fine edge comes from this restart. So extension rescues a coarse edge, but here it gains nothing over a fine grid from the start, which had reached almost the same error halfway. The paper trains without grid extension, and so do the following chapters.
#
# ## Counting parameters
#
# An edge has $G + k$ coefficients, one base weight and one spline scale: $8 + 1 + 1 = 10$ at the paper's $G = 5$,
# $k = 3$. A linear layer has one weight per edge and one bias per output. The [next chapter](03_vae_elbo.ipynb) builds an auto-encoder from five layers: from $D = 784$ pixels
# to $H$ hidden units, from there to $L$ means and to $L$ log-variances, and back from $L$ to $H$ to $D$. These are $DH + 2HL + LH + HD = 2DH + 3HL$ edges.
# The paper's Table I lists nine such models, named here by $H$–$L$; stars mark the two KAN-VAEs that the paper features. Its column of parameters must come out to the digit, and it does.

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-parameters", "caption": "Parameters of the nine models of Table I, counted and as the paper gives them."}}
rows = []
for row in paper.TABLE_I:
    model = row.architecture.build()
    assert count_parameters(model) == row.parameters
    rows.append(
        (
            paper.title(row.architecture),
            row.architecture.edges(),
            count_parameters(model),
            row.parameters,
        )
    )
table = pd.DataFrame(
    rows, columns=["model", "edges", "parameters", "paper"]
)
table["per edge"] = table["parameters"] / table["edges"]
tables.table(table, {"per edge": ".3f"})

# %% [markdown]
# Every KAN row of {numref}`tab-parameters` is exactly ten times its edges. The linear row exceeds its edges by its biases.
#
# ## What we saw
#
# - A KAN layer sums learnable functions of one variable. The theorem behind the name promises that two such layers can represent any continuous function, but not that their functions are smooth, simple or learnable.
# - The spline acts inside the knots only. Outside, an edge is a number times SiLU.
# - Inside its range a grid can be refined without changing the function: exactly if the new knots include the old ones, else nearly. Outside, the function changes.
# - Ten parameters per edge: eight coefficients, a base weight, a scale. The counts of Table I follow to the digit.
#
# ## Exercises
#
# **1.** The scale $w^s$ multiplies the coefficients, so it adds no functions that they could not express. Why might
# it still change training?
#
# <details><summary>Solution</summary>
#
# The same function can be written with a large scale and small coefficients or the reverse. Adam normalises the
# gradient of each parameter separately, so a step changes a coefficient by about the same amount whatever $w^s$ is. The function then moves by $w^s$ times
# that amount. So the scale changes how fast an edge learns, not what it can represent.
#
# </details>
#
# **2.** On inputs that are 0 or 1 only, how many of the ten parameters of an edge are needed?
#
# <details><summary>Solution</summary>
#
# Two numbers describe any function on two points: $\phi(0)$ and $\phi(1)$. Summed over the inputs, the $\phi(0)$ become
# one bias per output. So one number per edge, $\phi(1) - \phi(0)$, and one bias per output express all that the layer can
# do: it is an affine layer. The first layer of the paper's encoder sees binary pixels, so this is its case.
#
# </details>
#
# **3.** Pass `grid_range=(-2.0, 2.0)` to the `KANLinear` that {numref}`fig-edge` draws. Where does the spline vanish now?
#
# <details><summary>Solution</summary>
#
# The intervals are $4/5 = 0.8$ wide, and three more stand on each side: the last knots are at $\pm(2 + 2.4) = \pm 4.4$.
#
# </details>
#
# ## References
#
# The layer is that of {cite:t}`liu2024` in the form of the efficient-kan package {cite}`cao2024`, which {cite:t}`nik2024` used. On what
# the theorem does not promise: {cite:t}`girosi1989`.

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
# # KANs elsewhere
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/16_kans_elsewhere.ipynb)
#
# **The question.** The paper's related work puts KAN layers into recurrent networks (TKAN), into a transformer
# (TKAT) and into graph networks (GraphKAN). What do they change in the usual model, and what does that cost?
#
# **The answer.** Only GraphKAN is a KAN throughout. TKAN draws the output gate of an LSTM from a KAN layer, TKAT is a known transformer
# with TKANs inside, and GraphKAN has KAN layers where a graph convolution has matrices. At equal size a training step with a TKAN takes several times as long as with an LSTM, and one of a GraphKAN about as long as its
# twin's.
#
# **You need** the chapter on [KAN layers](02_kan_layers.ipynb), and to have met an LSTM, attention and a graph convolution. **On
# this page** we write out what is new in each model, check it against the module, and time it beside its twin. Half a minute on
# two cores; a GPU does not matter here.

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
# The imports, and the parameters that you may change: which training images are drawn as graphs, and how many times a step is timed.

# %%
import pandas as pd
import torch

from kanvae import KANLinear, data, figures
from kanvae.figures import diagrams, tables
from kanvae.layers.graph import GraphKAN
from kanvae.layers.recurrent import TKANCell
from kanvae.models import count_parameters
from kanvae.studies import elsewhere, sets
from kanvae.studies.timing import interleaved

# Steps are small: threads would wait for each other.
torch.set_num_threads(1)

# %% tags=["parameters"]
first_image = 0
rounds = 5

# %% [markdown]
# ## A recurrent layer: TKAN
#
# An LSTM {cite}`hochreiter1997` reads a sequence step by step. It keeps a cell state $c$ and a hidden state $h$, and three gates say what enters the cell, what stays in it, and what of it is shown.
# TKAN {cite}`genet2024tkan` keeps the first two gates, $i$ and $f$, and the candidate $g$. The third gate comes from small KAN
# layers with memories of their own. With the logistic function $\sigma$, the inputs $x$ of a step, and primes for the next state,
#
# $$
# \begin{aligned}
# (i, f, g) &= \sigma(W x + V h + b), \\
# c' &= f \odot c + i \odot \tanh g,
# \end{aligned}
# $$ (eq-tkan-gates)
#
# $$
# \begin{aligned}
# o &= \mathrm{KAN}(U^\top x + R^\top m), \\
# m' &= \alpha \odot o + \beta \odot m, \\
# h' &= \sigma(Q o + d) \odot \tanh c' .
# \end{aligned}
# $$ (eq-tkan-kan)
#
# Here $m$ is the memory of the KAN layer. The weights $W, V, U, R, Q$, the biases $b, d$ and the factors
# $\alpha, \beta$ are learned. Two steps by hand, with one KAN layer:

# %%
torch.manual_seed(0)
cell = TKANCell(3, 4)
(kan,) = cell.inner
h, c, m = torch.zeros(5, 4), torch.zeros(5, 4), torch.zeros(5, 3)
state = None
for x in torch.randn(2, 5, 3):
    gates = x @ cell.input_weight.T + h @ cell.hidden_weight.T + cell.bias
    i, f, g = gates.sigmoid().chunk(3, dim=1)
    c = f * c + i * g.tanh()
    o = kan(x @ cell.inner_input[0] + m @ cell.inner_state[0])
    alpha, beta = cell.memory[:, 0]
    m = alpha * o + beta * m
    h = (o @ cell.output.weight.T + cell.output.bias).sigmoid() * c.tanh()
    state = cell(x, state)
torch.testing.assert_close(h, state.hidden)
torch.testing.assert_close(m, state.inner[0])

# %% [markdown]
# The candidate passes through the logistic function *and* through tanh, as in the authors' public code with
# torch and JAX. They report that TKAN forecasts the traded volume of bitcoin better than a GRU and an LSTM, above all many steps ahead.
#
# In the book's task a model reads an image of MNIST row by row, 28 pixels at a time, and a linear layer names the digit after the last row. Here are three models of the same size, to within 3 %, and the time of an update on a batch of 100 images:

# %% tags=["hide-input"]
NAMES = {
    "tkan": "TKAN",
    "gru": "GRU",
    "lstm": "LSTM",
    "tkat": "TKAT",
    "tkat_lstm": "TKAT with LSTMs",
    "encoder": "transformer encoder",
    "kan": "GraphKAN",
    "linear": "graph convolution",
}


# %% tags=["hide-input"]
def timed(task, batch):
    """Parameters of a task's models, and how long an update takes."""
    updates, sizes = {}, {}
    for name, make in elsewhere.TASKS[task].models.items():
        model = make(0)
        if size := count_parameters(model):
            adam = torch.optim.Adam(model.parameters())
            loss = elsewhere.TASKS[task].settings["loss"]

            def update(model=model, adam=adam, loss=loss):
                adam.zero_grad()
                loss(model, batch)[0].backward()
                adam.step()

            updates[NAMES[name]], sizes[NAMES[name]] = update, size
    times = pd.DataFrame(interleaved(updates, rounds, 0.05))
    frame = pd.DataFrame({"parameters": sizes, "ms": times.median()})
    first = frame.index[0]
    frame["times the first's"] = times.div(times[first], axis=0).median()
    return frame.rename_axis("model")


# %% tags=["hide-input"] mystnb={"table": {"name": "tab-rows", "caption": "Readers of rows of MNIST: parameters, milliseconds an update on one thread of this machine, and the median of its ratio to the first line's."}}
images = elsewhere.row_images("train")[:100]
rows = timed("rows", images)
tables.table(rows, {"ms": ".1f", "times the first's": ".2f"})

# %% [markdown]
# {numref}`tab-rows` has the price. PyTorch runs a whole LSTM or GRU as one operation; a TKAN goes through Python, a norm and a KAN layer at every step.

# %% tags=["remove-cell"]
assert rows["ms"].idxmax() == "TKAN"
assert (rows.loc[["GRU", "LSTM"], "times the first's"] < 0.6).all()
assert rows["parameters"].max() < 1.03 * rows["parameters"].min()

# %% [markdown]
# ## A transformer of time series: TKAT
#
# TKAT {cite}`genet2024tkat` follows the temporal fusion transformer {cite}`lim2021`. A recurrent layer encodes the past, another decodes the part of the
# future that is known, all steps attend to each other, and a linear layer sees them all. Where the older model has LSTMs, TKAT has TKANs. Its authors forecast the same volume as before and find it better than with LSTMs, most of all over long horizons.
#
# The book's series is the carbon dioxide over Mauna Loa {cite}`keeling1976`, weekly from 1958 to 2001. A model sees 65 weeks, with the time of the year as
# sine and cosine, and forecasts the next 13. The last 15 % of the series are for test; no window crosses a border. Three rules that learn nothing set the mark: the next weeks are as the last one
# was; they are as they were a year ago; they change as they changed a year ago.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-rules", "caption": "The error of three rules that learn nothing, by how far ahead they forecast: root mean square over all test windows."}, "image": {"alt": "The error of last week's value rises from half a ppm to three; that of last year's values is nearly two at any distance; that of last year's change stays below one."}}
rules = {
    "as last week": elsewhere.last_value,
    "as a year ago": elsewhere.last_year,
    "changed as a year ago": elsewhere.last_change,
}
found = {
    name: elsewhere.forecast_errors(elsewhere.Rule(rule))
    for name, rule in rules.items()
}
ahead = range(1, elsewhere.FUTURE + 1)
figures.lines(
    ahead,
    {
        name: [errors[f"test_rmse_{n}"] for n in ahead]
        for name, errors in found.items()
    },
    "weeks ahead",
    "error, ppm",
)

# %% [markdown]
# {numref}`fig-rules` says what a model has to beat. In the first week last week's value is the best guess; from then on it is the rule that adds last year's change, which misses by less than one ppm however far it looks ahead. A comparison of networks alone would not have shown whether they learned anything.

# %% tags=["remove-cell"]
overall = {name: errors["test_rmse"] for name, errors in found.items()}
assert min(overall, key=overall.get) == "changed as a year ago"
change = found["changed as a year ago"]
assert max(change[f"test_rmse_{n}"] for n in ahead) < 1
week, year = found["as last week"], found["as a year ago"]
assert week["test_rmse_1"] < 0.6 < change["test_rmse_1"]
assert all(
    change[f"test_rmse_{n}"] < week[f"test_rmse_{n}"] for n in ahead[1:]
)
assert week["test_rmse_13"] > 3
assert all(1.8 < year[f"test_rmse_{n}"] < 2 for n in ahead)

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-series", "caption": "Forecasters of one size: parameters, milliseconds an update on a batch of 32 windows, and the median of its ratio to the first line's."}}
series = timed("series", elsewhere.series().train[:32])
tables.table(series, {"ms": ".1f", "times the first's": ".2f"})

# %% [markdown]
# A TKAT goes through 78 steps of a TKAN, 65 to encode and 13 to decode, and {numref}`tab-series` shows that they are what its time goes into.

# %% tags=["remove-cell"]
assert (elsewhere.PAST, elsewhere.FUTURE) == (65, 13)
assert round(1 - sum(elsewhere.PARTS), 2) == 0.15
assert series["ms"].idxmax() == "TKAT"
assert series.loc["TKAT with LSTMs", "times the first's"] < 0.6

# %% [markdown]
# ## Graphs: GraphKAN
#
# GraphKAN {cite}`zhang2024` takes a graph convolution {cite}`defferrard2016` and puts a KAN layer where it has a matrix. Let a graph have the
# adjacency matrix $A$ and the degrees $D$ on a diagonal, and $M = -D^{-1/2} A D^{-1/2}$. With the Chebyshev polynomials $T_n$,
#
# $$
# y = d + \sum_{n} f_n(T_n(M)\, x),
# $$ (eq-graph-kan)
#
# where a row of $x$ holds the features of a node, and $f_n$, for $n = 0, 1, \dots$, is a layer that sees what comes from up to $n$ steps away. On a path
# of four nodes, by dense matrices:

# %%
edges = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
A = torch.zeros(4, 4)
A[edges[0], edges[1]] = 1
D = A.sum(1).rsqrt().diag()
M = -D @ A @ D
layer, nodes = GraphKAN(3, 2, steps=3), torch.randn(4, 3)
powers = [torch.eye(4), M, 2 * M @ M - torch.eye(4)]
by_hand = layer.bias + sum(
    f(T @ nodes) for f, T in zip(layer.layers, powers, strict=True)
)
torch.testing.assert_close(layer(nodes, edges), by_hand)
assert all(type(f) is KANLinear for f in layer.layers)

# %% [markdown]
# Its authors classify signals and report, beside their public code, 1.4 to 3.4 points more accuracy on their four sets than with matrices. The book's task has
# graphs of digits: the lit pixels of an image form up to 25 superpixels, each joined to the six nearest, and a node knows its brightness and its place.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-superpixels", "caption": "Three training images and their graphs of superpixels."}, "image": {"alt": "Nodes lie along the strokes of each digit and are joined to their neighbours; the shape of the digit can be seen in the graph."}}
pixels = data.load("MNIST", regime="paper").pixels[first_image:][:3]
nodes = torch.from_numpy(sets.superpixels(pixels))  # (3, S, 4)
panels = {}
for number, (image, own) in enumerate(zip(pixels, nodes, strict=True)):
    there = own[:, 3] > 0
    places = 14 * own[:, 1:3] + 13.5  # in pixels
    panels[f"image {first_image + number}"] = (
        image.reshape(28, 28) / 255,
        torch.where(there[:, None], places, torch.nan),
        elsewhere.neighbours(own[None]),
    )
diagrams.graphs(panels)

# %% [markdown]
# {numref}`fig-superpixels` shows what a network sees of an image: no pixel, only these nodes. Three such layers follow, with a norm
# after each, then the mean of all nodes, and a linear layer.

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-graphs", "caption": "Readers of graphs of digits of one size: parameters, milliseconds an update on a batch of 48 graphs, and the median of its ratio to the first line's."}}
graphs = sets.superpixels(pixels.repeat(16, 1))
batch = elsewhere.answered(
    torch.from_numpy(graphs).flatten(1), torch.zeros(len(graphs))
)
readers = timed("graphs", batch)
tables.table(readers, {"ms": ".1f", "times the first's": ".2f"})

# %% [markdown]
# The two lines of {numref}`tab-graphs` are close to each other: a KAN layer on nodes with 16 features costs about as much as a matrix on nodes with 50, and the rest of the work is the same.

# %% tags=["remove-cell"]
assert (sets.SUPERPIXELS, elsewhere.NEIGHBOURS) == (25, 6)
assert 0.4 < readers["times the first's"].iloc[1] < 2.5
assert readers["parameters"].max() < 1.03 * readers["parameters"].min()

# %% [markdown]
# ## What we saw
#
# - TKAN replaces one gate of an LSTM by KAN layers (and sends the candidate through the logistic function as well as tanh); TKAT puts such layers into a known transformer. At equal size that gate makes them the slowest of their tables.
# - GraphKAN exchanges matrices for KAN layers, and costs about as much as its twin.
# - On a series like ours a rule that learns nothing is hard to beat, and a comparison should show it.
#
# ```{admonition} What is missing here
# :class: note
# Which of these models reads, forecasts or classifies better can only be found by training them, and these training runs are not finished. `kanvae reproduce --study elsewhere` trains every model of these tables with three learning rates, chooses by validation data, and scores three seeds on test data.
# ```
#
# ## Exercises
#
# **1.** In {eq}`eq-tkan-kan` the KAN layer decides only how much of the cell state is shown. Could a TKAN remember anything if its KAN layer were constant?
#
# <details><summary>Solution</summary>
#
# Yes. Gates and candidate depend on the KAN layer through $h$ alone. With a constant gate the cell is an LSTM
# whose output gate is fixed; its cell state still sums what $i$ and $g$ let in.
#
# </details>
#
# **2.** Why is the last rule of {numref}`fig-rules` good at this series and poor at the price of a share?
#
# <details><summary>Solution</summary>
#
# Carbon dioxide repeats its year and rises by nearly the same amount each year, so that last year's change foretells this year's. A price has
# no such year: the best rule that knows nothing is its last value.
#
# </details>
#
# ## References
#
# The layers follow {cite:t}`genet2024tkan`, {cite:t}`genet2024tkat` and {cite:t}`zhang2024`, and are checked against their public
# code; where ours depart from it stands in the [API reference](../book/api/layers.md). The series comes with statsmodels.

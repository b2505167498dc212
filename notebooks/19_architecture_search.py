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
# # Architecture search
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/19_architecture_search.ipynb)
#
# **The question.** The paper names the search for better architectures as its first item of future work. Which architectures give the best likelihood for their number of parameters, and where do the rows of Table I stand among them?
#
# **The answer.** Above 104,000 parameters the best models found are those whose hidden units share a few learned functions, 3 to 11 an input; below, all but the smallest are narrow linear VAEs. Trained again for ten epochs with five new seeds, the best model is 3.6 nats of test likelihood ahead of the paper's VAE and 2.2 ahead of one with SiLU, and the paper's VAE is matched with 58 % of its parameters. No row of Table I is on the front. Nor is a KAN-VAE with two hidden layers: the search proposed none, so the eight of Table I were trained with two beside it, and each is behind its own row.
#
# **In more detail.** The front is the set of trials that no other beats in both size and score. Its smallest and worst model is a KAN-VAE. By the search's own score the paper's VAE is matched with 55 % of its parameters. On test images the front keeps its order but for a few close neighbours. All this is after ten epochs, and the linear VAEs of the search had ReLU only.
#
# **You need** the [KAN layer's settings](02_kan_layers.ipynb), [functions that edges share](13_how_many_functions.ipynb) and [Table I](05_table1.ipynb). **On this page** we read and draw a search over widths, depth, kinds of layer and grids that was run before, with its front beside the paper's nine rows, and see what of the front stands with new seeds on test images. The search itself is not run here.

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
from scipy.stats import spearmanr

from kanvae import Architecture, figures
from kanvae.figures import tables
from kanvae.models import count_parameters
from kanvae.studies import paper, plan, results, sizes, space

# %% tags=["parameters"]
count = 5
seed = 0

# %% [markdown]
# ## The space
#
# An architecture of the search is one of three kinds. A linear VAE has a width $H$ from 40 to 640, and so has one whose units share learned functions, with 1 to 16 functions an input. A KAN-VAE has a width from 8 to 400, and its first layer may be linear. Functions have a grid: $G$ from 2 to 10, order $k$ from 1 to 3, and a range $[-R, R]$ with $R$ from 1 to 4. All have 4 to 32 latents and one or two hidden layers on each side. Widths are drawn on a logarithmic scale, and each kind is tried equally often. The
# proposals come from Optuna {cite}`akiba2019` and its tree-structured Parzen estimator {cite}`bergstra2011`, which models the settings of good trials and of the others and proposes what is likely under the first and unlikely under the second. Before it has seen any trial it draws at random:

# %%
for architecture in space.proposals(count, seed):
    size = count_parameters(architecture.build())
    print(f"{size:9,} parameters: {architecture}")

# %% [markdown]
# ## Two objectives, and when to give up
#
# Both the score (an NLL, defined below) and the number of parameters are to be small. There is no single best trial then, but a **front**: the trials that no other beats in both. A trial is given up while it trains when it can hardly get there. Let $e_a(t)$ be the validation ELBO of trial $a$ after epoch $t$, and $P_a$ its number of parameters. A trial $a$ ends early after epoch $t$ if for some other trial $b$
#
# $$
# P_b \le P_a \quad\text{and}\quad e_b(t') > e_a(t') + \delta \quad\text{for } t' = t - 1,\, t ,
# $$ (eq-hopeless)
#
# that is, if a model that is no larger was ahead by more than the margin $\delta$ at two epochs in a row. Optuna's own pruners compare values of one objective, and would stop small models because large ones are better; {eq}`eq-hopeless` compares with what is no larger. The nine rows of Table I are the first trials, and they are always trained to their end.
#
# The scores are of validation images, and every trial has one training of ten epochs with the same seed; the rate of 0.002 falls along a cosine. A search finds candidates. What it found is trained again below, with seeds that it has not seen, and scored on test images.

# %%
trials, curves, about = results.search()
settings = about["config"]
whole = pd.Series(settings | {"trials": len(trials)}, name="value")
whole.index = whole.index.str.replace("_", " ")

# %% mystnb={"table": {"name": "tab-search-settings", "caption": "What the search was given."}}
tables.table(whole.rename_axis("setting").to_frame())

# %% [markdown]
# A trial trains for fewer epochs than the book's models do ({numref}`tab-search-settings`), so that there can be many.
#
# ## The front
#
# The score is the NLL of 1,000 validation images in nats, with 50 samples. The rows of Table I were trained and scored in the same way, so they can be compared with the others here, though not with their own scores after 30 epochs in [the chapter on Table I](05_table1.ipynb).

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-front", "caption": "Score against the number of parameters, one point per trial that was trained to its end: the rows of Table I, and what the search proposed. The line is the front: no trial lies below and to the left of it. Lower is better."}, "image": {"alt": "The front falls from 166 nats at 62,000 parameters to 88 at 610,000. Its first point has KAN layers, the next ten are linear VAEs of 104,000 parameters and fewer, and all others share functions. Every row of Table I lies above it."}}
complete = trials[trials["state"] == "complete"]
row = complete["row"].notna()
kinds = {"KAN": "kan", "shared functions": "shared", "linear": "linear"}
groups = {"Table I": complete[row]} | {
    f"proposed, {name}": complete[~row & (complete["layer"] == layer)]
    for name, layer in kinds.items()
}
front = complete[complete["front"]].sort_values("parameters")
figures.front(
    {name: part[["parameters", "score"]] for name, part in groups.items()},
    front[["parameters", "score"]],
    "NLL, nats per image",
)

# %% [markdown]
# A row of Table I that lies above the line of {numref}`fig-front` is beaten by a model that is smaller and better at once. {numref}`tab-search-kinds` counts what became of each kind.

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-search-kinds", "caption": "The trials by kind of layer, rows of Table I included: how many, how many of them were given up, how many are on the front, and the best score with its parameters."}}
counts = {}
for name, layer in kinds.items():
    own = trials[trials["layer"] == layer]
    best = own.loc[own["score"].idxmin()]
    counts[name] = {
        "trials": len(own),
        "given up": int((own["state"] == "pruned").sum()),
        "on the front": int((own["front"]).sum()),
        "best score": best["score"],
        "its parameters": int(best["parameters"]),
    }
counted = pd.DataFrame(counts).T.rename_axis("layers")
score_of_vae = complete.set_index("architecture")["score"]["vae-400-20"]
least = front[front["score"] <= score_of_vae].iloc[0]
print(f"the paper's VAE: {score_of_vae:.1f} nats; as good or better with")
size = least["parameters"]
print(f"{size:,} parameters, {size / sizes.BUDGET:.0%} of its own")
tables.table(
    counted.astype({"trials": int, "given up": int, "on the front": int}),
    {"best score": ".1f", "its parameters": ",.0f"},
)

# %% [markdown]
# ## Does it hold?
#
# The best of many trials is a little lucky, and its seed is the search's. So every model of the front was trained again with five seeds that the search had not seen, for as many epochs, and scored on the 10,000 test images, with 500 samples. Two VAEs of the paper's size, with ReLU and with SiLU, were trained beside them.

# %% tags=["hide-input"]
scored = results.scores(dataset="MNIST", reading="last")
jobs = [job for job in plan.front() if job.scores == "brief"]
again = scored[scored["name"].isin([job.name for job in jobs])]
again = again.dropna(subset=["test_nll"])
searched = front.set_index("architecture")
SILU = sizes.fitted("SiLU", sizes.BUDGET)


def described(key):
    """A model of the table: its name, and what its functions are."""
    a = Architecture.parse(key)
    layer = a.layers()["decoder", "pixels"]
    name = ", ".join(paper.title(key).split(", ")[:2])
    own = again[again["model"] == key]
    known = searched["score"].get(key)
    return {
        "model": name + ", SiLU" * (key == SILU),
        "g": layer.groups or "",
        "G": layer.grid_size or "",
        "k": layer.spline_order or "",
        "R": layer.grid_range[1] if layer.grid_range else "",
        "parameters": count_parameters(a.build()),
        "search": f"{known:.1f}" if known else "",
        "test NLL": results.spread(own["test_nll"]),
        "Fréchet, grey": own["frechet_digits_grayscale"].mean(),
        "thresholded": own["frechet_digits_binarized"].mean(),
    }


# %% mystnb={"table": {"name": "tab-front", "caption": "The front of the search, by rising number of parameters, and two VAEs with fixed units, ReLU and SiLU, of the paper's size: functions an input $g$, intervals $G$, order $k$ and end $R$ of the grid; the score that the search saw; and on test images NLL, mean \u00b1 standard deviation over five new seeds, and mean Fr\u00e9chet distances."}}
keys = dict.fromkeys(str(job.config.architecture) for job in jobs)
table = pd.DataFrame(map(described, keys)).set_index("model")
distances = dict.fromkeys(("Fréchet, grey", "thresholded"), ",.0f")
tables.table(table, {"parameters": ",.0f"} | distances)

# %% [markdown]
# It does: the score of the search and the test NLL of {numref}`tab-front` have a rank correlation above 0.98; only close neighbours change places. (Test scores take ten times the samples, and other images, so that the two columns cannot be compared with each other.) From 378,000 parameters on, the means of models with shared functions are ahead of the paper's VAE with 653,000. We test five of these comparisons: the model with 378,000 against that VAE, and the largest two against it and against SiLU, which the search could not choose. They lead SiLU by about two nats. All five intervals exclude zero, and all five leads [stay clear](../book/conventions.md). From 150,000 parameters on, runs of one model scatter by less than a nat; below, by up to five. The distances of samples from real digits fall along the front too, with more scatter.

# %%
nll = again.groupby("model")["test_nll"].mean()
rank = spearmanr(searched["score"], nll[searched.index]).statistic
print(f"rank correlation of search and test: {rank:.2f}")
best = front["architecture"].iloc[-1]
leads = {
    (key, name): results.difference(again, key, control, "test_nll")
    for key in front["architecture"][-2:]
    for name, control in (("ReLU", "vae-400-20"), ("SiLU", SILU))
}
for name in ("ReLU", "SiLU"):
    print(f"best of the front minus {name}: {leads[best, name].short()}")

# %% tags=["remove-cell"]
assert rank > 0.98
assert round(leads[best, "ReLU"].mean, 1) == -3.6
assert round(leads[best, "SiLU"].mean, 1) == -2.2
assert all(d.high < 0 for d in leads.values())
assert all(d.mean < -1.8 for d in leads.values())
gains = nll["vae-400-20"] - nll[searched.index]
ahead = searched["parameters"][gains > 0]
assert 377_500 < ahead.min() < 378_500
wide = searched.index[searched["parameters"] >= ahead.min()]
assert (gains[wide] > 0).all()
matched = searched.index[searched["parameters"] == ahead.min()][0]
level = results.difference(again, matched, "vae-400-20", "test_nll")
assert level.high < 0
assert len(results.clear(leads | {matched: level})) == 5
scatter = again.groupby("model")["test_nll"].std()[searched.index]
of_large = searched["parameters"] > 150_000
assert scatter[of_large].max() < 1
assert round(scatter.max()) == 5
assert (again.groupby("model").size() == 5).all()

# %% tags=["hide-input"]
deeper = [job for job in plan.front() if job.config.architecture.depth > 1]
elbos = scored.set_index("name")["validation_elbo"]
of_row = complete.set_index("architecture")["validation_elbo"]
costs = {}
for job in deeper:
    flat = str(job.config.architecture).removesuffix("+depth=2")
    costs[flat] = of_row[flat] - elbos[job.name]
print("a second hidden layer costs, nats of validation ELBO:")
print(", ".join(f"{key} {cost:.1f}" for key, cost in costs.items()))

# %% tags=["remove-cell"]
assert all(job.config.seed == settings["seed"] for job in deeper)
assert len(costs) == 8
assert (round(min(costs.values()), 1), round(max(costs.values()))) == (
    2.8,
    22,
)

# %% [markdown]
# ```{admonition} How sure is this?
# :class: warning
#
# Ten epochs, one training each in the search, and ReLU alone for linear VAEs. None of the search's own 32 proposals with a function on every edge has two hidden layers on each side, and three of the 32 were trained to the end. So the KAN-VAEs of Table I were trained with two as well, beside the search and in the same way: each is behind its own row, by 2.8 to 22 nats of validation ELBO, with more parameters. [A longer training](11_why.ipynb) says the same of KAN-VAE**. KAN-VAE* was a trial of the search and 1.1 nats behind its best model there; it was not trained again here.
# ```
#
# ## What giving up saved
#
# The curves of all trials show what {eq}`eq-hopeless` does. Those that end early need not lie at the bottom: each was compared only with models that are no larger.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-search-curves", "caption": "Validation ELBO after each epoch of all trials: trained to the end, and given up."}, "image": {"alt": "Trials that were given up end after two epochs or a few more, most of them below those that go on; the others rise to the end."}}
pruned = set(trials.loc[trials["state"] == "pruned", "trial"])
bundle = {"trained to the end": [], "given up": []}
for trial, curve in curves.groupby("trial")[curves.columns[-1]]:
    name = "given up" if trial in pruned else "trained to the end"
    bundle[name].append(curve.to_numpy())
epochs = range(1, settings["epochs"] + 1)
figures.bundles(epochs, bundle, "epoch", "validation ELBO, nats per image")

# %%
spent, planned = trials["epochs"].sum(), settings["epochs"] * len(trials)
print(f"giving up left {1 - spent / planned:.0%} of the epochs untrained")

# %% tags=["remove-cell"]
layers = front["layer"].value_counts().to_dict()
assert layers == {"shared": 18, "linear": 10, "kan": 1}
assert front["layer"].iloc[0] == "kan"
linear = front[front["layer"] == "linear"]
assert 103_500 < linear["parameters"].max() < 104_500
shared = front[front["layer"] == "shared"]
assert shared["parameters"].min() > linear["parameters"].max()
groups_of = shared["architecture"].str.extract(r"groups=(\d+)")[0]
assert sorted(groups_of.astype(int))[:: len(shared) - 1] == [3, 11]
assert (shared["spline_order"] == 1).sum() == len(shared) - 1
assert (front["depth"] == 1).all()
assert settings["margin"] == 2
table_one = complete[row].set_index("architecture")["score"]
lead = table_one["kan-400-20"] - complete["score"].min()
assert round(lead, 1) == 1.1
assert 377_500 < 0.58 * sizes.BUDGET < 379_000
assert complete["score"].min() < table_one.min()
assert not front["row"].notna().any()
assert round(least["parameters"] / sizes.BUDGET, 2) == 0.55
assert counted.loc["KAN", ["trials", "given up"]].tolist() == [40, 29]
kans = trials[(trials["layer"] == "kan") & trials["row"].isna()]
assert len(kans) == 32
whole_kans = kans[kans["state"] == "complete"]
assert len(whole_kans) == 3
assert (kans["depth"] == 1).all()
far = table[["parameters", "Fréchet, grey", "thresholded"]].astype(float)
fall = far.iloc[:-2].corr("spearman").loc["parameters"]
assert (fall[1:] < -0.6).all(), fall
assert (trials["row"].notna() <= (trials["state"] == "complete")).all()

# %% [markdown]
# Giving up has a price, which {numref}`fig-search-curves` cannot show: a trial whose curve ends early might have caught up. The margin $\delta$ sets how sure we want to be.
#
# ## What we saw
#
# - The front has 18 models with shared functions, ten linear ones of 104,000 parameters and fewer, and one with a function on every edge, the smallest and worst of all. All have one hidden layer.
# - A few functions are enough: 3 to 11 an input, nearly all of order 1, that is, broken lines.
# - Of the forty trials with a function on every edge, rows of Table I included, 29 were given up, because a model that was no larger led by more than two nats of validation ELBO at two epochs in a row.
# - The search resumes after any stop: Optuna's journal holds the trials, run folders hold the training runs.
#
# ## Exercises
#
# **1.** Let the search try other basis functions: `kanvae search --layers gaussian,chebyshev,shared --output runs/search-bases`. Do shared functions still lead?
#
# <details><summary>Solution</summary>
#
# Compare the new front with {numref}`tab-front`. In [the chapter on other basis functions](14_other_basis_functions.ipynb) a function on every edge costs width whatever its basis, so expect that they do.
#
# </details>
#
# **2.** Take two neighbours of the front and train each with five seeds and 30 epochs. Is the one that was ahead still ahead?
#
# <details><summary>Solution</summary>
#
# Train both as the [chapter on training](04_training.ipynb) does, with `seed` from 0 to 4, and score each run with `kanvae evaluate`. The order of close neighbours often changes, which is what selection by one seed means.
#
# </details>
#
# ## References
#
# {cite:t}`akiba2019` for Optuna, {cite:t}`bergstra2011` for its sampler, {cite:t}`nik2024`, section VIII, for the question.

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
# **The answer.** Linear VAEs, as far as this search went. Of the 15 architectures on its front 14 are linear; the only KAN-VAE, the paper's largest, is half a nat better than the paper's VAE with ten times as many parameters. But the search proposed only four KAN-VAEs of its own and gave up each of them: it finds candidates and proves nothing.
#
# **You need** the [KAN layer's settings](02_kan_layers.ipynb) and [Table I](05_table1.ipynb). **On this page** we read and draw a search over widths, depth, kinds of layer and grids that was run earlier, with its front beside the paper's nine rows. A quarter of a minute on two cores; the search itself is not run here.

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
from IPython.display import Markdown

from kanvae import figures
from kanvae.figures import tables
from kanvae.models import count_parameters
from kanvae.studies import results, space

# %% tags=["parameters"]
count = 5
seed = 0

# %% [markdown]
# ## The space
#
# An architecture of the search is one of three kinds. A linear VAE has a width $H$ from 40 to 640, and so has one whose units share learned functions, with 1 to 16 functions an input. A KAN-VAE has a width from 8 to 400, and its first layer may be linear. Functions have a grid: $G$ from 2 to 10, order $k$ from 1 to 3, and a range $[-r, r]$ with $r$ from 1 to 4. All have 4 to 32 latents and one or two hidden layers on each side. Widths are drawn on a logarithmic scale, and each kind is tried equally often. The
# proposals come from Optuna {cite}`akiba2019` and its tree-structured Parzen estimator {cite}`bergstra2011`, which models the settings of good trials and of the others and proposes what is likely under the first and unlikely under the second. Before it has seen any trial it draws at random:

# %%
for architecture in space.proposals(count, seed):
    size = count_parameters(architecture.build())
    print(f"{size:9,} parameters: {architecture}")

# %% [markdown]
# ## Two objectives, and when to give up
#
# Both the score and the number of parameters are to be small. There is no single best trial then, but a **front**: the trials that no other beats in both. A trial is given up while it trains when it can hardly get there. Let $e_m(t)$ be the validation ELBO of model $m$ after epoch $t$, and $P_m$ its number of parameters. A trial $m$ ends early after epoch $t$ if for some other trial $r$
#
# $$
# P_r \le P_m \quad\text{and}\quad e_r(t') > e_m(t') + \delta \quad\text{for } t' = t - 1,\, t ,
# $$ (eq-hopeless)
#
# that is, if a model that is no larger was ahead by more than the margin $\delta$ at two epochs in a row. Optuna's own pruners compare values of one objective, and would stop small models because large ones are better; {eq}`eq-hopeless` compares with what is no larger. The nine rows of Table I are the first trials, and they are always trained to their end.
#
# ```{admonition} What the search below is, and is not
# :class: warning
# It ran in an earlier edition. Its regime `figure6`, which is gone, trained on the first 10,000 training images. It proposed only linear VAEs and KAN-VAEs without a linear first layer, did not try both kinds equally often, and chose by ELBO and score on *test* images, so that the scores of the chosen models are a little too good. It gave up one row of Table I, `kan-50-10`, and trained it to its end as a later trial. It trained each model once, with one seed, for ten epochs. It finds candidates. A claim about one of them needs new seeds and images that the search has not seen: `kanvae reproduce --study front` trains the front of a search of this edition with five other seeds and scores it on test images.
# ```

# %%
trials, curves, about = results.search()
settings = about["config"]
whole = pd.Series(settings | {"trials": len(trials)}, name="value")
whole.index = whole.index.str.replace("_", " ")
tables.table(whole.rename_axis("setting").to_frame())

# %% [markdown]
# ## The front
#
# The score is the NLL of test images in nats. The rows of Table I were trained and scored in the same way, so they can be compared with the others here, though not with their own scores after 30 epochs in [the chapter on Table I](05_table1.ipynb).

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-front", "caption": "Score against the number of parameters, one point per trial that was trained to its end: the rows of Table I, and what the search proposed. The line is the front: no trial lies below and to the left of it. Lower is better."}, "image": {"alt": "The front falls from 115 nats at 68,000 parameters to 91 at 650,000 and consists of linear VAEs up to there; of the KAN-VAEs only the largest, ten times as big, lies on it."}}
complete = trials[trials["state"] == "complete"]
rows = complete["row"].notna()
kan = complete["layer"] == "kan"
groups = {
    "Table I, KAN": complete[rows & kan],
    "Table I, VAE": complete[rows & ~kan],
    "proposed, KAN": complete[~rows & kan],
    "proposed, linear": complete[~rows & ~kan],
}
front = complete[complete["front"]].sort_values("parameters")
figures.front(
    {name: part[["parameters", "score"]] for name, part in groups.items()},
    front[["parameters", "score"]],
    "NLL, nats per image",
)

# %% [markdown]
# A row of Table I that lies above the line of {numref}`fig-front` is beaten by a model that is smaller and better at once. The front in numbers:

# %% mystnb={"table": {"name": "tab-front", "caption": "The front of the search, by rising number of parameters; the score is the NLL of test images in nats."}}
shown = ["architecture", "parameters", "score", "row"]
renamed = front[shown].rename(columns={"row": "row of Table I"})
tables.table(renamed.reset_index(drop=True), {"score": ".1f"})

# %% [markdown]
# ## What giving up saved
#
# The curves of all trials show what {eq}`eq-hopeless` does. Those that end early need not lie at the bottom: each was compared only with models that are no larger.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-search-curves", "caption": "Test ELBO after each epoch of all trials: trained to the end, and given up."}, "image": {"alt": "Trials that were given up end after two epochs or a few more, most of them below those that go on; the others rise to the end."}}
pruned = set(trials.loc[trials["state"] == "pruned", "trial"])
bundle = {"trained to the end": [], "given up": []}
for trial, curve in curves.groupby("trial")[curves.columns[-1]]:
    name = "given up" if trial in pruned else "trained to the end"
    bundle[name].append(curve.to_numpy())
epochs = range(1, settings["epochs"] + 1)
figures.bundles(epochs, bundle, "epoch", "test ELBO, nats per image")

# %% tags=["hide-input"]
spent, whole = trials["epochs"].sum(), settings["epochs"] * len(trials)
best = complete.loc[complete["score"].idxmin()]
beaten = complete[rows & ~complete["front"]]
kinds = front["layer"].value_counts()
proposed = trials[trials["row"].isna()]
own = proposed[proposed["layer"] == "kan"]
others = proposed[proposed["layer"] == "linear"]
Markdown(f"""
- Of {len(trials)} trials ({settings["epochs"]} epochs, seed
{settings["seed"]}), {len(front)} are on the front:
{kinds.get("linear", 0)} linear, {kinds.get("kan", 0)} with KAN layers.
- Of the {int(rows.sum())} rows of Table I, {len(beaten)} are beaten in
score and size at once by another trial.
- `{best["architecture"]}` has the best score: {best["score"]:.1f} nats
with {best["parameters"]:,} parameters; `vae-400-20` has
{complete.set_index("architecture")["score"]["vae-400-20"]:.1f}.
- Of the {len(own)} proposals with KAN layers,
{int((own["state"] == "pruned").sum())} were given up; of the
{len(others)} linear ones {int((others["state"] == "pruned").sum())}.
Giving up early left {1 - spent / whole:.0%} of the epochs untrained.
""")

# %% tags=["remove-cell"]
assert kinds.to_dict() == {"linear": 14, "kan": 1}
assert best["architecture"] == "kan-400-20"
vae = complete.set_index("architecture").loc["vae-400-20"]
assert 0.4 < vae["score"] - best["score"] < 0.6
assert best["parameters"] > 9.9 * vae["parameters"]
assert (len(own), len(proposed)) == (4, 38)
assert (own["state"] == "pruned").all()

# %% [markdown]
# {numref}`fig-search-curves` shows the price too: a trial that was given up might have caught up. The margin $\delta$ sets how sure we want to be.
#
# ## What we saw
#
# - On the front of this search, KAN layers appear once, in the paper's largest model. With four KAN-VAEs among its 38 proposals the search has hardly explored them.
# - The sampler proposes what did well, so it soon proposes few KAN-VAEs, and {eq}`eq-hopeless` gives up those that a smaller model leads. The search says what leads after so few epochs on 10,000 images; it does not say that no grid could do better with more.
# - The search resumes after any stop: Optuna's journal holds the trials, run folders hold the trainings.
#
# ## Exercises
#
# **1.** Search for the Fréchet distance: `kanvae search --score frechet --output runs/search-frechet`. Do the same models win?
#
# <details><summary>Solution</summary>
#
# Compare the two fronts. [What we found](12_what_we_found.ipynb) shows that likelihood and distance rank the nine rows differently, so expect another front.
#
# </details>
#
# **2.** Take an architecture of the front and train it with five seeds and 30 epochs. Is its score still ahead of its neighbours'?
#
# <details><summary>Solution</summary>
#
# Train it as the [chapter on training](04_training.ipynb) does, with `seed` from 0 to 4, and score each run with `kanvae evaluate`. The order of close neighbours often changes, which is what selection by one seed on one test set means.
#
# </details>
#
# ## References
#
# {cite:t}`akiba2019` for Optuna, {cite:t}`bergstra2011` for its sampler, {cite:t}`nik2024`, section VIII, for the question.

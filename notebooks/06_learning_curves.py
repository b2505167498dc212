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
# # Learning curves
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/06_learning_curves.ipynb)
#
# **The question.** How do reconstruction and KL develop during training, and on how many images did the paper train?
#
# **The answer.** On 10,000, as the length of its curves shows. On the images that it was trained on, KAN-VAE* ends lowest, as in the paper. On test images it passes its best after about ten epochs and then falls behind the VAE: it learns its
# training set by heart.
#
# **You need** the two terms of the [loss](03_vae_elbo.ipynb). **On this page** we redraw the paper's Figure 6 for its three featured models, in both regimes, count its weight updates, and look
# at what the test set says. Half a minute on two cores: the page reads the curves of finished runs.

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
from kanvae.studies import paper, results

# %% tags=["parameters"]
seed = 0
smooth = 100

# %% [markdown]
# ## How many images?
#
# The paper names MNIST, 30 epochs and batches of 32, and says nothing of taking a part of MNIST. But the horizontal axis of its Figure 6 counts weight updates, and ends where the arithmetic
# below can be held against it. One epoch over $N$ images in batches of $B$ takes $\lceil N / B \rceil$ updates.

# %%
end, precision = paper.FIGURE_6_UPDATES["VAE"]
print(f"read off the paper's VAE: {end:,} ± {precision} updates")
for name, count in results.REGIMES.items():
    updates = paper.EPOCHS * -(-count // 32)
    agrees = abs(updates - end) <= precision
    print(
        f"{name:8s} {count:6,} images: {updates:6,} updates in "
        f"{paper.EPOCHS} "
        f"epochs, {'agrees' if agrees else 'does not agree'}"
    )

# %% [markdown]
# ```{admonition} Finding
# :class: important
# The curves of Figure 6 belong to a training on 10,000 images, a sixth of MNIST. The text does not say so. It matters, because a model with millions of parameters can
# learn 10,000 images by heart, and a training curve cannot tell. We call this regime `figure6`, the one with all images `full`, and name the regime with every number.
# ```
#
# ## Three models, every update
#
# The three models are the ones that the paper features: the VAE, KAN-VAE* with the same widths, and KAN-VAE** with 35 hidden nodes and 15 latents. The prediction from the paper's figure: KAN-VAE*
# reconstructs best, KAN-VAE** worst, and all three find their KL early.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-curves", "caption": "Regime figure6, 10,000 images. Reconstruction and KL at every weight update (faint), their running means (lines), and the test set after each epoch (dots and squares). Dotted: where the paper's curves end."}, "image": {"alt": "All three models end near the paper's values on the training images. On test images the reconstruction of the VAE and of KAN-VAE** stays a little above; that of KAN-VAE* turns and rises again, to about twice its training value."}}
curves = {
    name: results.history(architecture, "figure6", seed)
    for name, architecture in paper.FEATURED.items()
}
figures.learning_curves(curves, paper.FIGURE_6_ENDS, smooth)

# %% [markdown]
# {numref}`fig-curves` is the paper's Figure 6, with two additions. The dotted lines are where the paper's own curves end; ours end near them. The dots are what the paper does not show, the same terms on images that were not
# trained on. Where dots and line part, the model is learning the training images by heart.
#
# ```{admonition} Departure from the paper
# :class: note
# The paper does not state the patience of its learning-rate scheduler nor the threshold of its binarisation. We use PyTorch's default of 10 epochs, with which the rate never falls, and a threshold of one half, which [its Figure 8 shows](10_paper_figures.ipynb); the same chapter says which others its Figure 6 allows. Its figure shows one run; so does ours, seed 0, and the table below has the others.
# ```
#
# The same models on all 60,000 images take six times as many updates in as many epochs:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-curves-full", "caption": "Regime full, 60,000 images: the same curves, beside the same end values of the paper (dotted). A panel says so where this copy has no such run."}, "image": {"alt": "On 60,000 images the test reconstruction of all three models stays close to that of the training images to the end."}}
runs_there = set(results.table()["name"])
full = {
    name: results.history(architecture, "full", seed)
    if results.name(architecture, "full", seed) in runs_there
    else None
    for name, architecture in paper.FEATURED.items()
}
figures.learning_curves(full, paper.FIGURE_6_ENDS, smooth)

# %% [markdown]
# In {numref}`fig-curves-full` the dots stay near the lines: with six times the images there is much less to learn by heart. The dotted lines are where the paper's curves end after a sixth as many updates; they are not an aim here, but a scale.
#
# ## Training set and test set
#
# For the table both sets are scored by the final weights, mean ± standard deviation over training seeds, in nats per image.

# %% mystnb={"table": {"name": "tab-terms", "caption": "The terms of the loss at the end of training, on training and test images, mean \u00b1 standard deviation over training seeds, in nats per image."}}
lines = results.table()
titles = {
    "reconstruction": "reconstruction",
    "kl": "KL",
    "elbo": "ELBO",
}
found = {}
for regime in results.REGIMES:
    for name, architecture in paper.FEATURED.items():
        own = lines["model"] == str(architecture)
        chosen = lines[own & (lines["regime"] == regime)]
        for part in ("train", "test"):
            found[regime, name, part] = {
                title: results.spread(chosen[f"{part}_{term}"])
                for term, title in titles.items()
            } | {"seeds": len(chosen)}
frame = pd.DataFrame(found).T
tables.table(frame.rename_axis(["regime", "model", "images"]))

# %% tags=["hide-input"]
short = (
    lines[lines["regime"] == "figure6"]
    .groupby("model")
    .mean(numeric_only=True)
)
short = short.loc[[str(a) for a in paper.FEATURED.values()]]
short.index = list(paper.FEATURED)
order = short["train_reconstruction"].sort_values().index
ends = paper.FIGURE_6_ENDS
paper_order = sorted(ends, key=lambda name: ends[name][0])
best = short["test_elbo"].idxmax()
gap = short["test_elbo"] - short["train_elbo"]
lost = ", ".join(f"{-gap[name]:.1f} ({name})" for name in gap.index)
Markdown(f"""
- Trained on 10,000 images, the models rank by training reconstruction
{", ".join(order)}; in the paper's figure they rank
{", ".join(paper_order)}.
- The best test ELBO has {best} ({short.loc[best, "test_elbo"]:.1f} nats
per image); KAN-VAE* has {short.loc["KAN-VAE*", "test_elbo"]:.1f}.
- From the training images to the test images the ELBO falls by {lost}
nats.
""")

# %% [markdown]
# One curve shows it best: the ELBO of the test set after each epoch, in both regimes. A model that only got better would rise to the end.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-test-elbo", "caption": "ELBO of the test set after each epoch, mean over training seeds; solid trained on 10,000 images, dashed on 60,000."}, "image": {"alt": "Trained on 10,000 images, KAN-VAE* peaks within the first ten epochs and then falls below the VAE; trained on 60,000 it stays beside the VAE at the top."}}
epochs = results.epochs().set_index("name")
epochs["ELBO"] = -(epochs["test_reconstruction"] + epochs["test_kl"])
drawn, dashed = {}, []
for regime in results.REGIMES:
    for name, architecture in paper.FEATURED.items():
        prefix = f"{architecture}-{regime}-seed"
        own = epochs[epochs.index.str.startswith(prefix)]
        if len(own):
            title = f"{name}, {regime}"
            drawn[title] = own.groupby("epoch")["ELBO"].mean().to_numpy()
            dashed += [title] if regime == "full" else []
figures.lines(
    range(1, paper.EPOCHS + 1),
    drawn,
    "epoch",
    "test ELBO, nats per image",
    dashed=dashed,
)

# %% tags=["remove-cell"]
wide, plain = drawn["KAN-VAE*, figure6"], drawn["VAE, figure6"]
assert 6 <= 1 + int(wide.argmax()) <= 12
assert wide[-1] < wide.max() - 5
assert wide[-1] < plain[-1]

# %% [markdown]
# In {numref}`fig-test-elbo` the two regimes differ most for the widest model. Trained on 10,000 images its curve peaks early and falls; what its training curve in {numref}`fig-curves` gains after that is memory, not understanding.
#
# ## What we saw
#
# - The paper's Figure 6 ends at the number of updates that 10,000 images give, not 60,000.
# - Trained so, our curves end near the paper's, in the same order: KAN-VAE* reconstructs the *training* images best.
# - On the test images it does not: its ELBO there rises for some ten epochs and then falls for the rest of the training. Reconstruction on training images says little about a model that may have learned them by heart.
#
# ## Exercises
#
# **1.** At which epoch would you have stopped each model, had you watched the test set? What would that be worth in nats?
#
# <details><summary>Solution</summary>
#
# `{name: (curve.argmax() + 1, curve.max() - curve[-1]) for name, curve in drawn.items()}` gives epoch and gain. (One should watch a validation set, not the test set: else the test set is no longer unseen.)
#
# </details>
#
# **2.** Why does the KL start at zero and not high?
#
# <details><summary>Solution</summary>
#
# With small initial weights, mean and log-variance are near zero for every image, so $q(z|x)$ nearly equals the prior. The first thing to learn, the average image, needs no latent.
#
# </details>
#
# **3.** How many updates would `full` take per epoch with batches of 128, and what would you change with it?
#
# <details><summary>Solution</summary>
#
# $\lceil 60000 / 128 \rceil = 469$. Fewer, less noisy updates usually want a larger learning rate; with Adam the square root of the ratio of batch sizes, here 2, is a common first guess.
#
# </details>
#
# ## References
#
# {cite:t}`nik2024`, section VI-B and Figure 6.

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
# **You need** the two terms of the [loss](03_vae_elbo.ipynb). **On this page** we redraw the paper's Figure 6 for its three featured models, count its weight updates, and look
# at what the test set says. About two minutes on two cores if [Table I](05_table1.ipynb) was not built before; not measured on a GPU.

# %% tags=["remove-cell"]
import importlib.util

from IPython import get_ipython

if (
    importlib.util.find_spec("kanvae") is None
):  # in Colab: install the book's module
    get_ipython().run_line_magic(
        "pip",
        'install -q "kanvae @ git+https://github.com/kan-vae-book/kan-vae-book"',
    )

# %% [markdown]
# The imports, and the parameters that you may change.

# %%
import pandas as pd
from IPython.display import Markdown

from kanvae import data, figures, paper
from kanvae.training import TrainingConfig, train

# %% tags=["parameters"]
regime = "figure6"
epochs = 3
batch_size = 32
seed = 0
device = "auto"

# %% [markdown]
# ## How many images?
#
# The paper names MNIST, 30 epochs and batches of 32, and says nothing of taking a part of MNIST. But the horizontal axis of its Figure 6 counts weight updates, and ends where the arithmetic
# below can be held against it. One epoch over $N$ images in batches of $B$ takes $\lceil N / B \rceil$ updates.

# %%
end, precision = paper.FIGURE_6_UPDATES
print(f"read off the paper's figure: {end:,} ± {precision} updates")
for name, count in data.REGIMES.items():
    updates = paper.EPOCHS * -(-count // 32)
    print(
        f"{name:8s} {count:6,} images: {updates:6,} updates in {paper.EPOCHS} epochs, {'agrees' if abs(updates - end) <= precision else 'does not agree'}"
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

# %% tags=["remove-stderr"]
trained = {}
for name, architecture in paper.FEATURED.items():
    trained[name] = train(
        TrainingConfig(
            architecture,
            regime=regime,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            device=device,
        )
    )

# %% tags=["hide-input"]
last = next(iter(trained.values()))
Markdown(
    f"**This page:** regime `{regime}`, {epochs} of the paper's {paper.EPOCHS} epochs ({len(last.history):,} updates), seed {seed}, {last.provenance['device']}."
)

# %% mystnb={"figure": {"name": "fig-curves", "caption": "Reconstruction and KL at every weight update (faint), their running means (lines), and the test set after each epoch (dots). Dashed: where the paper's curves end after 30 epochs."}, "image": {"alt": "Three panels in which reconstruction falls and KL rises; dots for the test set lie above the reconstruction curve."}}
figures.learning_curves(
    {name: run.history for name, run in trained.items()}, paper.FIGURE_6_ENDS
)

# %% [markdown]
# In {numref}`fig-curves` the shape of the paper's Figure 6 is there: reconstruction falls steeply and flattens, KL rises and settles. The dashed lines are not to be reached on
# this page while it trains for fewer epochs than the paper. The dots are what the paper does not show, the same terms on images that were not trained on.
#
# ## Training set and test set

# %%
rows = {}
for name, run in trained.items():
    last_epoch = run.history["epoch"] == run.history["epoch"].max()
    seen, tested = run.history[last_epoch], run.epochs[-1]
    rows[name] = {
        ("reconstruction", "train"): seen["reconstruction"].mean(),
        ("reconstruction", "test"): tested["test_reconstruction"],
        ("KL", "train"): seen["kl"].mean(),
        ("KL", "test"): tested["test_kl"],
    }
table = pd.DataFrame(rows).T
for part in ("train", "test"):
    table["ELBO", part] = -(table["reconstruction", part] + table["KL", part])
table.round(1)

# %% tags=["found", "hide-input"]
gap = table["ELBO", "train"] - table["ELBO", "test"]
order = table["reconstruction", "train"].sort_values().index
paper_order = sorted(
    paper.FIGURE_6_ENDS, key=lambda name: paper.FIGURE_6_ENDS[name][0]
)
best = table["ELBO", "test"].idxmax()
Markdown(f"""
- By training reconstruction the models rank {", ".join(order)}; in the paper's figure they rank {", ".join(paper_order)}.
- The best test ELBO has {best} ({table.loc[best, ("ELBO", "test")]:.1f} nats per image).
- From the last epoch's training mean to the test set the ELBO changes by {", ".join(f"{-gap[name]:+.1f} ({name})" for name in gap.index)} nats.
""")

# %% [markdown]
# The training means are taken while the model improves within the epoch, the test values after it. So early in training the test set can look better than
# the training set; over-fitting shows as a gap that opens the other way and grows with the epochs.
#
# ## What we saw
#
# - The paper's Figure 6 ends at the number of updates that 10,000 images give, not 60,000.
# - The curves have the shape that the paper shows; which model leads is in the sentences above.
# - Reconstruction on training images says little about a model that may have learned them by heart. The test ELBO belongs beside it.
#
# ## Exercises
#
# **1.** Set `epochs = 30` and build the page again (ten times as long, most of it KAN-VAE*). What happens to the dots of KAN-VAE*?
#
# <details><summary>Solution</summary>
#
# Its training reconstruction falls below the VAE's, as in the paper, while the dots turn and rise: the ELBO of the test set gets worse, because the extra parameters go into remembering
# 10,000 images.
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

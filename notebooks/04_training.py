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
# # Training
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/04_training.ipynb)
#
# **The question.** What happens during training, what can you set, and what is left if the machine fails halfway?
#
# **The answer.** A training run is determined by its configuration, every part of which you can set: on one CPU, with the same number of threads and the same version of PyTorch, the same configuration gives the same weights, bit for bit. A run that was killed resumes from its last complete epoch and ends at those
# same weights.
#
# **You need** the [loss](03_vae_elbo.ipynb). **On this page** a model trains in front of you; we read its curve, look into its run folder,
# kill a run and resume it to the same weights, bit for bit. We have not timed this chapter on a GPU.
#
# Every value in the cell of parameters below can be set from outside. So this chapter can also be run once for each combination of several values, which is called a [sweep](18_sweeps.ipynb). This command sweeps it over two models and the seeds 0, 1 and 2:
#
#     kanvae sweep notebooks/04_training.ipynb \
#         -p architecture kan-20-10,kan-35-15 -p seed 0:3

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
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

from kanvae import Architecture, data, figures, objective, runs
from kanvae.figures import tables
from kanvae.models import count_parameters
from kanvae.studies import chapters
from kanvae.training import TrainingConfig, fit, load_model, train
from kanvae.training.updates import random_stream

# %% tags=["parameters"]
architecture = "kan-35-15"
dataset = "MNIST"
regime = "paper"
epochs = 3
batch_size = 32
learning_rate = 0.002
seed = 0
device = "auto"
demonstrate = True

# %% [markdown]
# ## What determines a run
#
# A `TrainingConfig` holds everything that determines a run. It checks its values when it is made: a wrong one raises an error that says what is allowed.
# The **regime** says which of MNIST's 60,000 training images are used. `paper` takes the first 1,000 of each digit. The paper does not say so, but [its figures](10_paper_figures.ipynb) leave only this choice or one image more of each digit, if the VAE ran for the 30 epochs of its text. `full` takes the first 50,000 images. The last 10,000 of the 60,000 are for validation. `device="auto"` takes a GPU if there is one.

# %%
config = TrainingConfig(
    architecture,
    dataset,
    regime,
    epochs=epochs,
    batch_size=batch_size,
    learning_rate=learning_rate,
    seed=seed,
    device=device,
)

# %% tags=["hide-input"] mystnb={"table": {"name": "tab-settings", "caption": "The settings of this training, as its folder keeps them."}}
settings = config.to_dict() | {"device": config.device}
tables.table(
    pd.Series(settings, name="value").rename_axis("setting").to_frame()
)

# %% [markdown]
# ```{admonition} What the paper leaves open
# :class: warning
# The paper states Adam at learning rate 0.002, batches of 32, 30 epochs, and `ReduceLROnPlateau` with factor 0.5. This scheduler halves the rate when a loss has not improved for some time, its *patience*.
#
# The paper does not state the threshold of binarisation (we take 0.5), the scheduler's patience, which loss the scheduler watches, or its seeds. This chapter keeps PyTorch's default patience of 10 epochs and watches the mean training loss of an epoch; with these the rate does not fall. In the chapters on results the rate is halved after 600 updates without a better batch, which comes [nearest to the paper's curves](10_paper_figures.ipynb). [Another chapter](13_how_many_functions.ipynb) tries other schedules. This book states the seeds of every run.
#
# {numref}`tab-settings` has further settings, at values that leave the paper's method unchanged; the [reference](../book/api/training.md) explains each.
# ```
#
# An epoch takes the images in random order, batch by batch. A **step** computes the two terms of the loss on one batch and lets Adam move the weights. This is all of it, without the bookkeeping:


# %%
def epoch_by_hand(model, x, generator):
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    order = torch.randperm(len(x), generator=generator)
    for rows in order.split(batch_size):
        reconstruction, kl = objective.terms(model, x[rows], generator)
        optimizer.zero_grad()
        (reconstruction + kl).backward()
        optimizer.step()


few = data.binarize(data.load(dataset, regime=regime).pixels[:320])
ours, fitted = (
    Architecture.parse(architecture).build(seed) for _ in range(2)
)
epoch_by_hand(ours, few, random_stream(seed, 0))
fit(
    fitted,
    few,
    epochs=1,
    batch_size=batch_size,
    learning_rate=learning_rate,
    seed=seed,
    progress=False,
)
pairs = zip(ours.parameters(), fitted.parameters(), strict=True)
for a, b in pairs:
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
print("by hand and by the module: the same weights, to rounding")

# %% [markdown]
# The module adds what the next sections show: several epochs, a schedule, validation, and files.
#
# ## A live run
#
# `train` reads a run that is already on disk. So that the training really happens now, we give it a new temporary folder. (A sweep keeps its runs: it names a folder in `KANVAE_RUNS`.) The progress bar counts weight updates; after each epoch the ELBO of the validation images is measured.

# %% mystnb={"table": {"name": "tab-live", "caption": "The live run after each epoch: the learning rate, the means of both terms over the epoch's batches, and both on the validation images."}}
folder = Path(os.environ.get("KANVAE_RUNS") or tempfile.mkdtemp())
run = train(config, folder / "live")
history = pd.DataFrame(run.epochs).astype({"epoch": int, "update": int})
batches = pd.DataFrame(run.history).groupby("epoch")
for term in ("reconstruction", "kl"):
    history[term] = batches[term].mean().to_numpy()
terms = (
    "reconstruction",
    "kl",
    "validation reconstruction",
    "validation kl",
    "seconds",
)
tables.table(history.set_index("epoch"), dict.fromkeys(terms, ".1f"))

# %% [markdown]
# The lines of {numref}`tab-live` are kept in the folder of the run, as `history.csv`. What a sweep of this chapter collects into its table is recorded here: the scores after the last epoch, and one curve.

# %%
chapters.record(
    parameters=count_parameters(load_model(run)),
    validation_elbo=run.elbo[-1],
    validation_reconstruction=run.epochs["validation_reconstruction"][-1],
    validation_kl=run.epochs["validation_kl"][-1],
    training_seconds=run.provenance["seconds"],
    validation_elbo_by_epoch=run.elbo,
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-live", "caption": "The live run: both terms of the loss at every weight update (faint), their running means, and their values on the validation images after each epoch."}, "image": {"alt": "Reconstruction falls from above 300 to about 130 nats, steeply at first; the KL has an early peak, falls, and rises slowly to about 12 nats."}}
figures.learning_curves({architecture: run.history})

# %% [markdown]
# The axis of {numref}`fig-live` ends at 300 nats; the reconstruction starts above it. The KL has a peak in the first updates and falls to a few nats. A likely reason is that the decoder first learns the average image, for which it needs no latents. Then the KL rises slowly, and the reconstruction falls by more: what the latents now tell about the digit costs less than it saves.
#
# ## The run folder
#
# Training hands over a folder, and everything after it reads that folder. It is written under a temporary name and renamed when complete, so a folder with its final name is complete. `config.json` holds the settings and where the run was made, `history.csv` a line for each weight update, `weights.safetensors` the weights after the last epoch, and `best.safetensors` those of the epoch with the best validation ELBO. These are standard formats, which can be read without our module.

# %%
for path in sorted(run.path.iterdir()):
    print(f"{path.name:20s} {path.stat().st_size / 1000:9.1f} kB")
where = run.provenance
print(f"trained on {where['device']}: {where['processor']},")
print(f"    {where['threads']} threads, torch {where['torch']}")
print(f"    in {where['seconds']:.1f} s")

# %% [markdown]
# ## Killed and resumed
#
# After each epoch the trainer writes a checkpoint: weights, Adam's moments, the scheduler, the history. Every epoch draws its random numbers
# from a stream that follows from the seed and the epoch's number alone, so nothing else needs to be kept. We start the same training as a separate process, kill it (SIGKILL:
# it cannot clean up) as soon as its first checkpoint is there, and start it again. We predict the same weights bit for bit, not merely similar ones. (With `demonstrate = False`, for a sweep that needs only the scores, nothing is killed, and the cells below read the live run again.)

# %%
options = {name: str(value) for name, value in settings.items()}
target = folder / ("killed" if demonstrate else "live")
command = [sys.executable, "-m", "kanvae", "train", str(target)]
command += [
    word
    for name, value in options.items()
    for word in (f"--{name}", value)
]
checkpoint = runs.partial(target) / "checkpoint.pt"
if demonstrate:
    with subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
done = (
    torch.load(checkpoint, weights_only=True)["epoch"]
    if checkpoint.exists()
    else epochs
)
print(
    f"killed after epoch {done} of {epochs}; finished: {target.exists()}"
)

# %%
resumed = train(config, target)
same = all(
    torch.equal(run.weights[name], resumed.weights[name])
    for name in run.weights
)
print(f"starts: {len(resumed.provenance['starts'])}")
print(f"the same weights, bit for bit: {same}")
assert same or config.device != "cpu"

# %% [markdown]
# On a GPU the sums of a matrix product may be ordered differently from run to run, so there the weights can differ in their last digits; on the CPU the
# assertion above holds.
#
# ## What comes out
#
# The model is read back from the folder. Its reconstructions of the first test images, at the mean of $q(z|x)$:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-first-reconstructions", "caption": "Test images, thresholded, and their reconstructions by the live run."}, "image": {"alt": "Sixteen test digits and their reconstructions, which show mostly the same digits with softer strokes."}}
model = load_model(run)
x = data.binarize(data.load(dataset, "test").pixels[:16])
figures.image_rows({"input": x, "reconstruction": model.reconstruct(x)})

# %% [markdown]
# {numref}`fig-first-reconstructions` shows what a few epochs on 10,000 images give: most digits are recognisable, with soft strokes. The
# paper trains ten times as long.
#
# ## What we saw
#
# - A configuration determines a run; on one CPU, with the same threads and PyTorch, it gives the same weights.
# - The KL falls to a few nats early, probably while the decoder learns the average image; then it rises slowly, and the reconstruction falls further. After three epochs neither has settled.
# - A kill costs at most the epoch that was running.
#
# ## Exercises
#
# **1.** Train `vae-400-20` here, by changing one parameter. Which of the two terms differs most?
#
# <details><summary>Solution</summary>
#
# The reconstruction, by tens of nats. After 30 epochs it still does: see both models in the [chapter on learning curves](06_learning_curves.ipynb).
#
# </details>
#
# **2.** Give `scheduler_patience=0` to the configuration. Does the learning rate fall in a run as short as this?
#
# <details><summary>Solution</summary>
#
# No. The scheduler watches the epoch's mean training loss, and a plateau is an epoch that does not improve it by a relative $10^{-4}$. In the first epochs each one improves it
# by far more, as the history shows. At the constant rate of 0.002, no plateau came in 30 epochs either ([measured](10_paper_figures.ipynb)); once the rate has become small, plateaus do come.
#
# </details>
#
# **3.** Give `binarization="stochastic"` to the configuration. What changes in the training curve, and why?
#
# <details><summary>Solution</summary>
#
# Every batch sees its pixels drawn anew with their brightness as probability, as in {cite:t}`burda2015`. Grey pixels on the strokes' edges become noise that no
# model can predict, so the reconstruction term stays higher; in exchange the model never sees the same image twice and over-fits less.
#
# </details>
#
# ## References
#
# Settings: {cite:t}`nik2024`, section V-C. Adam: {cite:t}`kingma2015`.

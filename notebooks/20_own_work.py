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
# # Use it in your own work
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/20_own_work.ipynb)
#
# **The question.** You have your own images, your own model or your own notebook. Which parts of this book's package can you take, and how?
#
# **The answer.** Each part alone. Ten lines train a VAE on any tensor of images. A KAN layer goes wherever `nn.Linear` goes, and `fit` trains any module with three outputs. Weights that were
# trained with efficient-kan load under their own names. A notebook with a tagged cell and a call of `record` can be swept over a cluster, and a trained decoder leaves as an ONNX file.
#
# **You need** PyTorch; the chapter on [training](04_training.ipynb) says what a training records. **On this page** we do each of these once, on the 1,797 grey 8 × 8 digits that come with scikit-learn, so that you can copy the cell that you need. We have not measured this on a GPU.

# %% tags=["remove-cell"]
import importlib.util

from IPython import get_ipython

if (
    importlib.util.find_spec("kanvae") is None
):  # in Colab: install the book's module
    get_ipython().run_line_magic(
        "pip",
        'install -q tensorboard "kanvae[export,studies] @ '
        'git+https://github.com/kan-vae-book/kan-vae-book"',
    )

# %% [markdown]
# The imports, and the parameters that you may change.

# %%
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import onnxruntime
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.interpolate import BSpline
from sklearn.datasets import load_digits
from tensorboard.backend.event_processing import event_accumulator
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from kanvae import VAE, Architecture, KANLinear, figures
from kanvae.evaluation import evaluate_model
from kanvae.export import export
from kanvae.figures import tables
from kanvae.studies import sweep
from kanvae.training import TrainingConfig, fit, load_model, train

folder = Path(tempfile.mkdtemp())  # for all that this page writes

# %% tags=["parameters"]
architecture = "shared-64-8"
epochs = 15
learning_rate = 0.003
seed = 0

# %% [markdown]
# ## Your own images, in ten lines
#
# Images are a tensor, one row an image. Grey levels from 0 to 16, divided by 16, are data for the likelihood `binomial-16`; bytes, divided by 255, for `binomial-255`; bits for `bernoulli`, which is the default; any real numbers for `gaussian`. A likelihood refuses images that it cannot judge. The validation
# images choose the epoch, the test images are looked at once.

# %%
images = torch.from_numpy(load_digits().data).float() / 16  # (1797, 64)
training, validation, test = images.split([1200, 300, 297])

key = f"{architecture}+input_features=64"
model = Architecture.parse(key).build(seed, "binomial-16")
settings = {"epochs": epochs, "learning_rate": learning_rate}
fitted = fit(model, training, validation, seed=seed, **settings)
model.load_state_dict(fitted.best_weights)
scores = evaluate_model(model, test)
print(f"best epoch {fitted.best_epoch} of {epochs};")
print(f"test ELBO {scores['test_elbo']:.1f} nats per image")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-own-images", "caption": "Test images of scikit-learn's digits, their reconstructions at the mean of $q(z|x)$, and samples from the prior."}, "image": {"alt": "Three rows of sixteen coarse digits: the second row repeats those of the first with softer edges, the third shows new ones, of which some are no digit."}}
generator = torch.Generator().manual_seed(seed)
rows = {
    "test images": test[:16],
    "reconstructions": model.reconstruct(test[:16]),
    "samples": model.sample_prior(16, generator),
}
figures.image_rows(rows)

# %% [markdown]
# In {numref}`fig-own-images` the reconstructions are the digits again, a little softer; of the samples some are no digit. `fit` takes any number of pixels; the architecture's key says how many there are: `kanvae explain shared-64-8+input_features=64` prints its layers. (At the size of the paper's VAE the book [recommends](13_how_many_functions.ipynb) `shared-374-20+groups=4`; `results.recommended()` in `kanvae.studies` finds one trained on MNIST.) For longer training runs give a `folder=`: a checkpoint is then written after every epoch, and the same call resumes from it.
#
# From a file, the same images have a name, which the command line and sweeps take too. `levels` says which number is white, and binarisation must be off for grey levels to stay grey. Without `test_pixels` the last sixth of the file is the test set, and the last sixth of what is left is for validation; the regime `full` trains on all the rest. (`paper` would need labels.)

# %%
file = folder / "digits.npz"
np.savez(file, pixels=load_digits().data.astype("uint8"), levels=16)
config = TrainingConfig(
    key,
    str(file),
    regime="full",
    likelihood="binomial-16",
    binarization="none",
    epochs=2,
    learning_rate=learning_rate,
)
run = train(config, folder / "run", progress=False)
print(f"validation ELBO {run.elbo[-1]:.1f} nats, epoch {run.best_epoch}")

# %% [markdown]
# ## A KAN layer in your own module
#
# `KANLinear(in_features, out_features)` stands wherever `nn.Linear` could. Its grid covers −1 to 1 unless you say otherwise; latents reach further, so we say so. `fit` calls `forward(x, generator)`, which returns the parameters of $p(x|z)$, and the mean and log-variance of $q(z|x)$; the attribute `likelihood` says what these parameters mean, and without it they are Bernoulli logits. With `encode` and `decode` as well,
# every score can be computed. Here a convolution looks at the image first:


# %%
class OwnVAE(nn.Module):
    likelihood = "binomial-16"

    def __init__(self, latent_dim=8):
        super().__init__()
        self.look = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.heads = KANLinear(8 * 4 * 4, 2 * latent_dim)
        self.paint = nn.Sequential(
            KANLinear(latent_dim, 24, grid_range=(-3, 3)),
            KANLinear(24, 64),
        )

    def encode(self, x):
        seen = self.look(x.view(-1, 1, 8, 8)).flatten(1)  # (B, 128)
        return self.heads(seen).chunk(2, dim=-1)  # (B, L) each

    def decode(self, z):
        return self.paint(z)  # (B, 64) logits

    def forward(self, x, generator=None):
        mean, log_var = self.encode(x)
        z = VAE.reparameterize(mean, log_var, generator)
        return self.decode(z), mean, log_var


# %% [markdown]
# ## Watch a training
#
# `fit` and `train` call one function after every epoch. It receives the epoch's numbers and the model, and may do anything with them: write a log, draw a picture, or raise an error to stop. TensorBoard's writer needs three lines:

# %%
torch.manual_seed(seed)
own = OwnVAE()
with SummaryWriter(folder / "board") as writer:

    def log(epoch):
        elbo = epoch.validation_elbo
        writer.add_scalar("validation ELBO", elbo, epoch.number)
        writer.add_scalar("KL", epoch.kl, epoch.number)

    fitted_own = fit(
        own, training, validation, seed=seed, after_epoch=log, **settings
    )
own.load_state_dict(fitted_own.best_weights)
own_scores = evaluate_model(own, test)

# %% [markdown]
# `tensorboard --logdir` shows what stands in that folder. We read it back; it is what the history says:

# %%
board = event_accumulator.EventAccumulator(str(folder / "board")).Reload()
logged = [event.value for event in board.Scalars("validation ELBO")]
history = fitted_own.history
ends = history[np.isfinite(history["validation_kl"])]
elbos = -(ends["validation_reconstruction"] + ends["validation_kl"])
assert np.allclose(logged, elbos, rtol=1e-6)
print(f"{len(logged)} epochs logged, the last at {logged[-1]:.1f} nats")

# %% [markdown]
# With MLflow it is the same function. (MLflow is not part of this book's environment, so this block alone is shown and not executed.)
#
# ```python
# import mlflow
#
# def log(epoch):
#     values = {"validation_elbo": epoch.validation_elbo, "kl": epoch.kl}
#     mlflow.log_metrics(values, step=epoch.number)
#
# with mlflow.start_run():
#     mlflow.log_params(settings)
#     fit(own, training, validation, after_epoch=log, **settings)
# ```
#
# Both models on the test images:

# %% mystnb={"table": {"name": "tab-own-models", "caption": "Two VAEs on scikit-learn's digits, one training each: parameters, and test scores in nats per image (the ELBO, and the importance-weighted estimate of \u2212log p(x) with 100 samples)."}}
lines = pd.DataFrame(
    {"shared functions": scores, "convolution and KAN": own_scores}
).T[["parameters", "test_elbo", "test_nll"]]
tables.table(
    lines.rename_axis("model"),
    {"parameters": ",.0f", "test elbo": ".1f", "test nll": ".1f"},
)

# %% [markdown]
# {numref}`tab-own-models` is one training each, and no comparison: for that, train several seeds, as the section on sweeping your own notebook does.
#
# ## Weights trained with efficient-kan
#
# Our layer has efficient-kan's names, shapes and formula. We make two layers of such weights, as a file that efficient-kan saves would hold them, and compute what they mean without our package: base function plus splines, one basis function after the other, by SciPy.


# %%
def own_weights(inputs, outputs, grid_size=5, order=3):
    count = grid_size + order
    knots = torch.arange(-order, count + 1) * (2 / grid_size) - 1
    return {
        "base_weight": torch.randn(outputs, inputs) / inputs**0.5,
        "spline_weight": torch.randn(outputs, inputs, count) / inputs,
        "spline_scaler": torch.rand(outputs, inputs),
        "grid": knots.expand(inputs, -1).contiguous(),
    }


def by_scipy(x, state):
    state = {name: weight.double() for name, weight in state.items()}
    y = F.silu(x) @ state["base_weight"].T
    for i, t in enumerate(state["grid"].numpy()):
        parts = [t[j : j + 5] for j in range(len(t) - 4)]  # of degree 3
        bases = [
            BSpline.basis_element(part, extrapolate=False)(x[:, i])
            for part in parts
        ]
        bases = torch.from_numpy(np.nan_to_num(bases))  # (G + k, N)
        scaler = state["spline_scaler"][:, i, None]
        y = y + (state["spline_weight"][:, i] * scaler @ bases).T
    return y


torch.manual_seed(seed)
layers = [own_weights(64, 16), own_weights(16, 10)]

# %% [markdown]
# Loading them takes no more than a name that fits. In efficient-kan, the layers of its `KAN` are called `layers.0`, `layers.1`, and so on; here they are those of an `nn.Sequential`.

# %%
saved = {
    f"layers.{i}.{name}": weight
    for i, state in enumerate(layers)
    for name, weight in state.items()
}
torch.save(saved, folder / "efficient_kan.pt")

found = torch.load(folder / "efficient_kan.pt")
network = nn.Sequential(KANLinear(64, 16), KANLinear(16, 10))
network.load_state_dict(
    {name.removeprefix("layers."): w for name, w in found.items()}
)

x = test.double() * 2 - 1
expected = by_scipy(by_scipy(x, layers[0]), layers[1])
difference = (network.double()(x) - expected).abs().max().item()
print(f"largest difference: {difference:.0e}")
assert difference < 1e-12

# %% [markdown]
# A model that efficient-kan made with `enable_standalone_scale_spline=False` has no `spline_scaler`: give our layer the same option.
#
# ## Sweep your own notebook
#
# A notebook can be swept when one cell has the tag `parameters` and a call of `record` says what came out. In Jupyter the tag is set in the cell's properties; here we write the notebook from Python.

# %%
parameters = """
hidden = 16
seed = 0
"""
body = """
import torch
from sklearn.datasets import load_digits

from kanvae import Architecture
from kanvae.studies import chapters
from kanvae.training import fit

images = torch.from_numpy(load_digits().data).float() / 16
key = f"shared-{hidden}-4+input_features=64"
model = Architecture.parse(key).build(seed, "binomial-16")
elbos = []
fit(
    model, images[:1200], images[1200:1500], epochs=3, seed=seed,
    after_epoch=lambda epoch: elbos.append(epoch.validation_elbo),
)
chapters.record(validation_elbo=elbos[-1], curve=elbos)
"""

# %%
new = nbformat.v4.new_code_cell
cells = [
    new(parameters.strip(), metadata={"tags": ["parameters"]}),
    new(body.strip()),
]
kernel = {"name": "python3", "display_name": "Python 3"}
kernel["language"] = "python"
own_notebook = nbformat.v4.new_notebook(
    cells=cells, metadata={"kernelspec": kernel}
)
nbformat.write(own_notebook, folder / "own.ipynb")

# %% [markdown]
# Then a grid, a folder for the results, and as many workers as there are cores. From a terminal it is `kanvae sweep own.ipynb -p hidden 16,64 -p seed 0:2`. The chapter on [sweeps](18_sweeps.ipynb) says how to use a cluster, and what happens when something breaks.

# %% mystnb={"table": {"name": "tab-own-sweep", "caption": "The sweep of our own notebook: one line per point, with what it recorded, in nats per image."}}
grid = {"hidden": [16, 64], "seed": [0, 1]}
points = sweep.sweep(folder / "own.ipynb", grid, folder / "sweep")
shown = points[["hidden", "seed", "status", "validation_elbo"]]
tables.table(shown, {"validation elbo": ".1f"})

# %% [markdown]
# {numref}`tab-own-sweep` also stands in the folder, as CSV and Parquet, beside `index.html` with its plots.
#
# ## Take the model elsewhere
#
# `kanvae export RUN` writes the encoder and the decoder of a run as ONNX files, beside its weights; from Python it is `export(run)`. ONNX Runtime computes them without PyTorch and without this package, for any number of images at a time. The decoder gives the numbers of $p(x|z)$ and its mean, the pixels:

# %%
files = export(run)
print(", ".join(file.name for file in files))

session = onnxruntime.InferenceSession(run.path / "decoder.onnx")
z = torch.randn(100, model.latent_dim, generator=generator)
_, pixels = session.run(None, {"z": z.numpy()})
with torch.no_grad():
    expected = load_model(run).decode(z).sigmoid().numpy()
difference = np.abs(pixels - expected).max()
print(f"{pixels.shape}, largest difference {difference:.0e}")
assert difference < 1e-5

# %% [markdown]
# ## What we saw
#
# - `fit` trains what you give it: any images that a likelihood can judge, any module with three outputs.
# - A KAN layer is a module like any other, and has efficient-kan's names.
# - One function after every epoch is all that a tracker needs.
# - A cell tagged `parameters` and a call of `record` make a notebook fit for a sweep.
#
# ## Exercises
#
# **1.** Give `fit` the pixels as they are in `load_digits().data`, from 0 to 16. What happens?
#
# <details><summary>Solution</summary>
#
# A `ValueError` names the first brightness that is not among 0, 1/16, ..., 1, and says what to do: divide by the white level. Nothing has been trained.
#
# </details>
#
# **2.** Stop the training of `OwnVAE` when the validation ELBO has not risen for three epochs.
#
# <details><summary>Solution</summary>
#
# `epoch.best_epoch` is the best so far: let `log` raise an exception of your own when `epoch.number - epoch.best_epoch >= 3`, and catch it around `fit`. The model then holds the weights of the epoch at which it stopped; with `folder=` the checkpoint holds the best ones too.
#
# </details>
#
# **3.** Replace both `KANLinear` layers of `paint` by `SharedKANLinear`. How many parameters does that save?
#
# <details><summary>Solution</summary>
#
# Nearly nine tenths of the decoder: a layer whose functions are shared keeps one weight an edge and $G + k + 1$ numbers an input, where `KANLinear` keeps ten numbers an edge.
#
# </details>
#
# ## References
#
# The layer's formula and names: {cite:t}`liu2024` and {cite:t}`cao2024`. Bernoulli and Gaussian likelihoods: {cite:t}`kingma2013`, appendix C.

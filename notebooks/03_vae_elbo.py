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
# # The variational auto-encoder and its bound
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/03_vae_elbo.ipynb)
#
# **The question.** What does a variational auto-encoder maximise, and why can it be trained by gradient descent
# although it draws random numbers on the way?
#
# **The answer.** It maximises a lower bound on the log-likelihood of its data: the expected log-probability of an image under the decoder,
# minus the Kullback–Leibler (KL) divergence of the encoder's distribution of latents from a fixed prior. The random numbers come from a fixed distribution and are then shifted and
# scaled as the encoder says; gradients pass through shift and scale.
#
# **You need** densities, expectations and the normal distribution, and to have heard of [KAN layers](02_kan_layers.ipynb).
# **On this page** we derive the loss, write each of its parts in a line or two, prove them equal to the module's, check
# the closed form of the KL divergence by Monte Carlo, and draw the paper's Figure 1.
# We have not timed this chapter on a GPU.

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
import torch
import torch.nn.functional as F

from kanvae import Architecture, data, figures, objective
from kanvae.figures import diagrams
from kanvae.training import TrainingConfig, load_model, train

# %% tags=["parameters"]
architecture = "vae-400-20"
epochs = 2
test_images = 200
seed = 0

# %% [markdown]
# ## A model with latents
#
# Let $x$ be an image with $D = 784$ pixels, each 0 or 1. Ours are the handwritten digits of MNIST. They are grey, so `data.binarize` below sets a pixel to 1 if its brightness is above one half. A latent-variable model describes how images are generated, in two steps. First draw a vector $z$ of $L$ numbers, the **latents**, from the **prior** $p(z) = \mathcal N(0, 1)$, a standard normal in each of them. Then set each pixel to 1 with a probability that a network, the **decoder**, computes from $z$. The decoder's outputs are **logits** $a_d(z)$, which may be any real numbers; the sigmoid $\sigma(a) = 1 / (1 + e^{-a})$ turns them into probabilities. So
#
# $$
# \begin{aligned}
# p(x|z) &= \prod_{d=1}^{D} \sigma(a_d)^{x_d} \, (1 - \sigma(a_d))^{1 - x_d}, \\
# p(x) &= \int p(x|z)\, p(z)\, dz .
# \end{aligned}
# $$ (eq-model)
#
# We want to make $\log p(x)$ large on the training images. The integral in {eq}`eq-model` has no closed form, and
# sampling $z$ from the prior is hopeless: almost no $z$ explains a given image.
#
# ## The bound
#
# So a second network, the **encoder**, proposes where to look: a normal distribution $q(z|x)$ with mean
# $\mu(x)$ and **log-variance** $s(x)$ in each of the $L$ latents. For any such $q$, Jensen's inequality gives
#
# $$
# \begin{aligned}
# \log p(x) &= \log \mathbb E_{q(z|x)} \frac{p(x|z)\, p(z)}{q(z|x)} \\
# &\ge \underbrace{\mathbb E_{q(z|x)} \log p(x|z)}_{-\,\text{reconstruction}}
# \;-\; \underbrace{\mathrm{KL}\big(q(z|x) \,\|\, p(z)\big)}_{\text{KL}} ,
# \end{aligned}
# $$ (eq-elbo)
#
# the **evidence lower bound**, ELBO {cite}`kingma2013`, the paper's equation (1). Training maximises it over both networks;
# the loss is its negative, reconstruction plus KL, in **nats per image** (natural logarithms, summed over the pixels,
# averaged over the images). The gap between the two sides of {eq}`eq-elbo` is $\mathrm{KL}(q(z|x) \| p(z|x))$: the bound is tight where the
# encoder finds the **posterior** $p(z|x)$, the distribution of the latents that could have made the image.
#
# {numref}`fig-vae` shows the parts, with the widths of the chosen model, by default the paper's VAE. Encoder and decoder each have one hidden layer; mean and
# log-variance share the encoder's. In the `vae` models the layers are linear with a ReLU after the hidden ones; in the `kan`
# models all five are KAN layers with nothing in between (paper, section V-A).

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-vae", "caption": "The variational auto-encoder: the paper's Figure 1, with the widths of the chosen architecture."}, "image": {"alt": "Pixels go through a hidden layer to a mean and a log-variance; these and noise give the latent, which goes through a hidden layer to the logits."}}
key = Architecture.parse(architecture)
diagrams.vae_schematic(
    key.input_features, key.hidden_features, key.latent_dim
)

# %% [markdown]
# ## Gradients through a sample
#
# The reconstruction term is an expectation over $z$, estimated with one sample per image. A sample has no gradient until it is
# written as a function of the parameters and of noise that does not depend on them, the **reparameterisation**:
#
# $$
# z = \mu + \epsilon \odot e^{s/2}, \qquad \epsilon \sim \mathcal N(0, 1) .
# $$ (eq-reparameterisation)
#
# ```{admonition} A name in the paper
# :class: note
# The paper writes equation {eq}`eq-reparameterisation` with $\exp(0.5 \cdot \log\sigma)$ and calls $\log\sigma$ the log standard deviation. The factor 0.5
# turns a log-*variance* into a standard deviation, so the network's output is the log-variance. We call it $s$, and `log_var`
# in code.
# ```


# %%
def reparameterize(mean, log_var, generator):
    noise = torch.randn(mean.shape, generator=generator)
    return mean + noise * torch.exp(log_var / 2)


model = key.build(seed).requires_grad_(False)  # nothing is trained yet
pixels = data.load("MNIST", "test").pixels[:test_images]
x = data.binarize(pixels)  # (N, 784)
mean, log_var = model.encode(x)  # two (N, L)
z = reparameterize(mean, log_var, torch.Generator().manual_seed(seed))
assert torch.equal(
    z,
    model.reparameterize(
        mean, log_var, torch.Generator().manual_seed(seed)
    ),
)
print(
    f"{len(x)} images → mean {tuple(mean.shape)}, "
    f"log-variance {tuple(log_var.shape)} → "
    f"logits {tuple(model.decode(z).shape)}"
)

# %% [markdown]
# ## The KL divergence in closed form
#
# Both distributions are normal, so the KL term of {eq}`eq-elbo` needs no sampling. A latent with mean $\mu$ and log-variance $s$
# contributes
#
# $$
# \mathrm{KL} = \tfrac12 \left( \mu^2 + e^s - s - 1 \right),
# $$ (eq-kl)
#
# zero exactly when $\mu = 0$ and $s = 0$, that is when $q$ equals the prior. To check the formula without repeating it, we estimate
# $\mathbb E_q [\log q(z) - \log p(z)]$ by Monte Carlo, with densities from `torch.distributions`. The two must agree within a few
# standard errors of the estimate.

# %%
torch.manual_seed(seed)
mu, s = torch.randn(2, 1, 20, dtype=torch.float64)  # of 20 latents
q = torch.distributions.Normal(mu, (s / 2).exp())
p = torch.distributions.Normal(0.0, 1.0)
samples = q.sample((100_000,)).squeeze(1)  # (100000, 20)
log_ratio = (q.log_prob(samples) - p.log_prob(samples)).sum(dim=1)
estimate = float(log_ratio.mean())
error = float(log_ratio.std()) / len(log_ratio) ** 0.5
closed_form = float(0.5 * (mu.square() + s.exp() - s - 1).sum())

assert abs(closed_form - float(objective.kl(mu, s))) < 1e-9
assert abs(estimate - closed_form) < 5 * error
print(
    f"closed form {closed_form:.3f}, "
    f"Monte Carlo {estimate:.3f} ± {error:.3f} nats"
)

# %% [markdown]
# ## The reconstruction term
#
# The logarithm of $p(x|z)$ in {eq}`eq-model` is the negative binary cross-entropy between pixels and probabilities. Since
# $1 - \sigma(a) = \sigma(-a)$, one pixel contributes
#
# $$
# -x \log \sigma(a) - (1 - x) \log \sigma(-a) = \log(1 + e^{a}) - x a .
# $$ (eq-bce)
#
# PyTorch's `softplus` computes $\log(1 + e^a)$ without overflow, while a probability that has rounded to 0 or 1 has no finite logarithm. We sum over pixels: an average over pixels would shrink this term by a factor of 784
# against the KL, and the model would be a different one.


# %%
def reconstruction(logits, x):
    pixels = F.softplus(logits) - x * logits  # log(1 + e^a) - x a
    return pixels.sum(dim=1).mean()


logits = model.decode(z)
torch.testing.assert_close(
    reconstruction(logits, x), objective.reconstruction(logits, x)
)
terms = objective.terms(model, x, torch.Generator().manual_seed(seed))
torch.testing.assert_close(
    terms.loss,
    objective.reconstruction(logits, x) + objective.kl(mean, log_var),
)
print(
    f"untrained: reconstruction {float(terms.reconstruction):.1f}, "
    f"KL {float(terms.kl):.2f} nats per image"
)
print(f"every pixel a fair coin: {784 * torch.tensor(2.0).log():.1f}")

# %% [markdown]
# The untrained model does about as well as fair coins, which is what weights that know nothing should do.
#
# ## A tighter bound, to compare models with
#
# The ELBO mixes two things: how well the model explains images, and how well its encoder approximates the posterior. To compare
# models we use the importance-weighted bound {cite}`burda2015` with $S$ samples,
#
# $$
# \log p(x) \ge \mathbb E \log \frac1S \sum_{j=1}^{S} \frac{p(x|z_j)\, p(z_j)}{q(z_j|x)}, \quad z_j \sim q(z|x),
# $$ (eq-importance)
#
# which is the ELBO at $S = 1$ and approaches $\log p(x)$ as $S$ grows. Its negative is the **NLL** of the later tables, an
# upper estimate of the negative log-likelihood. We train briefly (if a run with the same settings is already on disk, `train` reads it; the [next chapter](04_training.ipynb) explains training) and watch
# the bound rise with $S$. We predict a steep start and a flat end.

# %% tags=["remove-stderr"]
run = train(TrainingConfig(architecture, epochs=epochs, seed=seed))
model = load_model(run)

# %%
counts = [1, 2, 5, 10, 20, 50, 100, 200, 500]
bounds = []
for count in counts:
    values = objective.importance_weighted_bound(
        model, x, count, torch.Generator().manual_seed(seed)
    )
    bounds.append(float(values.mean()))
seen = data.REGIMES[run.config["regime"]]
print(f"mean over {len(x)} test images,")
print(f"after {run.config['epochs']} epochs on {seen:,} images:")
for count in (1, 10, 100, 500):
    print(f"S = {count:3d}: {bounds[counts.index(count)]:.1f} nats")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-bound", "caption": "The importance-weighted bound on the log-likelihood of test images, against the number of samples."}, "image": {"alt": "The bound rises by several nats over the first ten samples, and ever more slowly after that; on this logarithmic axis it is still rising at 500."}}
figures.lines(
    counts, {"": bounds}, "samples $S$", "bound, nats per image", log="x"
)

# %% [markdown]
# The start is steep, as predicted, but the end is not flat yet: on the logarithmic axis of {numref}`fig-bound` the bound still rises at 500 samples, and every further nat takes several times as many samples. So the log-likelihood lies further above the ELBO than the figure shows. The book's tables use 500
# samples for every model alike. With more the bound would rise further, by an amount that may differ between models.
#
# After these few epochs the model gives most digits back, softened. Here are the first test images and the decoder's output at the mean of $q(z|x)$:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-first-digits", "caption": "The first 16 test images, thresholded, and the pixel probabilities that the briefly trained model gives back for them."}, "image": {"alt": "Sixteen digits in the upper row come back in the lower row as soft versions of themselves; a few have changed into other digits."}}
figures.image_rows(
    {"test images": x[:16], "given back": model.reconstruct(x[:16])}
)

# %% [markdown]
# In {numref}`fig-first-digits` grey means doubt: the decoder gives a probability for each pixel, and near the edges of a stroke it is unsure. A few digits come back as another digit.
#
# ## What we saw
#
# - The loss is a bound: reconstruction (binary cross-entropy, summed over pixels) plus KL (closed form), in nats per image.
# - Reparameterisation moves the randomness into an input, so that gradients pass.
# - What the paper calls $\log\sigma$ is the log-variance.
# - The importance-weighted bound is nearer to the likelihood and fairer to compare models by.
#
# ## Exercises
#
# **1.** A reconstruction that is averaged over the pixels, not summed, amounts to a KL that weighs 784 times as much. Train `TrainingConfig(architecture, epochs=epochs, seed=seed, beta=784)` as above, and draw `model.sample_prior(16)` with `figures.image_rows`. What do the samples look like?
#
# <details><summary>Solution</summary>
#
# The cheapest solution is KL = 0: the encoder ignores the image, and
# every sample is the average image. This is the strongest form of posterior collapse.
#
# </details>
#
# **2.** Derive equation {eq}`eq-kl` from the densities.
#
# <details><summary>Solution</summary>
#
# $\log q(z) - \log p(z) = -\tfrac12 s - \tfrac12 (z - \mu)^2 e^{-s} + \tfrac12 z^2$. Under $q$, $\mathbb E (z - \mu)^2 = e^s$ and
# $\mathbb E z^2 = \mu^2 + e^s$. So the expectation is $\tfrac12 (-s - 1 + \mu^2 + e^s)$.
#
# </details>
#
# **3.** Does a single estimate of {eq}`eq-importance` always grow with $S$, for each image and each draw of the $z_j$?
#
# <details><summary>Solution</summary>
#
# No: it grows in expectation {cite}`burda2015`. A single estimate with few samples may happen to lie above one with many; the mean over
# images hides it.
#
# </details>
#
# ## References
#
# {cite:t}`kingma2013` for the model and equation {eq}`eq-kl` (their appendix B), {cite:t}`doersch2016` for a tutorial, {cite:t}`burda2015` for
# the tighter bound.

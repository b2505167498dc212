"""The evidence lower bound, its two terms, and the tighter importance-weighted bound.

All values are in nats per image. A model is any module whose `forward(x, generator)` gives the
parameters of p(x|z), and the mean and log-variance of q(z|x); the bound also needs its `encode` and
`decode`. What its decoder's numbers mean is its `likelihood` (`kanvae.likelihoods`): Bernoulli
pixels, unless it has an attribute of that name or another likelihood is given.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanvae import likelihoods
from kanvae.likelihoods import BERNOULLI, Likelihood
from kanvae.models import VAE, Encoder


class Terms(NamedTuple):
    """The two terms of the loss, each a scalar in nats per image."""

    reconstruction: Tensor
    kl: Tensor

    @property
    def loss(self) -> Tensor:
        """The negative ELBO, a scalar: what training minimises."""
        return self.reconstruction + self.kl


def reconstruction(parameters: Tensor, x: Tensor, likelihood: Likelihood = BERNOULLI) -> Tensor:
    """-log p(x|z): summed over pixels, averaged over the batch.

    Args:
        parameters: (B, P) of p(x|z): for Bernoulli pixels, logits of the probability that one is 1.
        x: (B, D) pixels that the likelihood can judge. Further dimensions are flattened.

    Returns:
        A scalar.

    Raises:
        ValueError: P is not what the likelihood needs for D pixels.
    """
    parameters, x = parameters.flatten(1), x.flatten(1)
    if likelihood == BERNOULLI and parameters.shape == x.shape:  # in one pass over memory
        x = x.to(parameters.dtype)
        return F.binary_cross_entropy_with_logits(parameters, x, reduction="sum") / len(x)
    if parameters.shape[1] != (needed := likelihood.outputs(x.shape[1])):
        raise ValueError(
            f"the decoder gives {parameters.shape[1]} numbers an image: for {x.shape[1]} pixels "
            f"{likelihood} needs {needed}."
        )
    return -likelihood.log_prob(parameters, x).sum() / len(x)


def kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, 1)) in closed form: summed over latents, averaged over the batch.

    (Kingma and Welling 2013, appendix B.)

    Args:
        mean, log_var: (B, L).

    Returns:
        A scalar.
    """
    return 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum() / len(mean)


def terms(
    model: nn.Module,
    x: Tensor,
    generator: torch.Generator | None = None,
    likelihood: Likelihood | str | None = None,
) -> Terms:
    """Both terms of the loss on a batch (B, D), with one latent sample an image.

    Raises:
        ValueError: the model's forward gives no three tensors, or the likelihood cannot judge x.
    """
    given = model(x, generator)
    if not (isinstance(given, (tuple, list)) and len(given) == 3):
        raise ValueError(
            f"the forward of {type(model).__name__} gives a {type(given).__name__}: the loss takes "
            "three tensors, the likelihood's parameters, mean and log-variance."
        )
    parameters, mean, log_var = given
    found = likelihoods.of(model, likelihood)
    return Terms(reconstruction(parameters, x, found), kl(mean, log_var))


@torch.no_grad()
def importance_weighted_bound(
    model: nn.Module,
    x: Tensor,
    samples: int,
    generator: torch.Generator | None = None,
    rows: int = 256,
    likelihood: Likelihood | str | None = None,
) -> Tensor:
    """A lower bound on log p(x) that tightens as `samples` grows (Burda et al. 2015, equation 8).

    log (1/S) sum_s p(x, z_s) / q(z_s|x), with z_s ~ q(z|x). With one sample its mean is the ELBO.

    Args:
        model: with `encode(x)`, which gives mean and log-variance (B, L) of q(z|x), and
            `decode(z)`, which gives the parameters of p(x|z).
        x: (B, D) images that the likelihood can judge; for Bernoulli pixels 0 and 1, or bool.
        samples: S, 1 or more.
        rows: how many latents are decoded at a time. Bounds the memory, changes the estimate only
            through the noise that is drawn. With a few hundred, all stays in a processor's cache.

    Returns:
        (B,) in nats.

    Raises:
        ValueError: `samples` or `rows` below 1, a model without `encode` or `decode`, or images
            that the likelihood cannot judge.
    """
    for name, value in (("samples", samples), ("rows", rows)):
        if value < 1:
            raise ValueError(f"{name} is {value}: it must be 1 or more.")
    check_parts(model)
    found = likelihoods.of(model, likelihood)
    found.check(x)
    parts = [_bound(model, part, samples, generator, rows, found) for part in x.split(rows)]
    return torch.cat(parts)


def as_input(model: nn.Module, x: Tensor) -> Tensor:
    """Images (N, ...) in the type that a model takes: floats in that of its weights.

    Pixels of dtype bool stay what they are for an `Encoder`, since KAN layers have a shorter way
    for them; other modules get 0.0 and 1.0.
    """
    if x.dtype == torch.bool and isinstance(getattr(model, "encoder", None), Encoder):
        return x
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    return x.float() if weight is None else x.to(weight.dtype)


def check_parts(model: nn.Module) -> None:
    """Raise a ValueError if the model cannot encode or decode on its own."""
    for name in ("encode", "decode"):
        if not callable(getattr(model, name, None)):
            raise ValueError(
                f"{type(model).__name__} has no `{name}`: likelihoods and samples need encode(x), "
                "which gives mean and log-variance, and decode(z)."
            )


def _bound(model, x: Tensor, samples: int, generator, rows: int, likelihood: Likelihood) -> Tensor:
    mean, log_var = model.encode(as_input(model, x))  # (B, L)
    x = x.flatten(1).to(mean.dtype)
    total = x.new_full((len(x),), -torch.inf)  # log of the sum of weights so far
    at_once = max(1, rows // max(1, len(x)))
    for start in range(0, samples, at_once):
        several = (min(at_once, samples - start), *mean.shape)  # (S, B, L)
        z = VAE.reparameterize(mean.expand(several), log_var.expand(several), generator)
        parameters = model.decode(z.flatten(0, 1)).reshape(*several[:2], -1)  # (S, B, P)
        log_likelihood = likelihood.log_prob(parameters, x)  # (S, B)
        # log p(z) - log q(z|x): the normalising constants of the two Gaussians cancel
        log_ratio = 0.5 * (log_var + (z - mean).square() / log_var.exp() - z.square()).sum(-1)
        total = torch.logaddexp(total, (log_likelihood + log_ratio).logsumexp(0))
    return total - math.log(samples)

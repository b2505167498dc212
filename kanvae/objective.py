"""The evidence lower bound, its two terms, and the tighter importance-weighted bound.

All values are in nats per image.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from kanvae.models import VAE


class Terms(NamedTuple):
    """The two terms of the loss, each a scalar in nats per image."""

    reconstruction: Tensor
    kl: Tensor

    @property
    def loss(self) -> Tensor:
        """The negative ELBO: what training minimises."""
        return self.reconstruction + self.kl


def reconstruction(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z) for Bernoulli pixels: summed over pixels, averaged over the batch.

    Args:
        logits: (B, D) of the probability that a pixel is 1.
        x: (B, D) pixels in [0, 1], or bool.

    Returns:
        A scalar.
    """
    x = x.to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


def kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, 1)) in closed form: summed over latents, averaged over the batch.

    (Kingma and Welling 2013, appendix B.)

    Args:
        mean, log_var: (B, L).

    Returns:
        A scalar.
    """
    return 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum() / len(mean)


def terms(model: VAE, x: Tensor, generator: torch.Generator | None = None) -> Terms:
    """Both terms of the loss on a batch (B, D), with one latent sample an image."""
    logits, mean, log_var = model(x, generator)
    return Terms(reconstruction(logits, x), kl(mean, log_var))


@torch.no_grad()
def importance_weighted_bound(
    model: VAE,
    x: Tensor,
    samples: int,
    generator: torch.Generator | None = None,
    rows: int = 256,
) -> Tensor:
    """A lower bound on log p(x) that tightens as `samples` grows (Burda et al. 2015, equation 8).

    log (1/S) sum_s p(x, z_s) / q(z_s|x), with z_s ~ q(z|x). With one sample its mean is the ELBO.

    Args:
        x: (B, D) pixels in {0, 1}, or bool.
        samples: S, 1 or more.
        rows: how many latents are decoded at a time. Bounds the memory, changes the estimate only
            through the noise that is drawn. With a few hundred, all stays in a processor's cache.

    Returns:
        (B,) in nats.

    Raises:
        ValueError: `samples` or `rows` below 1.
    """
    for name, value in (("samples", samples), ("rows", rows)):
        if value < 1:
            raise ValueError(f"{name} is {value}: it must be 1 or more.")
    return torch.cat([_bound(model, part, samples, generator, rows) for part in x.split(rows)])


def _bound(model: VAE, x: Tensor, samples: int, generator, rows: int) -> Tensor:
    mean, log_var = model.encode(x)  # (B, L)
    x = x.to(mean.dtype)
    total = x.new_full((len(x),), -torch.inf)  # log of the sum of weights so far
    at_once = max(1, rows // max(1, len(x)))
    for start in range(0, samples, at_once):
        several = (min(at_once, samples - start), *mean.shape)  # (S, B, L)
        z = model.reparameterize(mean.expand(several), log_var.expand(several), generator)
        logits = model.decode(z)  # (S, B, D)
        # log p(x|z) of each image, as `reconstruction` has it. log(1 + e) takes a quarter of
        # torch's log1p's time, and rounds no worse than the sum over pixels does.
        softplus = logits.abs().neg_().exp_().add_(1).log_().add_(logits.clamp(min=0))
        log_likelihood = torch.linalg.vecdot(logits, x.expand_as(logits)) - softplus.sum(-1)
        # log p(z) - log q(z|x): the normalising constants of the two Gaussians cancel
        log_ratio = 0.5 * (log_var + (z - mean).square() / log_var.exp() - z.square()).sum(-1)
        total = torch.logaddexp(total, (log_likelihood + log_ratio).logsumexp(0))
    return total - math.log(samples)

"""Variational auto-encoders: an encoder and a decoder, each a stack of layers of any kind."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kanvae import likelihoods
from kanvae.layers import FunctionLayer
from kanvae.likelihoods import Likelihood


class Encoder(nn.Module):
    """x -> hidden units -> mean and log-variance of q(z|x).

    Args:
        hidden: the layers up to the hidden units, by name.
        mean: the layer that gives the means; without `log_var`, the means and the log-variances,
            as halves of its outputs.
        log_var: the layer that gives the log-variances.
    """

    def __init__(
        self, hidden: Mapping[str, nn.Module], mean: nn.Module, log_var: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.hidden = nn.Sequential(OrderedDict(hidden))
        self.mean = mean
        self.log_var = log_var

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D) -> mean and log-variance, (..., L) each. x of dtype bool stands for 0 and 1."""
        first = next(iter(self.hidden), None)
        if x.dtype is torch.bool and not isinstance(first, FunctionLayer):
            x = x.to(next(self.parameters()).dtype)  # many of ours have a shorter way for bits
        hidden = self.hidden(x)  # (..., H)
        if self.log_var is None:
            mean, log_var = self.mean(hidden).chunk(2, dim=-1)
            return mean, log_var
        return self.mean(hidden), self.log_var(hidden)


class Decoder(nn.Sequential):
    """z (..., L) -> hidden units -> the parameters of p(x|z) (..., P): a stack of layers."""


class VAE(nn.Module):
    """A variational auto-encoder (Kingma and Welling 2013) with a Gaussian q(z|x).

    Args:
        encoder: x -> mean and log-variance of q(z|x), (..., L) each.
        decoder: z (..., L) -> the parameters of p(x|z) (..., P): for Bernoulli pixels their logits.
        latent_dim: L; by default what the heads of an `Encoder` give.
        likelihood: p(x|z), or its name (`kanvae.likelihoods`).

    Raises:
        ValueError: no latent_dim, and an encoder whose heads do not tell it, or give an odd number.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_dim: int | None = None,
        likelihood: Likelihood | str = likelihoods.BERNOULLI,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_dim = _latent_dim(encoder) if latent_dim is None else latent_dim
        self.likelihood = likelihoods.of(None, likelihood)

    def forward(
        self, x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One pass with one sample: (..., D) -> parameters (..., P), mean, log_var (..., L)."""
        mean, log_var = self.encode(x)
        return self.decode(self.reparameterize(mean, log_var, generator)), mean, log_var

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x): pixels (..., D) in [0, 1] -> two tensors (..., L).

        Pixels of dtype bool take the short way through a KAN layer; the values are the same.
        """
        return self.encoder(x)

    @staticmethod
    def reparameterize(
        mean: Tensor, log_var: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """z = mean + eps * exp(log_var / 2), eps ~ N(0, 1) (paper, section V-A).

        What the paper calls log sigma is the log-variance, as its factor 0.5 shows.
        """
        return mean + normal(mean.shape, mean, generator) * torch.exp(0.5 * log_var)

    def decode(self, z: Tensor) -> Tensor:
        """The parameters of p(x|z), such as logits of pixels: latents (..., L) -> (..., P)."""
        return self.decoder(z)

    @torch.no_grad()
    def sample_prior(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Mean images (count, D) of latents drawn from the prior N(0, 1): pixel probabilities."""
        like = next(self.parameters())
        z = normal((count, self.latent_dim), like, generator)
        return self.likelihood.mean(self.decode(z))

    @torch.no_grad()
    def sample_posterior(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Mean images (..., D) of latents drawn from q(z|x), one for each image."""
        return self.likelihood.mean(self(x, generator)[0])

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Mean images (..., D) at the mean of q(z|x)."""
        return self.likelihood.mean(self.decode(self.encode(x)[0]))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        _rename(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _latent_dim(encoder: nn.Module) -> int:
    """How many latents an encoder's layer for the means, or for both halves, gives."""
    width = getattr(getattr(encoder, "mean", None), "out_features", None)
    if not isinstance(width, int):
        raise ValueError(
            f"latent_dim is not given, and {type(encoder).__name__} has no layer `mean` with "
            "`out_features` that tells it: give latent_dim."
        )
    if getattr(encoder, "log_var", None) is not None:
        return width
    if width % 2:
        raise ValueError(
            f"the encoder's layer `mean` gives {width} numbers: without a layer `log_var` they are "
            "means and log-variances, as many of each. Give it an even number of outputs."
        )
    return width // 2


def _rename(state: dict[str, Any], prefix: str) -> None:
    """Give the weights of a run of version 0.1 the names that they have now."""
    new = {
        "encoder_hidden": "encoder.hidden.first", "encoder_mean": "encoder.mean",
        "encoder_log_var": "encoder.log_var", "decoder_hidden": "decoder.latents",
        "decoder_logits": "decoder.pixels",
    }  # fmt: skip
    for name in list(state):
        word, _, rest = name.removeprefix(prefix).partition(".")
        if word in new:
            state[f"{prefix}{new[word]}.{rest}"] = state.pop(name)
        elif word in ("encoder_deeper", "decoder_deeper"):
            number, _, rest = rest.partition(".")
            side = "encoder.hidden" if word.startswith("encoder") else "decoder"
            state[f"{prefix}{side}.hidden{int(number) + 1}.{rest}"] = state.pop(name)


def normal(shape: Collection[int], like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise (...) with the dtype and device of `like`.

    It is drawn where the generator lives, so that one generator gives one noise to every device.
    """
    device = like.device if generator is None else generator.device
    noise = torch.randn(tuple(shape), generator=generator, device=device, dtype=like.dtype)
    return noise.to(like.device)


def count_parameters(model: nn.Module) -> int:
    """How many trainable numbers the model holds."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)

"""A convolutional auto-encoder of images of 28 x 28 pixels, and its twins with learnable functions.

    x -> convolution -> convolution -> (mean, log_var)
    z -> layer -> transposed convolution -> transposed convolution -> logits

The convolutions have kernels of 4 x 4 and strides of 2: images are 28, 14 and 7 pixels wide.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kanvae import likelihoods
from kanvae.layers.convolution import FunctionConv2d, FunctionConvTranspose2d
from kanvae.layers.kinds import KINDS, Layer, check
from kanvae.likelihoods import Likelihood
from kanvae.models import VAE, Decoder, Encoder

SIDE = 7  # of the images between convolutions and latents
# Kinds of convolutions and of dense layers -> channels of models of one size, 258,025 to 1 %.
TWINS = {
    ("linear", "linear"): (32, 64), ("kan", "linear"): (16, 31), ("kan", "kan"): (8, 8),
    ("shared", "shared"): (29, 58),
}  # fmt: skip
Build = Callable[..., nn.Module]


def convolutional_vae(
    kind: str = "linear",
    channels: tuple[int, int] = (32, 64),
    latent_dim: int = 20,
    dense: str | None = None,
    seed: int = 0,
    likelihood: Likelihood | str = likelihoods.BERNOULLI,
    activation: Callable[[], nn.Module] = nn.ReLU,
    **options: Any,
) -> VAE:
    """A convolutional VAE, with initial weights that `seed` alone determines.

    Args:
        kind: of the layers, "linear", "kan" or any other of `kanvae.layers.kinds`. Where functions
            are shared, the first is linear.
        channels: of the images of 14 x 14 and of 7 x 7 pixels.
        latent_dim: L.
        dense: the kind of the layers to and from the latents, if it is another.
        seed: of the initial weights.
        likelihood: p(x|z), or its name.
        activation: makes what stands before each linear layer that sees hidden units.
        **options: of the layers that have them, as in keys of architectures: `grid_size`, `groups`.

    Returns:
        A model of images (..., 784), for `training.fit` and `evaluation.evaluate_model`.

    Raises:
        ValueError: an unknown kind, or an option that it does not have or allow.
    """
    dense = kind if dense is None else dense
    for name, value in (("kind", kind), ("dense", dense)):
        check("kind", value, name)
    for name, value in options.items():
        allowed = [*KINDS[kind].options, *KINDS[dense].options]
        if name not in allowed:
            raise ValueError(
                f"{name} is set, but these layers have no such option: theirs are {allowed}."
            )
        check(name, value, name)
    outer, inner = _layer(kind, "first", options), _layer(kind, "", options)
    heads, latents = _layer(dense, "", options), _layer(dense, "latents", options)
    likelihood = likelihoods.of(None, likelihood)
    one, two = channels

    def unit(layer: Layer) -> nn.Module:
        return activation() if layer.kind == "linear" else nn.Identity()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        down = _convolution(FunctionConv2d, nn.Conv2d, outer)
        further = _convolution(FunctionConv2d, nn.Conv2d, inner)
        up = _convolution(FunctionConvTranspose2d, nn.ConvTranspose2d, inner)
        hidden = OrderedDict(
            image=nn.Unflatten(-1, (1, 4 * SIDE, 4 * SIDE)),
            first=down(1, one),
            activation=unit(inner),
            second=further(one, two),
            flat=nn.Flatten(-3),
            activation_heads=unit(heads),
        )
        head = functools.partial(heads.build, two * SIDE**2)
        if KINDS[heads.kind].shares:
            encoder = Encoder(hidden, head(2 * latent_dim, parts=2))
        else:
            encoder = Encoder(hidden, head(latent_dim), head(latent_dim))
        decoder = OrderedDict(
            latents=latents.build(latent_dim, two * SIDE**2),
            image=nn.Unflatten(-1, (two, SIDE, SIDE)),
            activation=unit(inner),
            second=up(two, one),
            activation_pixels=unit(inner),
            pixels=up(one, likelihood.outputs(1)),
            flat=nn.Flatten(-3),
        )
    return VAE(encoder, Decoder(decoder), latent_dim, likelihood)


def _layer(kind: str, place: str, options: dict[str, Any]) -> Layer:
    """The layer at a place, "first", "latents", or another."""
    kind = "linear" if place in KINDS[kind].linear else kind
    found = KINDS[kind]
    chosen = dict(found.options)
    if found.shares and place == "latents" and "base" in chosen:
        chosen["base"] = "identity"
    chosen |= {name: value for name, value in options.items() if name in chosen}
    return Layer(kind, "own" if found.norms else "none", **chosen)


def _convolution(functions: Build, linear: Build, layer: Layer) -> Build:
    """Makes a convolution (in_channels, out_channels) of these layers; torch's own for linear."""
    sizes = {"kernel_size": 4, "stride": 2, "padding": 1}
    if layer.kind == "linear":
        return functools.partial(linear, **sizes)
    return functools.partial(functions, **sizes, make=layer.build)

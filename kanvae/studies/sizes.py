"""Models of one size: kinds by name, and their keys with as many parameters as a budget allows."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import torch

from kanvae.architectures import Architecture
from kanvae.models import count_parameters
from kanvae.studies import paper

BUDGET = 652_824  # parameters of the paper's VAE

# Kinds of model by name: keys with {} for the width that meets a budget.
DIAL = {
    "SiLU": "vae-{}-20+activation=silu",
    "1 function": "shared-{}-20",
    "4 functions": "shared-{}-20+groups=4",
    "16 functions": "shared-{}-20+groups=16",
    "one per edge": "shared-{}-20+groups=1000",
}
PAPERS = {"ReLU": "vae-{}-20", "KAN": "kan-{}-20"}
CONTROLS = {
    # A grid where no value ever comes: the weight of the base function is all that is learned.
    # Its knots are even to the last bit, which the kernels need.
    "4 functions, splines out of reach": "shared-{}-20+groups=4+grid_range=1024.0..1184.0",
    "4 functions, latents linear": "shared-{}-20+groups=4+latents=linear",
    "GELU": "vae-{}-20+activation=gelu",
    "4 functions in the decoder": "shared-{}-20+activation=silu+groups=4+encoder=linear",
    "4 functions in the encoder": "shared-{}-20+activation=silu+groups=4+decoder=linear",
    "4 functions to the pixels": (
        "shared-{}-20+activation=silu+groups=4+encoder=linear+latents=linear"
    ),
    "PReLU": "vae-{}-20+activation=prelu",
    "tanh": "vae-{}-20+activation=tanh",
    "4 functions from ReLU": "shared-{}-20+groups=4+base=relu",
    "4 functions on ±1": "shared-{}-20+groups=4+grid_range=-1.0..1.0",
    "4 functions on ±6": "shared-{}-20+groups=4+grid_range=-6.0..6.0",
    "4 functions, G = 20": "shared-{}-20+groups=4+grid_size=20",
    "ReLU, LayerNorm": "vae-{}-20+norm=layer",
    "SiLU, LayerNorm": "vae-{}-20+activation=silu+norm=layer",
    "4 functions, LayerNorm": "shared-{}-20+norm=layer+groups=4",
    "one per edge from the latents": "shared-{}-20+groups=4+latents.groups=1000",
}
KINDS = PAPERS | DIAL | CONTROLS

# Other basis functions, with as many latents as KAN-VAE**.
BASES = {
    "B-splines": "kan-{}-15",
    "Gaussians": "gaussian-{}-15",
    "Chebyshev": "chebyshev-{}-15",
    "Chebyshev, LayerNorm": "chebyshev-{}-15+norm=layer",  # as its authors advise
    "wavelets": "wavelet-{}-15",
    "Jacobi, one per layer": "jacobi-{}-15",
    "rational, 8 groups": "rational-{}-15",
    "B-splines, one per input": "shared-{}-15",
    "fixed (SiLU)": "vae-{}-15+activation=silu",
}

# Models for small sets: keys with {} for the latents, and then for the width.
FORMS = {
    "ReLU": "vae-{{}}-{}",
    "SiLU": "vae-{{}}-{}+activation=silu",
    "1 function": "shared-{{}}-{}",
    "1 function, of the columns too": "shared-{{}}-{}+first=shared",
    "4 functions, of the columns too": "shared-{{}}-{}+groups=4+first=shared",
    "one per edge": "kan-{{}}-{}+grid_range=-3.0..3.0",
    "one per edge, as in the paper": "kan-{{}}-{}",
}


# Small sets: columns, latents, and how they are trained; some 12,000 updates each.
SMALL: dict[str, tuple[int, int, dict[str, Any]]] = {
    "digits": (64, 8, {"likelihood": "binomial-16", "epochs": 300}),
    "diamonds": (7, 3, {"likelihood": "gaussian", "epochs": 40, "batch_size": 128}),
}


@functools.cache
def parameters(key: str, likelihood: str = "bernoulli") -> int:
    """How many parameters a model has."""
    with torch.device("meta"):  # no numbers are drawn
        return count_parameters(Architecture.parse(key).build(likelihood=likelihood))


@functools.cache
def fitted(kind: str, budget: int) -> str:
    """The key of the widest model of a kind that keeps within a budget of parameters."""
    return KINDS[kind].format(width(KINDS[kind], budget))


@functools.cache
def equal(kind: str) -> str:
    """The key of the model with another basis whose parameters are nearest to KAN-VAE**'s."""
    form, goal = BASES[kind], parameters(str(paper.FEATURED["KAN-VAE**"]))
    widest = width(form, goal)
    sizes = (form.format(each) for each in (widest, widest + 1))
    return min(sizes, key=lambda key: abs(parameters(key) - goal))


def width(form: str, budget: int, likelihood: str = "bernoulli") -> int:
    """The greatest width whose model keeps within a budget of parameters; 1 at least.

    Args:
        form: a key with {} for the width.
    """

    def size(width: int) -> int:
        return parameters(form.format(width), likelihood)

    found = max(1, 16 + 16 * (budget - size(16)) // (size(32) - size(16)))  # a line nearly meets it
    while size(found + 1) <= budget:
        found += 1
    while found > 1 and size(found) > budget:
        found -= 1
    return found


def small_models(name: str) -> dict[str, str]:
    """The models for a small set, by kind: as many parameters as a ReLU VAE 64 units wide."""
    columns, latents, how = SMALL[name]
    likelihood = how["likelihood"]
    budget = parameters(f"vae-64-{latents}+input_features={columns}", likelihood)
    found = {}
    for kind, form in FORMS.items():
        form = f"{form}+input_features={columns}".format(latents)
        key = form.format(width(form, budget, likelihood))
        found[kind] = str(Architecture.parse(key))
    return found


def baseline(architecture: Architecture) -> Architecture:
    """The linear VAE with as many parameters as a KAN-VAE: ten times its width, to 0.7 %."""
    return Architecture("linear", 10 * architecture.hidden_features, architecture.latent_dim)


def by_cost(keys: Iterable[str]) -> list[str]:
    """Keys of models, the one that trains fastest first."""
    return sorted(keys, key=parameters)

"""The kinds of layers by name, and what can be chosen of each: what keys of architectures say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from torch import nn

from kanvae.layers.chebyshev import ChebyshevLinear
from kanvae.layers.function_layer import check_choice, check_range, check_whole
from kanvae.layers.gaussian import GaussianLinear
from kanvae.layers.jacobi import JacobiLinear
from kanvae.layers.kan import KANLinear
from kanvae.layers.rational import RationalLinear
from kanvae.layers.shared import SharedKANLinear
from kanvae.layers.wavelet import WAVELETS, WaveletLinear


class Kind(NamedTuple):
    """One kind of layer.

    Args:
        make: the class.
        options: what can be chosen, and what is where nothing else is: the names of `Layer`.
        linear: the places of a model where a linear layer stands instead, if nothing else is said.
        shares: whether the functions are the inputs' and not the edges'.
        norms: whether the layer has a norm of its own.
    """

    make: type[nn.Module]
    options: Mapping[str, Any]
    linear: Collection[str] = ()
    shares: bool = False
    norms: bool = False


_SPLINE = {"grid_size": 5, "spline_order": 3, "grid_range": (-1.0, 1.0), "base": "silu"}
KINDS = {
    "linear": Kind(nn.Linear, {}),
    "kan": Kind(KANLinear, _SPLINE),
    "shared": Kind(
        SharedKANLinear, {"groups": 1} | _SPLINE | {"grid_range": (-3.0, 3.0)}, ("first",), True
    ),
    "gaussian": Kind(
        GaussianLinear, {"grid_size": 7, "grid_range": (-2.0, 2.0), "base": "silu"}, norms=True
    ),
    "chebyshev": Kind(ChebyshevLinear, {"degree": 4}),
    "jacobi": Kind(JacobiLinear, {"degree": 3}, ("first", "latents"), True),
    "wavelet": Kind(WaveletLinear, {"wavelet": "mexican_hat"}, norms=True),
    "rational": Kind(RationalLinear, {"groups": 8, "base": "silu"}, ("first",), True),
}
BASES: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU, "relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "identity": nn.Identity,
}  # fmt: skip
WORDS: dict[str, Collection[str]] = {
    "kind": KINDS, "norm": ("none", "layer", "own"), "base": BASES, "wavelet": WAVELETS,
}  # fmt: skip
LEAST = {"groups": 1, "grid_size": 1, "spline_order": 0, "degree": 1}
MOST = 10_000  # of these; of groups a layer takes as many as it can


class Layer(NamedTuple):
    """The layer at one place of a model; None is what its kind does not have."""

    kind: str
    norm: str
    groups: int | None = None
    grid_size: int | None = None
    spline_order: int | None = None
    grid_range: tuple[float, float] | None = None
    base: str | None = None
    degree: int | None = None
    wavelet: str | None = None

    def build(self, in_features: int, out_features: int, parts: int = 1) -> nn.Module:
        """The layer itself.

        A layer has at most as many groups as it can. Where groups are of outputs and there are
        several, `parts` of the outputs share none.
        """
        kind = KINDS[self.kind]
        options = {name: getattr(self, name) for name in kind.options}
        if self.base is not None:
            options["base_activation"] = BASES[options.pop("base")]
        if self.kind == "shared":
            each = min(options["groups"], out_features // parts)  # more than that is one per edge
            options["groups"] = each * parts if options["groups"] > 1 else 1
        elif self.groups is not None:
            options["groups"] = min(self.groups, in_features)
        if kind.norms:
            options["norm"] = self.norm == "own"
        return kind.make(in_features, out_features, **options)


OPTIONS = Layer._fields


def check(option: str, value: Any, name: str) -> None:
    """Raise a ValueError that names what is wrong with the value of an option, if anything is."""
    if option in WORDS:
        check_choice(name, value, WORDS[option])
    elif option in LEAST:
        check_whole(name, value, LEAST[option], None if option == "groups" else MOST)
    else:
        check_range(name, value)

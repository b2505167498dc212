"""Short keys that name auto-encoders of the paper's form (Table I) with layers of any kind.

The encoder is x -> h -> (mean, log_var), the decoder z -> h' -> logits. Layers have five places:

    first    pixels -> hidden units           latents  latents -> hidden units
    hidden   hidden -> hidden units, on both sides, where `depth` is above 1
    heads    hidden units -> mean, log_var    pixels   hidden units -> logits

An activation stands before each linear layer that sees hidden units. Other layers see them as they
are, being non-linear themselves (paper, sections V-A and V-C).
"""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from kanvae import likelihoods
from kanvae.layers import FunctionLayer
from kanvae.layers.function_layer import check_choice, check_whole
from kanvae.layers.grid import check_spacing
from kanvae.layers.kinds import KINDS, LEAST, OPTIONS, Layer, check
from kanvae.likelihoods import Likelihood
from kanvae.models import VAE, Decoder, Encoder, count_parameters

WORDS = {"vae": "linear"} | {kind: kind for kind in KINDS if kind != "linear"}  # of keys -> kinds
SIDES = {"encoder": ("first", "hidden", "heads"), "decoder": ("latents", "hidden", "pixels")}
SCOPES = ("", *SIDES, "first", "hidden", "heads", "latents", "pixels")  # "" is the whole model
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU, "tanh": nn.Tanh, "prelu": nn.PReLU,
    "none": nn.Identity,
}  # fmt: skip
MOST_LAYERS, MOST_UNITS = 1000, 10_000_000  # of a model, of a layer
WHOLE = {"input_features": 784, "depth": 1, "activation": "relu"}  # what a key may set, else this


@dataclass(frozen=True)
class Architecture:
    """The widths of one auto-encoder and the kinds of its layers.

    Its key, `str(architecture)`, begins with its kind of layer and its widths, H hidden and L
    latent, as in `kan-H-L`, or `vae-H-L` for linear layers; what is not at its default follows as
    `+name=value`, such as `kan-35-15+grid_range=-2..2+first=linear+heads.grid_size=10`.

    Args:
        layer: "linear"; with one function per edge "kan" (splines), "gaussian", "chebyshev" or
            "wavelet"; with functions that edges share "shared" (splines), "rational" or "jacobi",
            whose first layer is linear, and jacobi's layer from the latents too.
        hidden_features: H, the width of all hidden layers.
        latent_dim: L, the width of the latent space.
        input_features: the number of pixels.
        depth: how many hidden layers the encoder has, and the decoder; 1 or more.
        activation: relu, silu, gelu, tanh, prelu or none, before linear layers that see hidden
            units.
        settings: of the layers, name -> value. A place (first, hidden, heads, latents, pixels) or
            a side (encoder, decoder) takes another kind: {"first": "linear"}. These names hold
            for all layers, or with a place or side and a dot before them for those there:

            - groups: functions an input of shared layers, each for one group of outputs; 1. Mean
              and log-variance share the one; of several each head has its own. As many as a layer
              has outputs, or more, means one per edge. For rational layers, groups of inputs; 8.
            - grid_size, spline_order: of layers of splines; 5 and 3. Of Gaussians grid_size; 7.
            - grid_range: likewise; (-1, 1), where splines are shared (-3, 3), of Gaussians (-2, 2).
            - base: likewise the base function, silu, relu, gelu, tanh or identity, and of rational
              layers what they start as; silu, and identity for shared functions of latents.
            - degree: of chebyshev and jacobi layers; 4 and 3.
            - wavelet: mexican_hat, morlet or dog; the first.
            - norm: "layer" for a LayerNorm before the layer, where it sees hidden units; "own" for
              the one that gaussian and wavelet layers bring along, which is theirs by default;
              "none".

    Raises:
        ValueError: a value that is not allowed, or a setting that concerns no layer.
    """

    layer: str
    hidden_features: int
    latent_dim: int
    input_features: int = 784
    depth: int = 1
    activation: str = "relu"
    settings: Mapping[str, Any] | tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for name in ("hidden_features", "latent_dim", "input_features", "depth"):
            most = MOST_LAYERS if name == "depth" else MOST_UNITS
            check_whole(name, getattr(self, name), 1, most)
        check_choice("layer", self.layer, KINDS)
        check_choice("activation", self.activation, ACTIVATIONS)
        kept = {_split(name): value for name, value in dict(self.settings).items()}
        for (scope, option), value in kept.items():
            check(option, value, _name(scope, option))
            if option == "grid_range":
                kept[scope, option] = (float(value[0]), float(value[1]))
        layers = self._layers(kept)
        for scope, option in list(kept):
            there = [layer for at, layer in layers.items() if scope in ("", *at)]
            if all(getattr(layer, option) is None for layer in there):
                kinds = [kind for kind in KINDS if option in ("kind", *KINDS[kind].options)]
                raise ValueError(
                    f"{_name(scope, option)} is set, but no layer{' there' * bool(scope)} has it: "
                    f"layers that do are {kinds}, and depth 1 has no layers between hidden units. "
                    "Leave it out, or choose other layers."
                )
        order = sorted(kept, key=lambda at: (SCOPES.index(at[0]), OPTIONS.index(at[1])))
        before: list[tuple[str, str]] = []
        while before != order:  # what changes nothing is no part of the key; then it may be others'
            before = [*order]
            for at in reversed(before):
                less = {other: kept[other] for other in order if other != at}
                if self._layers(less) == layers:
                    order.remove(at)
        object.__setattr__(self, "settings", tuple((_name(*at), kept[at]) for at in order))
        for (side, place), layer in layers.items():
            widths = {"first": self.input_features, "latents": self.latent_dim}
            if layer.norm != "none" and widths.get(place, self.hidden_features) == 1:
                raise ValueError(
                    f"the {place} layer of the {side} sees one number, and the LayerNorm of one is "
                    f"always zero: set {place}.norm to none, or a width above 1."
                )
            if layer.grid_range and layer.grid_size and layer.spline_order is not None:
                dtype = torch.get_default_dtype()
                check_spacing(layer.grid_range, layer.grid_size, layer.spline_order, dtype)
        seen = [layers[side, "heads" if side == "encoder" else "pixels"] for side in SIDES]
        seen += [layer for (_, place), layer in layers.items() if place == "hidden"]
        if self.activation != "relu" and not any(layer.kind == "linear" for layer in seen):
            raise ValueError(
                f"activation is {self.activation}, but no linear layer sees hidden units, and "
                "other layers take none: leave it out."
            )

    @classmethod
    def parse(cls, key: str) -> Self:
        """The architecture that a key names. `parse(str(a)) == a` for every architecture.

        Raises:
            ValueError: a key of another form, or values that no architecture allows.
        """
        words, *options = str(key).split("+")
        former = {"first_layer": "first"}  # as it was written before
        names = [option.partition("=")[0] for option in options]
        names = [former.get(name, name) for name in names]
        if repeated := [name for name in names if name and names.count(name) > 1]:
            raise ValueError(f"{key!r} sets {repeated[0]} more than once: give it one value.")
        match = re.fullmatch(rf"({'|'.join(WORDS)})-(\d{{1,18}})-(\d{{1,18}})", words)
        values: dict[str, Any] = {}
        part = ""
        try:
            for part in options:
                name, text = part.split("=")
                name = former.get(name, name)
                option = name.rpartition(".")[2]
                if option == "grid_range":
                    low, high = text.split("..")
                    values[name] = (float(low), float(high))
                elif option in LEAST or option in ("input_features", "depth"):
                    values[name] = int(text)
                else:
                    values[name] = text
                if name not in WHOLE:
                    _split(name)
            part = ""
        except (ValueError, KeyError):
            match = None
        if match is None:
            where = f", in its part {part!r}" if part else ""
            raise ValueError(
                f"unknown architecture {key!r}{where}: a key is WORD-H-L, with a word of "
                f"{list(WORDS)}, the hidden and the latent width, such as vae-400-20, kan-35-15 "
                "or shared-395-20. "
                f"It may go on with +NAME=VALUE, NAME being one of {[*WHOLE, *OPTIONS[1:]]}, for "
                "layers also at one place or side as in +heads.grid_size=10, and "
                f"with +PLACE=KIND from {list(KINDS)}, as in +first=linear; places and sides are "
                f"{list(SCOPES[1:])}. So kan-35-15+grid_range=-2..2+first=linear."
            )
        whole = {name: values.pop(name) for name in WHOLE if name in values}
        word, hidden, latent = match.groups()
        return cls(WORDS[word], int(hidden), int(latent), **whole, settings=values)

    def __str__(self) -> str:
        word = {kind: word for word, kind in WORDS.items()}[self.layer]
        key = f"{word}-{self.hidden_features}-{self.latent_dim}"
        whole = {name: getattr(self, name) for name in WHOLE if getattr(self, name) != WHOLE[name]}
        for name, value in (whole | dict(self.settings)).items():
            text = "..".join(map(repr, value)) if isinstance(value, tuple) else str(value)
            text = text.replace("e+", "e")  # a plus sign begins another option
            key += f"+{name}={text}"
        return key

    def layers(self) -> dict[tuple[str, str], Layer]:
        """The layer at each side and place, such as ("encoder", "first"), in the order of data."""
        return self._layers({_split(name): value for name, value in dict(self.settings).items()})

    def _layers(self, settings: Mapping[tuple[str, str], Any]) -> dict[tuple[str, str], Layer]:
        found = {}
        for side, place in ((side, place) for side, places in SIDES.items() for place in places):
            if place == "hidden" and self.depth == 1:
                continue

            def value(option: str, default: Any, side: str = side, place: str = place) -> Any:
                whole = settings.get(("", option), default)
                return settings.get((place, option), settings.get((side, option), whole))

            behind = place in KINDS[self.layer].linear  # functions begin behind it
            made = KINDS[kind := value("kind", "linear" if behind else self.layer)]
            norm, inner = value("norm", "own"), place in ("first", "latents")
            if norm == "layer" and inner and (place, "norm") not in settings:
                norm = "none"  # no hidden units are seen there
            if norm == "own" and not made.norms:
                norm = "none"
            options = dict(made.options)
            if made.shares and place == "latents" and "base" in options:
                options["base"] = "identity"
            options = {name: value(name, default) for name, default in options.items()}
            found[side, place] = Layer(kind, norm, **options)
        return found

    def edges(self) -> int:
        """How many input-output pairs all layers have together."""
        pixels, hidden, latent = self.input_features, self.hidden_features, self.latent_dim
        return 2 * pixels * hidden + 2 * (self.depth - 1) * hidden**2 + 3 * hidden * latent

    def build(self, seed: int = 0, likelihood: Likelihood | str = likelihoods.BERNOULLI) -> VAE:
        """The auto-encoder for a likelihood, with initial weights that `seed` alone determines."""
        layers, hidden, latent = self.layers(), self.hidden_features, self.latent_dim
        pixels, found = self.input_features, likelihoods.of(None, likelihood)

        def stack(side: str, *widths: int) -> list[tuple[str, nn.Module]]:
            names = [SIDES[side][0], *(f"hidden{i}" for i in range(1, self.depth)), SIDES[side][2]]
            found: list[tuple[str, nn.Module]] = []
            for name, (i, o) in zip(names, itertools.pairwise(widths), strict=False):
                found += self._before(name, layers[side, name.rstrip("0123456789")], i)
                found.append((name, layers[side, name.rstrip("0123456789")].build(i, o)))
            return found

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            heads = layers["encoder", "heads"]
            deep = [hidden] * self.depth
            inner = stack("encoder", pixels, *deep) + self._before("heads", heads, hidden)
            if KINDS[heads.kind].shares:
                encoder = Encoder(OrderedDict(inner), heads.build(hidden, 2 * latent, parts=2))
            else:
                means, log_vars = (heads.build(hidden, latent) for _ in range(2))
                encoder = Encoder(OrderedDict(inner), means, log_vars)
            decoder = Decoder(OrderedDict(stack("decoder", latent, *deep, found.outputs(pixels))))
        return VAE(encoder, decoder, latent, found)

    def _before(self, name: str, layer: Layer, features: int) -> list[tuple[str, nn.Module]]:
        """What stands before a layer of so many inputs: a norm, an activation."""
        found: list[tuple[str, nn.Module]] = []
        if layer.norm == "layer":
            found.append((f"norm_{name}", nn.LayerNorm(features)))
        if layer.kind == "linear" and name not in ("first", "latents"):
            units = {"num_parameters": features} if self.activation == "prelu" else {}
            found.append((f"activation_{name}", ACTIVATIONS[self.activation](**units)))
        return found


def _split(name: str) -> tuple[str, str]:
    """The scope and the option that a setting's name means: "heads.groups", "groups", "first"."""
    scope, _, option = (f"{name}.kind" if name in SCOPES[1:] else str(name)).rpartition(".")
    if scope not in SCOPES or option not in OPTIONS or (scope, option) == ("", "kind"):
        raise ValueError(
            f"there is no setting {name!r}: choose from {list(OPTIONS[1:])}, also for a place or "
            f"side as in 'heads.groups', or choose the kind of layer of one of {list(SCOPES[1:])}."
        )
    return scope, option


def _name(scope: str, option: str) -> str:
    return scope if option == "kind" else f"{scope}.{option}".lstrip(".")


def explain(key: str) -> str:
    """The layers of the architecture that a key names: what each is, its shape, its parameters.

    Raises:
        ValueError: no such architecture.
    """
    with torch.device("meta"):  # a model of any size has a shape
        model = Architecture.parse(key).build()
    lines = [f"{'layer':30s} {'inputs':>6s} {'outputs':>7s} {'parameters':>10s}  kind"]
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if name.startswith(inside):
            continue
        if next(module.children(), None) is None or isinstance(module, FunctionLayer):
            inside = (f"{name}.",)
            ends = [str(getattr(module, f"{way}_features", "")) for way in ("in", "out")]
            size, kind = count_parameters(module), f"{type(module).__name__}({module.extra_repr()})"
            lines.append(f"{name:30s} {ends[0]:>6s} {ends[1]:>7s} {size:>10,}  {kind}")
    return "\n".join([*lines, f"{'in all':45s} {count_parameters(model):>10,}"])

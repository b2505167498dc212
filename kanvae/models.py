"""The two auto-encoders of the paper (Table I), as one class with a choice of layer.

encoder x -> h -> (mean, log_var), decoder z -> h' -> logits; `depth` puts more hidden layers on
both sides than the paper's one. Where the layers are linear a ReLU stands after each hidden one;
where they are KAN layers nothing does, their edges being non-linear themselves (paper, sections
V-A and V-C).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor, nn

from kanvae.layers import KANLinear, check_layer

KINDS = {"vae": "linear", "kan": "kan"}  # the word a key begins with, and the layer it means


@dataclass(frozen=True)
class Architecture:
    """The widths and the kind of layer of one auto-encoder.

    Its key, `str(architecture)`, is `vae-H-L` or `kan-H-L` (hidden and latent width), followed by
    `+name=value` for every other field that is not at its default:
    `kan-35-15+grid_size=10+grid_range=-2..2`.

    Args:
        layer: "linear" or "kan".
        hidden_features: H, the width of both hidden layers.
        latent_dim: L, the width of the latent space.
        input_features: the number of pixels.
        depth: how many hidden layers, all of width H, the encoder has, and the decoder; 1 or more.
        grid_size, spline_order, grid_range: of the KAN layers; `linear` knows none of them.
        first_layer: "kan", or "linear" for a linear layer, without a ReLU, in the place of the
            first KAN layer, which sees pixels.

    Raises:
        ValueError: an unknown layer, a width below 1, or settings that no KAN layer allows.
    """

    layer: str
    hidden_features: int
    latent_dim: int
    input_features: int = 784
    depth: int = 1
    grid_size: int = 5
    spline_order: int = 3
    grid_range: tuple[float, float] = (-1.0, 1.0)
    first_layer: str = "kan"

    def __post_init__(self) -> None:
        if self.layer not in KINDS.values():
            raise ValueError(f"layer is {self.layer!r}: it must be one of {list(KINDS.values())}.")
        for name in ("hidden_features", "latent_dim", "input_features", "depth"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}: it must be a whole number, 1 or more.")
        check_layer(1, 1, self.grid_size, self.spline_order, self.grid_range)
        if self.first_layer not in ("kan", "linear"):
            raise ValueError(
                f"first_layer is {self.first_layer!r}: it must be one of ['kan', 'linear']."
            )
        if self.layer == "linear":
            for field in fields(self)[5:]:
                if getattr(self, field.name) != field.default:
                    raise ValueError(
                        f"{field.name} is set, but linear layers have none: leave it out, or "
                        "choose the kan layer."
                    )

    @classmethod
    def parse(cls, key: str) -> Self:
        """The architecture that a key names. `parse(str(a)) == a` for every architecture.

        Raises:
            ValueError: a key of another form, or values that no architecture allows.
        """
        widths, *options = str(key).split("+")
        match = re.fullmatch(r"(vae|kan)-(\d+)-(\d+)", widths)
        known = {field.name: field for field in fields(cls)[3:]}
        settings: dict[str, int | str | tuple[float, float]] = {}
        for option in options:
            name, _, value = option.partition("=")
            try:
                if name == "grid_range":
                    low, high = value.split("..")
                    settings[name] = (float(low), float(high))
                elif name == "first_layer":
                    settings[name] = value
                elif name in known:
                    settings[name] = int(value)
                else:
                    match = None
            except ValueError:
                match = None
        if match is None:
            raise ValueError(
                f"unknown architecture {key!r}: a key is vae-H-L or kan-H-L with the hidden "
                f"and the latent width, such as vae-400-20 or kan-35-15, and may go on with "
                f"options from {list(known)}, such as kan-35-15+grid_size=10+grid_range=-2..2."
            )
        kind, hidden, latent = match.groups()
        return cls(KINDS[kind], int(hidden), int(latent), **settings)  # type: ignore[arg-type]

    def __str__(self) -> str:
        word = {layer: word for word, layer in KINDS.items()}[self.layer]
        key = f"{word}-{self.hidden_features}-{self.latent_dim}"
        for field in fields(self)[3:]:
            value = getattr(self, field.name)
            if value != field.default:
                if isinstance(value, tuple):
                    value = "..".join(repr(end) for end in value)
                key += f"+{field.name}={value}"
        return key

    def edges(self) -> int:
        """How many input-output pairs all layers have together."""
        pixels, hidden, latent = self.input_features, self.hidden_features, self.latent_dim
        return 2 * pixels * hidden + 2 * (self.depth - 1) * hidden**2 + 3 * hidden * latent


class VAE(nn.Module):
    """A variational auto-encoder (Kingma and Welling 2013): Gaussian q(z|x), Bernoulli pixels.

    Args:
        architecture: widths and kind of layer.
        seed: of the initial weights; they do not depend on torch's global generator, nor change it.
    """

    def __init__(self, architecture: Architecture, seed: int = 0) -> None:
        super().__init__()
        self.architecture = architecture
        hidden, latent = architecture.hidden_features, architecture.latent_dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            first = "linear" if architecture.first_layer == "linear" else architecture.layer
            self.encoder_hidden = self._layer(architecture.input_features, hidden, first)
            self.encoder_mean = self._layer(hidden, latent)
            self.encoder_log_var = self._layer(hidden, latent)
            self.decoder_hidden = self._layer(latent, hidden)
            self.decoder_logits = self._layer(hidden, architecture.input_features)
            more = range(architecture.depth - 1)  # none in the paper's models
            self.encoder_deeper = nn.ModuleList(self._layer(hidden, hidden) for _ in more)
            self.decoder_deeper = nn.ModuleList(self._layer(hidden, hidden) for _ in more)
        self.activation = nn.ReLU() if architecture.layer == "linear" else nn.Identity()

    def _layer(self, in_features: int, out_features: int, kind: str | None = None) -> nn.Module:
        a = self.architecture
        if (kind or a.layer) == "linear":
            return nn.Linear(in_features, out_features)
        return KANLinear(in_features, out_features, a.grid_size, a.spline_order, a.grid_range)

    def forward(
        self, x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One pass with one latent sample: (..., D) -> logits (..., D), mean, log_var (..., L)."""
        mean, log_var = self.encode(x)
        return self.decode(self.reparameterize(mean, log_var, generator)), mean, log_var

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x): pixels (..., D) in [0, 1] -> two tensors (..., L).

        Pixels of dtype bool take the short way through a KAN layer; the values are the same.
        """
        if isinstance(self.encoder_hidden, nn.Linear):
            x = x.to(self.encoder_hidden.weight.dtype)
        hidden = self.activation(self.encoder_hidden(x))  # (..., H)
        for layer in self.encoder_deeper:
            hidden = self.activation(layer(hidden))
        return self.encoder_mean(hidden), self.encoder_log_var(hidden)

    @staticmethod
    def reparameterize(
        mean: Tensor, log_var: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """z = mean + eps * exp(log_var / 2), eps ~ N(0, 1) (paper, section V-A).

        What the paper calls log sigma is the log-variance, as its factor 0.5 shows.
        """
        return mean + normal(mean.shape, mean, generator) * torch.exp(0.5 * log_var)

    def decode(self, z: Tensor) -> Tensor:
        """Logits of the pixels: latents (..., L) -> (..., D)."""
        hidden = self.activation(self.decoder_hidden(z))  # (..., H)
        for layer in self.decoder_deeper:
            hidden = self.activation(layer(hidden))
        return self.decoder_logits(hidden)

    @torch.no_grad()
    def sample_prior(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Pixel probabilities (count, D) of latents drawn from the prior N(0, 1)."""
        like = next(self.parameters())
        return self.decode(normal((count, self.architecture.latent_dim), like, generator)).sigmoid()

    @torch.no_grad()
    def sample_posterior(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pixel probabilities (..., D) of latents drawn from q(z|x), one for each image."""
        return self(x, generator)[0].sigmoid()

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Pixel probabilities (..., D) at the mean of q(z|x)."""
        return self.decode(self.encode(x)[0]).sigmoid()


def normal(shape, like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise with the dtype and device of `like`.

    It is drawn where the generator lives, so that one generator gives one noise to every device.
    """
    device = like.device if generator is None else generator.device
    return torch.randn(shape, generator=generator, device=device, dtype=like.dtype).to(like.device)


def count_parameters(model: nn.Module) -> int:
    """How many trainable numbers the model holds."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)

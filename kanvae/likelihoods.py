"""Likelihoods p(x|z): what the numbers that a decoder gives say about an image.

A likelihood says how many numbers it needs for D pixels, log p(x|z), what to show for an image, and
which data it can judge. Each has a short name, which `named` reads back:

    bernoulli      pixels that are on or off; one logit a pixel
    binomial-255   grey levels 0, 1/255, ..., 1; one logit a pixel
    gaussian       real numbers; a mean a pixel and a standard deviation, learned, 0.01 or more
    gaussian-0.1   real numbers; a mean a pixel, the standard deviation is 0.1 everywhere

All take `parameters` (..., P) and x (..., D), and sum over the last dimension. Values are in nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Likelihood(Protocol):
    """What everything else needs to know of p(x|z)."""

    def outputs(self, pixels: int) -> int:
        """How many numbers a decoder has to give for so many pixels."""

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """log p(x|z): (..., P) and (..., D) -> (...)."""

    def mean(self, parameters: Tensor) -> Tensor:
        """The mean of p(x|z), to be shown: (..., P) -> (..., D)."""

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pixels drawn from p(x|z): (..., P) -> (..., D)."""

    def check(self, x: Tensor, training: bool = False) -> None:
        """Raise a ValueError that says what is wrong if x (N, ...) are no data for it."""


@dataclass(frozen=True)
class Bernoulli:
    """Pixels that are on or off, each on with probability sigmoid(logit).

    In training a float pixel between 0 and 1 counts as the probability that it is on: the loss is
    then the mean over its stochastic binarisations. That is no log p(x) of a grey image, and so
    the importance-weighted bound takes 0 and 1 only.
    """

    def __str__(self) -> str:
        return "bernoulli"

    def outputs(self, pixels: int) -> int:
        return pixels

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        x = x.to(parameters.dtype).expand_as(parameters)
        if torch.is_grad_enabled():
            return -F.binary_cross_entropy_with_logits(parameters, x, reduction="none").sum(-1)
        # The same faster, for the importance-weighted bound: log(1 + e) takes a quarter of torch's
        # log1p's time, and rounds no worse than the sum over pixels does.
        softplus = parameters.abs().neg_().exp_().add_(1).log_().add_(parameters.clamp(min=0))
        return torch.linalg.vecdot(parameters, x) - softplus.sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return _draw(self.mean(parameters), 1, generator)

    def check(self, x: Tensor, training: bool = False) -> None:
        _check_type(x, "bool, or float from 0 to 1")
        if x.dtype == torch.bool:
            return
        if training:
            outside = x[~((x >= 0) & (x <= 1))]
            if outside.numel():
                raise ValueError(
                    f"the images hold {float(outside[0]):g}, and Bernoulli pixels lie between 0 "
                    "and 1: scale or binarise them (kanvae.data.binarize), or take a Gaussian "
                    "likelihood."
                )
        elif (grey := x[(x != 0) & (x != 1)]).numel():
            raise ValueError(
                f"the images hold {float(grey[0]):g}, and a Bernoulli likelihood judges pixels "
                "that are on or off, 1 or 0: binarise them (kanvae.data.binarize), or take a "
                "likelihood for grey levels, such as binomial-255 or gaussian."
            )


@dataclass(frozen=True)
class Binomial:
    """Grey levels k of 0 ... n as brightness x = k / n, k ~ Binomial(n, sigmoid(logit)).

    Args:
        levels: n, the level that is white: 255 for bytes, 16 for scikit-learn's digits.
    """

    levels: int = 255

    def __post_init__(self) -> None:
        n = self.levels
        if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
            raise ValueError(f"levels is {self.levels!r}: it must be a whole number, 1 or more.")

    def __str__(self) -> str:
        return f"binomial-{self.levels}"

    def outputs(self, pixels: int) -> int:
        return pixels

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        n = self.levels
        k = (x.to(parameters.dtype) * n).round()
        ways = math.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
        return (ways + k * parameters - n * F.softplus(parameters)).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid()

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return _draw(self.mean(parameters), self.levels, generator)

    def check(self, x: Tensor, training: bool = False) -> None:
        _check_type(x, f"float, multiples of 1/{self.levels} from 0 to 1")
        k, near = x.double() * self.levels, 1e-3 + self.levels * 2**-23  # a float's rounding
        allowed = (k >= -near) & (k <= self.levels + near) & ((k - k.round()).abs() <= near)
        if not bool(allowed.all()):
            raise ValueError(
                f"the images hold {float(x[~allowed].flatten()[0]):g}, and the likelihood {self} "
                f"judges the {self.levels + 1} brightnesses 0, 1/{self.levels}, ..., 1: divide "
                "levels by the white one, or take a Gaussian likelihood."
            )


@dataclass(frozen=True)
class Gaussian:
    """Real numbers with independent normal errors.

    Args:
        sigma: the standard deviation everywhere. None to learn one a pixel: the decoder then gives
            D means and D more numbers s, and sigma = `least` + softplus(s).
        least: below which a learned standard deviation cannot fall, so that the likelihood of
            pixels that never change stays finite.
    """

    sigma: float | None = None
    least: float = 0.01

    def __post_init__(self) -> None:
        for name, value in (("sigma", self.sigma), ("least", self.least)):
            if value is not None and not (0 < value < math.inf):
                raise ValueError(f"{name} is {value!r}: it must be a number above 0.")

    def __str__(self) -> str:
        return "gaussian" if self.sigma is None else f"gaussian-{self.sigma}".removesuffix(".0")

    def outputs(self, pixels: int) -> int:
        return pixels if self.sigma else 2 * pixels

    def _both(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The means and the standard deviations: (..., P) -> (..., D) each."""
        if self.sigma:
            return parameters, parameters.new_tensor(self.sigma).expand_as(parameters)
        mean, spread = parameters.chunk(2, dim=-1)
        return mean, self.least + F.softplus(spread)

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        mean, sigma = self._both(parameters)
        error = (x.to(mean.dtype) - mean) / sigma
        return -(0.5 * error.square() + sigma.log() + 0.5 * math.log(2 * math.pi)).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        return self._both(parameters)[0]

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, sigma = self._both(parameters)
        device = mean.device if generator is None else generator.device
        noise = torch.randn(mean.shape, generator=generator, device=device, dtype=mean.dtype)
        return mean + sigma * noise.to(mean.device)

    def check(self, x: Tensor, training: bool = False) -> None:
        _check_type(x, "float")
        if not bool(x.isfinite().all()):
            raise ValueError("the images hold values that are not finite: leave such images out.")


BERNOULLI = Bernoulli()


def named(name: str) -> Likelihood:
    """The likelihood of that name; `named(str(likelihood))` is the likelihood, but for `least`.

    Raises:
        ValueError: an unknown name.
    """
    kind, _, number = str(name).partition("-")
    kinds: dict[str, Any] = {"bernoulli": Bernoulli, "binomial": Binomial, "gaussian": Gaussian}
    try:
        if kind not in kinds or (number and kind == "bernoulli"):
            raise ValueError
        value = [int(number) if kind == "binomial" else float(number)] if number else []
        return kinds[kind](*value)
    except ValueError:
        raise ValueError(
            f"unknown likelihood {name!r}: choose bernoulli, binomial-255 (or another white "
            "level), gaussian, or gaussian-0.1 (or another standard deviation)."
        ) from None


def of(model: Any, given: Likelihood | str | None = None) -> Likelihood:
    """The likelihood given, else the model's own (`model.likelihood`), else Bernoulli."""
    found = given if given is not None else getattr(model, "likelihood", None)
    if found is None:
        return BERNOULLI
    return named(found) if isinstance(found, str) else found


def _draw(mean: Tensor, levels: int, generator: torch.Generator | None) -> Tensor:
    """k / n with k ~ Binomial(n, mean), on the generator's device: one generator, one draw."""
    where = mean.to(mean.device if generator is None else generator.device)
    count = torch.full_like(where, levels)
    return (torch.binomial(count, where, generator=generator) / levels).to(mean.device)


def check_tensor(x: object) -> None:
    """Raise a ValueError if images are no tensor, or none."""
    if not isinstance(x, Tensor):
        raise ValueError(
            f"the images are a {type(x).__name__}: give a tensor, torch.as_tensor(images)."
        )
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"there are no images: the tensor has the shape {tuple(x.shape)}.")


def _check_type(x: Tensor, allowed: str) -> None:
    check_tensor(x)
    if not (x.is_floating_point() or x.dtype == torch.bool):
        raise ValueError(
            f"the images are {str(x.dtype).removeprefix('torch.')}: give {allowed} (whole grey "
            "levels divided by the white one, or kanvae.data.binarize)."
        )

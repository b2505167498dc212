"""Rational functions that groups of inputs share: the Kolmogorov-Arnold transformer's layer.

(KAT, Yang and Wang 2025, arXiv 2409.10594; the function is the safe Pade activation unit of Molina
et al. 2020, arXiv 1907.06732.)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanvae.layers.function_layer import (
    FunctionLayer,
    activation,
    check_whole,
    draw_normal,
    parameter,
)

NUMERATOR, DENOMINATOR = 5, 4  # degrees of the polynomials


class RationalLinear(FunctionLayer):
    """A linear layer behind rational functions, y_o = b_o + sum_i w_oi F_s(i)(x_i).

    Input i is in group s = floor(i g / I), and F_s(x) = P(x) / (1 + abs Q_s(x)), with P of degree
    5 and Q_s of degree 4 without a constant. P is the same for all groups, Q_s is the group's: that
    is 6 + 4 g numbers (paper, Table 1). A function is defined everywhere and grows as a line.

    As in KAT: the functions begin as fits to another function on -3 to 3, w from a normal
    distribution of variance E[x^2] / E[F(x)^2] / I for x of N(0, 1), so that the variance is
    preserved, and b_o = 0. Departures: the fit is done here, by weighted linear least squares, with
    errors as small as those of the published coefficients; where g does not divide I, sizes of
    groups differ by one. KAT's code is not of one mind with its paper: its GPU kernels compute
    1 + sum abs(q_j x^j), and its training overwrites w by a normal distribution of width 0.02.

    Args:
        in_features: I, 1 or more.
        out_features: O, 1 or more.
        groups: g, of neighbouring inputs, from 1 to I.
        base_activation: makes the module that the functions begin as.
        bias: whether there is a b_o.
        generator: source of the initial values; torch's global one by default.
        device, dtype: of the parameters, as in `nn.Linear`.

    State:
        weight (O, I), bias (O,), numerator (6,), denominator (g, 4): from the lowest power up.

    Raises:
        ValueError: a width or `groups` below 1, more groups than inputs, or a `base_activation` in
            place.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        groups: int = 8,
        base_activation: Callable[[], nn.Module] = nn.SiLU,
        bias: bool = True,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        check_whole("groups", groups, 1)
        if groups > in_features:
            raise ValueError(
                f"groups is {groups}, but in_features is {in_features}: every group needs an "
                f"input. Give groups from 1 to {in_features}."
            )
        self.groups = groups
        self.start = activation(base_activation)
        empty = functools.partial(parameter, device=device, dtype=dtype)
        self.weight = empty(out_features, in_features)
        self.bias = empty(out_features) if bias else None
        self.numerator = empty(NUMERATOR + 1)
        self.denominator = empty(groups, DENOMINATOR)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights; the functions become those of a new layer."""
        numerator, denominator, gain = fit(self.start)
        self.numerator.copy_(numerator)
        self.denominator.copy_(denominator)
        draw_normal(self.weight, math.sqrt(gain / self.in_features), generator)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's outputs: (..., I) -> (..., O).

        Raises:
            ValueError: the last dimension of `x` is not `in_features`, or they are integers.
        """
        self.check_input(x)
        return F.linear(self.functions(self.as_float(x)), self.weight, self.bias)

    def functions(self, x: Tensor) -> Tensor:
        """The values of every input's function: (..., I) -> (..., I)."""
        group = torch.arange(self.in_features, device=x.device) * self.groups // self.in_features
        return rational(x, self.numerator, self.denominator[group])

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, groups={self.groups}, bias={self.bias is not None}"


def rational(x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """P(x) / (1 + abs Q(x)): (..., I) -> (..., I).

    Args:
        x: (..., I).
        numerator: (m + 1,) coefficients of P, from the lowest power up.
        denominator: (I, n) those of Q, from the first power up, or (n,) where all inputs share it.
    """
    p, q = torch.zeros_like(x), torch.zeros_like(x)
    for coefficient in reversed(numerator.unbind(-1)):
        p = p * x + coefficient
    for coefficient in reversed(denominator.unbind(-1)):
        q = (q + coefficient) * x
    return p / (1 + q.abs())


def fit(function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, float]:
    """The rational function nearest to another on -3 to 3, and 1 / E[F(x)^2] for x of N(0, 1).

    By linear least squares with the weights of the last round (Sanathanan and Koerner 1963).

    Returns:
        (6,) and (4,) coefficients of P and Q in float64, and the number.
    """
    x = torch.linspace(-3, 3, 1201, dtype=torch.float64, device="cpu")
    y = function(x)
    powers = x.unsqueeze(1) ** torch.arange(NUMERATOR + 1, device="cpu")  # (N, 6)
    terms = torch.cat((powers, -y.unsqueeze(1) * powers[:, 1:-1]), dim=1)  # P - y Q is to be y
    weight = torch.ones_like(y).unsqueeze(1)
    for _ in range(10):  # Q is positive for all that is fitted here
        system = (weight * terms, weight * y.unsqueeze(1))
        p, q = torch.linalg.lstsq(*system, driver="gelsd").solution.squeeze(1).split((6, 4))
        weight = 1 / (1 + (powers[:, 1:-1] @ q).abs()).unsqueeze(1)  # errors of P / (1 + Q)
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64, device="cpu")
    density = torch.softmax(-(z**2) / 2, dim=0)
    return p, q, 1 / float((density * rational(z, p, q) ** 2).sum())

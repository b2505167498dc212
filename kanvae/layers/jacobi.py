"""Jacobi polynomials of a learned fractional order: fKAN (Aghaei 2024, arXiv 2406.07456)."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanvae.layers.function_layer import FunctionLayer, check_whole, draw_linear, parameter


class JacobiLinear(FunctionLayer):
    """A linear layer behind one learned function, y_o = b_o + sum_i w_oi P(2 s(x_i)^g - 1).

    P is the Jacobi polynomial of degree n with parameters a and b, s the logistic function, and g
    the fraction. All edges share the function: a, b and g are three numbers for the whole layer,
    kept where they are allowed (a, b > -1 and 0 < g < 1) as elu(alpha), elu(beta) and the logistic
    function of gamma. Far outside, the function is flat, as s is.

    As in the public fkan, whose block is an activation that stands before `nn.Linear`: a = b = 1
    and g = 1/2 to begin with, and no norm. Departures: any degree, through the recursion in n where
    fkan writes six polynomials out; the power goes through the logarithm of s, which keeps
    gradients finite where s rounds to zero.

    Args:
        in_features: I, 1 or more.
        out_features: O, 1 or more.
        degree: n, 1 or more.
        bias: whether there is a b_o.
        generator: source of the initial values; torch's global one by default.
        device, dtype: of the parameters, as in `nn.Linear`.

    State:
        weight (O, I), bias (O,), alpha, beta, gamma: (1,) each.

    Raises:
        ValueError: a width or degree below 1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        degree: int = 3,
        bias: bool = True,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        check_whole("degree", degree, 1)
        self.degree = degree
        empty = functools.partial(parameter, device=device, dtype=dtype)
        self.weight = empty(out_features, in_features)
        self.bias = empty(out_features) if bias else None
        self.alpha, self.beta, self.gamma = (empty(1) for _ in range(3))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights as `nn.Linear` does; the function becomes that of a new layer."""
        draw_linear(self.weight, self.bias, generator)
        nn.init.ones_(self.alpha)
        nn.init.ones_(self.beta)
        nn.init.zeros_(self.gamma)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's outputs: (..., I) -> (..., O).

        Raises:
            ValueError: the last dimension of `x` is not `in_features`, or they are integers.
        """
        self.check_input(x)
        return F.linear(self.function(self.as_float(x)), self.weight, self.bias)

    def function(self, x: Tensor) -> Tensor:
        """The values of the function at any points: (...) -> (...)."""
        a, b = F.elu(self.alpha), F.elu(self.beta)
        fraction = torch.sigmoid(self.gamma)
        return jacobi(2 * torch.exp(fraction * F.logsigmoid(x)) - 1, self.degree, a, b)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, degree={self.degree}, bias={self.bias is not None}"


def jacobi(t: Tensor, degree: int, a: Tensor, b: Tensor) -> Tensor:
    """The Jacobi polynomial of a degree, 1 or more, with parameters a, b > -1: (...) -> (...).

    By the recursion in the degree (Abramowitz and Stegun 1964, 22.7.1).
    """
    before, value = torch.ones_like(t), (a - b + (a + b + 2) * t) / 2
    for n in range(2, degree + 1):
        c = 2 * n + a + b
        slope = (c - 1) * (c * (c - 2) * t + a**2 - b**2)
        left = 2 * (n + a - 1) * (n + b - 1) * c
        before, value = value, (slope * value - left * before) / (2 * n * (c - n) * (c - 2))
    return value

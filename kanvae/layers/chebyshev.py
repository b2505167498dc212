"""Chebyshev polynomials: ChebyKAN (SS et al. 2024, arXiv 2405.07200; the public ChebyKAN layer)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kanvae.layers.function_layer import FunctionLayer, check_whole, draw_normal, of_bits, parameter


class ChebyshevLinear(FunctionLayer):
    """A layer of Chebyshev polynomials, y_o = sum_i sum_n c_oin T_n(tanh(x_i)).

    The polynomials are defined on -1 to 1, where tanh puts every input; far outside, a function is
    flat. There is neither base function nor bias: T_0 is a constant on every edge.

    As in the public layer: degree 4, coefficients from a normal distribution of standard deviation
    1 / (I (d + 1)), and no norm of its own; its authors put a LayerNorm between two layers.
    Departure: T_n comes from the recursion 2 t T_(n-1) - T_(n-2), not from cos(n arccos t), whose
    gradient is no number where tanh has rounded to 1.

    Args:
        in_features: I, 1 or more.
        out_features: O, 1 or more.
        degree: d, the degree of the polynomials, 1 or more.
        generator: source of the initial values; torch's global one by default.
        device, dtype: of the parameters, as in `nn.Linear`.

    State:
        weight (O, I, d + 1): c.

    Raises:
        ValueError: a width or degree below 1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        degree: int = 4,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        check_whole("degree", degree, 1)
        self.degree = degree
        self.weight = parameter(out_features, in_features, degree + 1, device=device, dtype=dtype)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new coefficients."""
        width = 1 / (self.in_features * (self.degree + 1))
        draw_normal(self.weight, width, generator)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's outputs: (..., I) -> (..., O).

        Raises:
            ValueError: the last dimension of `x` is not `in_features`, or they are integers.
        """
        self.check_input(x)
        if x.dtype == torch.bool:
            points = torch.arange(2, dtype=self.weight.dtype, device=self.weight.device)
            return of_bits(x, *torch.einsum("oin,en->eoi", self.weight, self.bases(points)))
        return F.linear(self.bases(x).flatten(-2), self.weight.flatten(1))

    def bases(self, x: Tensor) -> Tensor:
        """The polynomials of the tanh of any points: (...) -> (..., d + 1)."""
        t = torch.tanh(x)
        found = [torch.ones_like(t), t]
        for _ in range(2, self.degree + 1):
            found.append(2 * t * found[-1] - found[-2])
        return torch.stack(found, dim=-1)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, degree={self.degree}"

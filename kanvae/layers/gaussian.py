"""Gaussian basis functions: FastKAN (Li 2024, arXiv 2405.06721).

FastKAN replaces the B-splines of a KAN layer by Gaussians at fixed, evenly spaced centres, and
keeps what it sees within their range by a LayerNorm.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanvae.layers.function_layer import (
    FunctionLayer,
    activation,
    check_range,
    check_whole,
    draw_linear,
    parameter,
)


class GaussianLinear(FunctionLayer):
    """A layer of Gaussians, y_o = b_o + sum_i [ v_oi b(x_i) + sum_j w_oij g_j(u_i) ].

    Here u is the LayerNorm of x, and g_j(u) = exp(-((u - t_j) / h)^2) with centres t_j a distance
    h apart. The base function b sees x itself. Far outside the centres only the base remains.

    As in the public fast-kan: eight centres from -2 to 2 that are not learned, LayerNorm with
    learned scale and shift, w from a truncated normal distribution, v and b_o as in `nn.Linear`.
    Departure: `norm=False` takes u = x; one input alone, whose LayerNorm is zero, needs it.

    Args:
        in_features: I, 1 or more.
        out_features: O, 1 or more.
        grid_size: G, the number of intervals between centres, of which there are G + 1.
        grid_range: the first and the last centre.
        base_activation: makes the module b.
        norm: whether the Gaussians see a LayerNorm of the inputs.
        scale: standard deviation of the initial w, cut off at -2 and 2.
        generator: source of the initial values; torch's global one by default.
        device, dtype: of the parameters, as in `nn.Linear`.

    State:
        weight (O, I, G + 1): w, base_weight (O, I): v, bias (O,), norm.weight and norm.bias (I,).

    Raises:
        ValueError: a width or `grid_size` below 1, an empty or reversed `grid_range`, a norm of
            one input, or a `base_activation` in place.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        grid_size: int = 7,
        grid_range: tuple[float, float] = (-2.0, 2.0),
        base_activation: Callable[[], nn.Module] = nn.SiLU,
        norm: bool = True,
        scale: float = 0.1,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        check_whole("grid_size", grid_size, 1)
        check_range("grid_range", grid_range)
        if norm and in_features == 1:
            raise ValueError(
                "in_features is 1, and the LayerNorm of one number is always zero: choose norm "
                "False, or 2 inputs or more."
            )
        self.grid_size = grid_size
        self.grid_range = (float(grid_range[0]), float(grid_range[1]))
        self.scale = scale
        self.base_activation = activation(base_activation)
        self.norm: nn.Module = nn.Identity()
        if norm:
            self.norm = nn.LayerNorm(in_features, device=device, dtype=dtype)
        empty = functools.partial(parameter, device=device, dtype=dtype)
        self.weight = empty(out_features, in_features, grid_size + 1)
        self.base_weight = empty(out_features, in_features)
        self.bias = empty(out_features)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights; the norm becomes that of a new layer."""
        nn.init.trunc_normal_(self.weight, std=self.scale, generator=generator)
        draw_linear(self.base_weight, self.bias, generator)
        if isinstance(self.norm, nn.LayerNorm):
            self.norm.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """The layer's outputs: (..., I) -> (..., O).

        Raises:
            ValueError: the last dimension of `x` is not `in_features`, or they are integers.
        """
        self.check_input(x)
        x = self.as_float(x)
        base = F.linear(self.base_activation(x), self.base_weight, self.bias)
        return base + F.linear(self.bases(self.norm(x)).flatten(-2), self.weight.flatten(1))

    def bases(self, u: Tensor) -> Tensor:
        """The Gaussians at any points: (...) -> (..., G + 1)."""
        low, high = self.grid_range
        centres = torch.linspace(low, high, self.grid_size + 1, dtype=u.dtype, device=u.device)
        return torch.exp(-(((u.unsqueeze(-1) - centres) * (self.grid_size / (high - low))) ** 2))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, grid_size={self.grid_size}, grid_range={self.grid_range}"

"""KAN layers whose edges share functions: the dial between an MLP and a KAN.

A KAN layer learns a function on every edge, phi_oi = f_oi. Here the outputs form groups, and the
edges from an input to the outputs of one group share a function, each with a weight of its own:
phi_oi = w_oi f_i,s(o). One group gives one learnable function an input, as in networks with
learnable activations (DeepSplines, Bohra et al. 2020); some, a grouped KAN (KAT, Yang and Wang
2025); as many as there are outputs, a KAN.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanvae.layers.grid import SplineLayer


class SharedKANLinear(SplineLayer):
    """A drop-in for `nn.Linear` with learnable functions that groups of outputs share.

    Computes y_o = b_o + sum_i w_oi f_is(x_i), where output o is in group s = floor(o g / O), and
    f_is(x) = a_si b(x) + sum_j c_sij N_j(x): a base function b and a spline. Outside the knots,
    `grid_range` widened by `spline_order` intervals on each side, only the base remains.

    A new layer computes `nn.Linear` of the base function, with the weights and bias that
    `nn.Linear` would draw: a = 1 and c = 0, or small noise.

    With `groups` = O it is a `KANLinear` (with a bias): base_weight = w a, spline_scaler = w,
    spline_weight = c.

    Args:
        in_features: I, 1 or more.
        out_features: O, 1 or more.
        groups: g, from 1 (one function an input) to O (one an edge). Groups are runs of
            neighbouring outputs; where g does not divide O, their sizes differ by one.
        grid_size: G, the number of intervals of the grid, 1 or more.
        spline_order: k, the degree of the splines, 0 or more.
        grid_range: where the grid begins and ends.
        base_activation: makes the module b, such as `nn.SiLU`, `nn.ReLU` or `nn.Identity`.
        scale_noise: width of the initial splines, as in `KANLinear`; 0 for none.
        bias: whether there is a b_o.
        generator: source of the initial values; torch's global one by default.
        device, dtype: of the parameters, as in `nn.Linear`.

    Shapes:
        input (..., I), output (..., O), for any leading dimensions, none and empty ones included.
        An input of dtype bool stands for 0 and 1. There every function is a line, and the layer
        costs about as much as `nn.Linear`; the values are those of a float input.

    State:
        weight (O, I), bias (O,), base_scale (g, I): a, spline_weight (g, I, G + k): c, and the
        buffer grid (I, G + 2k + 1): the knots of each input. What the layer computes depends on
        these alone.

    Raises:
        ValueError: a width, `groups` or `grid_size` below 1, more groups than outputs, a negative
            `spline_order`, a reversed or empty `grid_range`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        groups: int = 1,
        grid_size: int = 5,
        spline_order: int = 3,
        grid_range: tuple[float, float] = (-3.0, 3.0),
        base_activation: Callable[[], nn.Module] = nn.SiLU,
        scale_noise: float = 0.0,
        bias: bool = True,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_features, out_features, grid_size, spline_order, grid_range, device, dtype
        )
        if not isinstance(groups, int) or groups < 1:
            raise ValueError(f"groups is {groups!r}: it must be a whole number, 1 or more.")
        if groups > out_features:
            raise ValueError(
                f"groups is {groups}, but out_features is {out_features}: every group needs an "
                f"output. Give groups from 1 to {out_features}."
            )
        self.groups = groups
        self.scale_noise = scale_noise
        self.base_activation = base_activation()
        count = grid_size + spline_order

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        self.weight = parameter(out_features, in_features)
        self.bias = parameter(out_features) if bias else None
        self.base_scale = parameter(groups, in_features)
        self.spline_weight = parameter(groups, in_features, count)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights as `nn.Linear` does; the functions become the base function again."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            nn.init.uniform_(self.bias, -bound, bound, generator=generator)
        nn.init.ones_(self.base_scale)
        nn.init.zeros_(self.spline_weight)
        if self.scale_noise and not self.grid.is_meta:
            self.spline_weight.copy_(self.noise(self.groups, self.scale_noise, generator))

    def forward(self, x: Tensor) -> Tensor:
        self.check_input(x)
        return self.formula(x, self.weight, self.bias, self.base_scale, self.spline_weight)

    def formula(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        base_scale: Tensor,
        spline_weight: Tensor,
    ) -> Tensor:
        """The layer as it reads on paper, for every device and type: (..., I) -> (..., O)."""
        if x.dtype == torch.bool:
            return self._affine(x, weight, bias, base_scale, spline_weight)
        if 16 * self.groups > self.out_features:  # many functions: one product with all bases
            scale, spline = self._by_output(base_scale), self._by_output(spline_weight)
            merged = (weight.unsqueeze(-1) * spline).flatten(-2)  # (O, I (G + k))
            base = F.linear(self.base_activation(x), weight * scale, bias)
            return base + F.linear(self.bases(x).flatten(-2), merged)
        functions = self._functions(x, base_scale, spline_weight)  # (g, ..., I)
        if self.groups == 1:
            return F.linear(functions[0], weight, bias)
        sizes = self.group_sizes()
        biases = [None] * self.groups if bias is None else bias.split(sizes)
        groups = zip(functions.unbind(), weight.split(sizes), biases, strict=True)
        return torch.cat([F.linear(f, w, b) for f, w, b in groups], -1)

    def functions(self, x: Tensor) -> Tensor:
        """The values of all functions at the inputs: (..., I) -> (g, ..., I)."""
        self.check_input(x)
        x = x.to(self.grid.dtype) if x.dtype == torch.bool else x
        return self._functions(x, self.base_scale, self.spline_weight)

    def group_sizes(self) -> list[int]:
        """How many outputs each group has, in order."""
        g, outputs = self.groups, self.out_features
        ends = [-(-s * outputs // g) for s in range(g + 1)]  # the least o with o g / O >= s
        return [b - a for a, b in itertools.pairwise(ends)]

    def _functions(self, x: Tensor, base_scale: Tensor, spline_weight: Tensor) -> Tensor:
        g, inputs = base_scale.shape
        scale = base_scale.reshape(g, *[1] * (x.ndim - 1), inputs)
        spline = torch.einsum("...in,gin->g...i", self.bases(x), spline_weight)
        return scale * self.base_activation(x) + spline

    def _affine(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        base_scale: Tensor,
        spline_weight: Tensor,
    ) -> Tensor:
        """The layer on inputs that are 0 or 1, where every function is a line."""
        points = torch.arange(2, dtype=weight.dtype, device=weight.device)
        points = points.unsqueeze(1).expand(2, self.in_features)
        at_zero, at_one = self._functions(points, base_scale, spline_weight).unbind(1)  # (g, I)
        constant = (weight * self._by_output(at_zero)).sum(1)  # (O,)
        constant = constant if bias is None else constant + bias
        return F.linear(x.to(weight.dtype), weight * self._by_output(at_one - at_zero), constant)

    def _by_output(self, values: Tensor) -> Tensor:
        """What each output takes of (g, ...) values of the groups: (O, ...), or what broadcasts."""
        if self.groups in (1, self.out_features):
            return values
        outputs = torch.arange(self.out_features, device=values.device)
        return values[outputs * self.groups // self.out_features]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, groups={self.groups}, bias={self.bias is not None}"

"""KAN layers whose edges share functions: the dial between an MLP and a KAN.

A KAN layer learns a function on every edge, phi_oi = f_oi. Here the outputs form groups, and the
edges from an input to the outputs of one group share a function, each with a weight of its own:
phi_oi = w_oi f_i,s(o). One group gives one learnable function an input, as in networks with
learnable activations (DeepSplines, Bohra et al. 2020); some, a grouped KAN (KAT, Yang and Wang
2025); as many as there are outputs, a KAN.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from kanvae.layers import shared_function, shared_operator
from kanvae.layers.function_layer import activation, check_whole, draw_linear, parameter
from kanvae.layers.grid import SplineLayer
from kanvae.layers.shared_function import Compiled, functions, group_ends, shared_linear

torch.fx.wrap("shared_linear")  # one call in a symbolic trace


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
        groups: g, from 1 (one function an input) to O (one per edge). Groups are runs of
            neighbouring outputs; where g does not divide O, their sizes differ by one.
        grid_size: G, the number of intervals of the grid, 1 or more.
        spline_order: k, the degree of the splines, 0 or more.
        grid_range: where the grid begins and ends.
        base_activation: makes the module b, such as `nn.SiLU`, `nn.ReLU` or `nn.Identity`.
        scale_noise: width of the initial splines, as in `KANLinear`; 0 for none.
        bias: whether there is a b_o.
        generator: source of the initial values; torch's global one by default.
        device, dtype: of the parameters, as in `nn.Linear`.

    What `KANLinear` says of FSDP holds here too. Of floats a compiler sees one operator where
    kernels serve the layer, `torch.ops.kanvae.shared_linear`. With SiLU and groups of fewer than 20
    outputs it is that of `KANLinear`; elsewhere it sees torch's operations.

    At inputs that are infinite or so large that sums of them overflow, values and gradients are
    those of the formula, but for one: where groups have fewer than 20 outputs (8, where the base is
    not SiLU), the gradient of `base_scale` may be NaN in the place of an infinity.

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
            `spline_order`, a reversed or empty `grid_range`, or a `base_activation` in place.
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
        check_whole("groups", groups, 1)
        if groups > out_features:
            raise ValueError(
                f"groups is {groups}, but out_features is {out_features}: every group needs an "
                f"output. Give groups from 1 to {out_features}."
            )
        self.groups = groups
        self.group_ends = group_ends(out_features, groups)
        self.scale_noise = scale_noise
        self.base_activation = activation(base_activation)
        count = grid_size + spline_order

        empty = functools.partial(parameter, device=device, dtype=dtype)
        self.weight = empty(out_features, in_features)
        self.bias = empty(out_features) if bias else None
        self.base_scale = empty(groups, in_features)
        self.spline_weight = empty(groups, in_features, count)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights as `nn.Linear` does; functions and grid become those of a new layer."""
        draw_linear(self.weight, self.bias, generator)
        nn.init.ones_(self.base_scale)
        nn.init.zeros_(self.spline_weight)
        self._space_grid_evenly()
        if self.scale_noise:
            self.spline_weight.copy_(self.noise(self.groups, self.scale_noise, generator))

    def forward(self, x: Tensor) -> Tensor:
        """The layer's outputs: (..., I) -> (..., O).

        Raises:
            ValueError: the last dimension of `x` is not `in_features`.
        """
        self.check_input(x)
        order, base = self.spline_order, self.base_activation
        ends = self.group_ends
        weight, bias, scale, spline = self.weight, self.bias, self.base_scale, self.spline_weight
        grid = self.grid
        library = shared_function.library(order, base, x, weight, bias, scale, spline, grid)
        if library is None:
            tensors = (x, weight, bias, scale, spline, grid)
            if torch.compiler.is_compiling() and shared_operator.may_be_one_operator(
                base, *tensors
            ):
                name = type(base).__name__
                return torch.ops.kanvae.shared_linear(*tensors, order, name, len(scale))
            return shared_linear(x, weight, bias, scale, spline, grid, order, base, ends)
        rows = (x if x.ndim == 2 else x.reshape(-1, self.in_features)).contiguous()
        curves = (scale.contiguous(), spline.contiguous(), grid.contiguous())
        y = Compiled.apply(rows, weight, bias, *curves, order, base, ends, library)
        return y if x.ndim == 2 else y.view(*x.shape[:-1], self.out_features)

    def functions(self, x: Tensor) -> Tensor:
        """The values of all functions at the inputs: (..., I) -> (g, ..., I)."""
        self.check_input(x)
        tensors = (self.base_scale, self.spline_weight, self.grid)
        return functions(self.as_float(x), *tensors, self.base_activation)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, groups={self.groups}, bias={self.bias is not None}"
